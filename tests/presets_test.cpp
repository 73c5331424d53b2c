// SPDX-License-Identifier: Apache-2.0
// What the pipelines consist of; their steps are tested in transforms_test and random_transforms_test.
#include <barlow/augment/presets.h>

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
