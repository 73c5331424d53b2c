// SPDX-License-Identifier: Apache-2.0
// Each recipe is built and takes a step on small data; its numbers stand where their sources have them.
#include <barlow/recipe.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;

class EveryRecipe : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Names, EveryRecipe, ::testing::ValuesIn(list_recipes()), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST_P(EveryRecipe, TakesAStep) {
  auto recipe = find_recipe(GetParam());
  recipe.epochs = 1;
  recipe.size = std::min<int64_t>(recipe.size, 64);
  recipe.projector.hidden_size = recipe.projector.projection_size = 32;
  torch::manual_seed(0);
  const auto images = torch::rand({8, recipe.n_in, 64, 64});
  auto options = learner_options(recipe);
  options.device = torch::kCPU;
  options.progress = false;
  Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 4})), create_model(recipe), options);
  learn.add(barlow_twins(recipe));
  fit(learn, recipe);
  EXPECT_EQ(learn.recorder.raw_losses.size(), 2U);
  EXPECT_EQ(learn.gradient_scale, 1);
}

TEST_P(EveryRecipe, IsHashedWithAllItsFields) {
  const auto recipe = find_recipe(GetParam());
  const auto id = recipe_id(recipe);
  EXPECT_THAT(id, ::testing::MatchesRegex(GetParam() + " v1 [0-9a-f]{8}"));
  EXPECT_EQ(recipe_id(find_recipe(GetParam())), id);
  auto other = recipe;
  other.rate.end += 0.5;
  EXPECT_NE(recipe_id(other), id);
  other = recipe;
  other.projector.bias = !other.projector.bias;
  EXPECT_NE(recipe_id(other), id);
  EXPECT_TRUE(nlohmann::json::parse(to_json(recipe)).is_object());
}

TEST(Recipes, ScheduleWarmsUpInEpochs) {
  const auto paper = schedule(find_recipe("paper-imagenet"));
  const int64_t steps = 7000; // seven steps an epoch
  EXPECT_EQ(paper(0, steps), 0);
  EXPECT_DOUBLE_EQ(paper(35, steps), 0.8);
  EXPECT_DOUBLE_EQ(paper(70, steps), 1.6);
  EXPECT_NEAR(paper(steps - 1, steps), 0.0016, 1e-6);
  const auto lightly = schedule(find_recipe("lightly-cifar10"));
  EXPECT_DOUBLE_EQ(lightly(0, 2000), 0.06);
  EXPECT_EQ(lightly(9, 2000), lightly(0, 2000));
  EXPECT_LT(lightly(10, 2000), lightly(9, 2000));
}

TEST(Recipes, TheProjectorsOfTheSources) {
  auto paper = find_recipe("paper-imagenet");
  paper.encoder = "resnet18"; // as the projector sees it, but for its width
  EXPECT_EQ(create_model(paper)->projector->parameters().size(), 3U + 4U); // weights; two norms
  const auto lightly = create_model(find_recipe("lightly-cifar10"));
  EXPECT_EQ(lightly->projector->parameters().size(), 2U + 2U + 1U); // weights, a norm, the last bias
}

TEST(Recipes, AnUnknownOneIsNamed) {
  EXPECT_THAT(error_of([] { find_recipe("paper-imagnet"); }), HasSubstr("did you mean 'paper-imagenet'?"));
}

} // namespace
} // namespace barlow
