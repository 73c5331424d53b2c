// SPDX-License-Identifier: Apache-2.0
// What the pipelines consist of; their steps are tested in transforms_test and random_transforms_test.
#include <barlow/augment/presets.h>

#include <cmath>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/keys.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;

TEST(Presets, BadOptionsAreNamed) {
  EXPECT_THAT(error_of([] { get_batch_augs({}); }), HasSubstr("size must be given"));
  EXPECT_THAT(error_of([] { get_batch_augs({.size = 7}); }), HasSubstr("lower blur_s"));
  EXPECT_THAT(error_of([] { get_batch_augs({.size = 28, .flip_p = 1.5}); }), HasSubstr("[0, 1]"));
  EXPECT_THAT(error_of([] { get_batch_augs({.size = 28, .jitter_s = 3}); }), HasSubstr("hue"));
  EXPECT_THAT(error_of([] { get_batch_augs({.size = 28, .stats = Stats{{.5}, {.5}}}); }), HasSubstr(".jitter = false"));
  EXPECT_THAT(error_of([] { get_multi_aug_pipelines(0, {.size = 28}); }), HasSubstr("n must be"));
  EXPECT_EQ(get_multi_aug_pipelines(4, {.size = 28}).size(), 4U);
  EXPECT_EQ(get_barlow_twins_aug_pipelines({.size = 28}).size(), 2U);
  EXPECT_EQ(get_simclr_aug_pipelines({.size = 28}).size(), 2U);
}

TEST(Presets, PrintTheirSteps) {
  const auto printed = [](const Pipeline& pipeline) {
    std::ostringstream out;
    out << pipeline;
    return out.str();
  };
  EXPECT_EQ(
      printed(get_batch_augs({.size = 28})),
      "Pipeline: RandomResizedCrop -> RandomHorizontalFlip -> ColorJitter -> RandomGrayscale -> RandomGaussianBlur -> "
      "Rotate -> Normalize");
  EXPECT_EQ(
      printed(get_barlow_twins_paper_aug_pipelines()[1]),
      "Pipeline: RandomResizedCrop -> RandomHorizontalFlip -> ColorJitter -> RandomGrayscale -> RandomGaussianBlur -> "
      "RandomSolarize -> Normalize");
  EXPECT_EQ(
      printed(get_cifar_aug_pipelines()[0]),
      "Pipeline: RandomResizedCrop -> ColorJitter -> RandomGrayscale -> RandomSolarize -> RandomHorizontalFlip -> "
      "Normalize");
}

// --- the numbers of their sources, written again here

struct Step {
  const char* name;
  double p; // share of samples that it acts on
  std::vector<Range> ranges; // of the numbers that it draws, as far as they are given
};

// 4000 draws: shares within five standard errors, of every range both ends within a fiftieth and nothing outside.
void expect_steps(const Pipeline& pipeline, const std::vector<Step>& steps) {
  constexpr int kDraws = 4000;
  for (const auto& [name, p, ranges] : steps) {
    SCOPED_TRACE(name);
    const auto& all = pipeline.transforms();
    const auto found = std::find_if(all.begin(), all.end(), [&, n = name](const auto& t) { return t->name() == n; });
    ASSERT_NE(found, all.end());
    int acted = 0;
    std::vector<Range> seen(ranges.size(), {HUGE_VAL, -HUGE_VAL});
    for (int i = 0; i < kDraws; ++i) {
      KeyedRandom random(3, 0, i, 0, found - all.begin());
      const auto row = (*found)->draw(random, 100, 100);
      acted += row.empty() || (row.size() == 1 && row[0] == 0) ? 0 : 1;
      for (size_t r = 0; r < seen.size() && !row.empty(); ++r) {
        seen[r] = {std::min(seen[r].first, row[r]), std::max(seen[r].second, row[r])};
      }
    }
    EXPECT_NEAR(acted, p * kDraws, 5 * std::sqrt(p * (1 - p) * kDraws));
    for (size_t r = 0; r < ranges.size(); ++r) {
      const double slack = (ranges[r].second - ranges[r].first) / 50;
      EXPECT_TRUE(ranges[r].first <= seen[r].first && seen[r].first <= ranges[r].first + slack) << r;
      EXPECT_TRUE(ranges[r].second - slack <= seen[r].second && seen[r].second <= ranges[r].second) << r;
    }
  }
}

TEST(Presets, DrawByTheNumbersOfTheirSources) {
  const Step jitter{"ColorJitter", 0.8, {{0.6, 1.4}, {0.6, 1.4}, {0.8, 1.2}, {-0.1, 0.1}}},
      gray{"RandomGrayscale", 0.2, {}}, flip{"RandomHorizontalFlip", 0.5, {}};
  const auto paper = get_barlow_twins_paper_aug_pipelines();
  expect_steps(paper[0], {jitter, gray, flip, {"RandomGaussianBlur", 1, {}}, {"RandomSolarize", 0, {}}});
  expect_steps(paper[1], {jitter, gray, flip, {"RandomGaussianBlur", 0.1, {}}, {"RandomSolarize", 0.2, {}}});
  const auto cifar = get_cifar_aug_pipelines();
  expect_steps(cifar[0], {jitter, gray, flip, {"RandomSolarize", 0, {}}});
  expect_steps(cifar[1], {jitter, gray, flip, {"RandomSolarize", 0.2, {}}});
  auto lightly = jitter;
  lightly.ranges[2] = {0.6, 1.4};
  expect_steps(get_lightly_cifar_aug_pipelines()[0], {lightly, gray, flip});
  expect_steps(
      get_simclr_paper_aug_pipelines({}, 0.5)[0],
      {{"ColorJitter", 0.8, {{0.6, 1.4}, {0.6, 1.4}, {0.6, 1.4}, {-0.1, 0.1}}}, gray, {"RandomGaussianBlur", 0.5, {}}});
  expect_steps(
      get_batch_augs({.size = 28, .jitter_s = 0.5}),
      {{"ColorJitter", 0.3, {{0.6, 1.4}, {0.6, 1.4}, {0.6, 1.4}, {-0.1, 0.1}}},
       {"RandomGrayscale", 0.3, {}},
       {"Rotate", 0.3, {{-30, 30}}},
       {"RandomGaussianBlur", 0.3, {{3, 15}, {4, 31}}},
       flip});
  expect_steps(
      get_gray_aug_pipelines()[0],
      {flip,
       {"RandomVerticalFlip", 0.5, {}},
       {"RandomGamma", 0.5, {{0.7, 1.5}}},
       {"ColorJitter", 0.5, {{0.8, 1.2}, {0.8, 1.2}}},
       {"RandomGaussianBlur", 0.3, {}},
       {"Rotate", 0.5, {{-15, 15}}},
       {"RandomNoise", 0.3, {{0, 0.05}}}});
}

TEST(Presets, EveryRecipeMakesViews) {
  torch::manual_seed(0);
  const auto x = torch::rand({3, 3, 40, 48});
  const auto multi = get_multi_crop_aug_pipelines({.size = 24}, {.small_crops = 2, .small_size = 16});
  EXPECT_EQ(multi.small.size(), 2U);
  for (const auto& [pipelines, size] : std::vector<std::pair<std::vector<Pipeline>, int64_t>>{
           {get_barlow_twins_paper_aug_pipelines({.size = 24}), 24},
           {get_simclr_paper_aug_pipelines({.size = 24}), 24},
           {get_cifar_aug_pipelines(), 32},
           {get_gray_aug_pipelines({.size = 24}), 24},
           {multi.large, 24},
           {multi.small, 16}}) {
    for (int64_t view = 0; view < 2; ++view) {
      const auto y = pipelines[static_cast<size_t>(view)](x, keys(first(3), view));
      EXPECT_THAT(y.sizes(), ::testing::ElementsAre(3, 3, size, size));
      EXPECT_TRUE(y.isfinite().all().item<bool>());
    }
  }
  EXPECT_THAT(
      get_gray_aug_pipelines({.size = 24})[0](torch::rand({2, 1, 30, 30}), keys(first(2))).sizes(),
      ::testing::ElementsAre(2, 1, 24, 24));
  EXPECT_THAT(error_of([] { get_multi_crop_aug_pipelines({}, {.split = 0.01}); }), HasSubstr("split"));
}

} // namespace
} // namespace barlow
