// SPDX-License-Identifier: Apache-2.0
// Layers by name and shape, moments of the initialisation, and shapes of the page.
#include <barlow/model.h>

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/nn.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;

TEST(Model, HasTheDocumentedLayers) {
  const auto oracle = load_oracle("core/train");
  const auto model = create_barlow_twins_model(
      create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = 1024});
  const auto state = state_dict(*model);
  ASSERT_EQ(state.size(), oracle.info["tensors"].size());
  for (size_t i = 0; i < state.size(); ++i) {
    EXPECT_EQ(state[i].first, oracle.info["tensors"][i].get<std::string>());
    EXPECT_EQ(state[i].second.sizes().vec(), oracle.info["shapes"][state[i].first].get<std::vector<int64_t>>());
  }
  EXPECT_EQ(count_parameters(*model), 14348064); // of the documented page's model
}

TEST(Model, ForwardGivesEmbeddings) {
  auto model = create_barlow_twins_model(create_encoder("resnet18"), {.hidden_size = 32, .projection_size = 16});
  EXPECT_EQ(model->forward(torch::rand({2, 3, 40, 40})).sizes().vec(), (std::vector<int64_t>{2, 16}));
}

TEST(Mlp, CountsItsLayers) {
  EXPECT_EQ(create_mlp_module(8, {.hidden_size = 4, .projection_size = 2, .nlayers = 1})->size(), 1U);
  EXPECT_EQ(create_mlp_module(8, {.hidden_size = 4, .projection_size = 2, .bn = false, .nlayers = 2})->size(), 3U);
  EXPECT_EQ(create_mlp_module(8, {.hidden_size = 4, .projection_size = 2})->size(), 7U);
}

TEST(Model, ProjectorIsInitialisedAsDocumented) {
  torch::manual_seed(0);
  const auto model = create_barlow_twins_model(create_encoder("resnet18"), {.hidden_size = 512});
  const auto parameters = model->projector->named_parameters();
  const auto weight = parameters["0.weight"]; // 1024 to 512
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2. / 1024), 0.01 * std::sqrt(2. / 1024));
  EXPECT_EQ(parameters["0.bias"].abs().max().item<double>(), 0);
  EXPECT_EQ(parameters["1.weight"].min().item<double>(), 1);
}

TEST(Model, BadInputIsNamed) {
  EXPECT_THAT(error_of([] { create_mlp_module(0); }), HasSubstr("in_features"));
  EXPECT_THAT(error_of([] { create_mlp_module(4, {.nlayers = 0}); }), HasSubstr("nlayers"));
  EXPECT_THAT(error_of([] { create_barlow_twins_model(nullptr); }), HasSubstr("must not be an empty module"));
}

} // namespace
} // namespace barlow
