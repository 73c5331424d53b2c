// SPDX-License-Identifier: Apache-2.0
// A loop in float64 as the reference, and the rule of the parameter groups against fastai's own list.
#include <barlow/optim.h>

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/model.h>
#include <barlow/nn.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

TEST(Adam, EqualsItsFormula) {
  torch::manual_seed(0);
  const AdamOptions o{.lr = 0.01, .wd = 0.1};
  auto p = torch::randn({7, 3}, torch::kDouble).requires_grad_();
  Adam adam({{.params = {p}, .lr = o.lr, .weight_decay = o.wd}}, o);
  auto expected = p.detach().clone(), m = torch::zeros_like(expected), v = torch::zeros_like(expected);
  for (int t = 1; t <= 5; ++t) {
    const auto g = torch::randn_like(expected);
    p.mutable_grad() = g;
    adam.step();
    m = o.mom * m + (1 - o.mom) * g;
    v = o.sqr_mom * v + (1 - o.sqr_mom) * g * g;
    expected = expected * (1 - o.lr * o.wd);
    expected = expected - o.lr * (m / (1 - std::pow(o.mom, t))) / ((v / (1 - std::pow(o.sqr_mom, t))).sqrt() + o.eps);
    EXPECT_TRUE(close_to_scale(p, expected, 1e-14)) << "step " << t; // float64 rounding of five operations
  }
}

TEST(Adam, TakesGradientsThatLieInMemoryOtherwise) {
  torch::manual_seed(1);
  const auto start = torch::randn({4, 3, 3, 3}), g = torch::randn({4, 3, 3, 3});
  const auto stepped = [&](at::MemoryFormat of_p, at::MemoryFormat of_g) {
    auto p = start.clone().contiguous(of_p).requires_grad_();
    Adam adam({{.params = {p}}});
    p.mutable_grad() = g.contiguous(of_g);
    adam.step();
    return p.detach().contiguous();
  };
  const auto c = at::MemoryFormat::Contiguous, l = at::MemoryFormat::ChannelsLast;
  EXPECT_TRUE(stepped(c, l).equal(stepped(c, c)));
  EXPECT_TRUE(stepped(l, c).equal(stepped(c, c)));
  EXPECT_TRUE(stepped(l, l).equal(stepped(c, c)));
}

TEST(Adam, LeavesParametersWithoutGradientAlone) {
  auto a = torch::ones({2}).requires_grad_(), b = torch::ones({2}).requires_grad_();
  Adam adam({{.params = {a, b}, .lr = 0.1, .weight_decay = 0.5}});
  a.mutable_grad() = torch::ones({2});
  adam.step();
  EXPECT_LT(a[0].item<double>(), 1);
  EXPECT_EQ(b[0].item<double>(), 1);
  adam.zero_grad();
  EXPECT_FALSE(a.grad().defined());
}

TEST(ParamGroups, SpareWhatFastaiSpares) {
  const auto oracle = load_oracle("core/train");
  auto model = create_barlow_twins_model(
      create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = 1024});
  const auto groups = param_groups(*model, 1e-3, 0.01);
  ASSERT_EQ(groups.size(), 2U);
  std::vector<std::string> spared;
  for (const auto& item : model->named_parameters()) {
    for (const auto& p : groups[1].params) {
      if (p.is_same(item.value())) {
        spared.push_back(item.key());
      }
    }
  }
  EXPECT_THAT(
      spared,
      ::testing::UnorderedElementsAreArray(
          oracle.info["fastai"]["adam_joint"]["no_weight_decay"].get<std::vector<std::string>>()));
  EXPECT_EQ(groups[0].params.size() + groups[1].params.size(), model->parameters().size());
  EXPECT_EQ(groups[0].weight_decay, 0.01);
  EXPECT_EQ(groups[1].weight_decay, 0);
}

TEST(Optimizer, BadInputIsNamed) {
  const auto p = torch::ones({2}).requires_grad_();
  EXPECT_THAT(error_of([&] { Adam({{.params = {p, p}}}); }), ::testing::HasSubstr("twice"));
  EXPECT_THAT(
      error_of([&] { Adam(std::vector<ParamGroup>{{.params = {}}}); }), ::testing::HasSubstr("at least one parameter"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p * 2}}}); }), ::testing::HasSubstr("leaf"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p}}}, {.mom = 1}); }), ::testing::HasSubstr("mom"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p}}}).set_lr(std::nan("")); }), ::testing::HasSubstr("lr"));
}

} // namespace
} // namespace barlow
