// SPDX-License-Identifier: Apache-2.0
// Oracle files (tests/oracles/core/aug: torchvision and fastai), properties, statistics of draws with fixed seeds.
#include <barlow/augment/presets.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/augment/transforms.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

ViewKeys keys(std::vector<int64_t> index, int64_t view = 0, int64_t epoch = 0, uint64_t seed = 7) {
  return {.seed = seed, .epoch = epoch, .view = view, .index = std::move(index)};
}

std::vector<int64_t> first(int64_t n) {
  std::vector<int64_t> index(static_cast<size_t>(n));
  std::iota(index.begin(), index.end(), 0);
  return index;
}

AugOptions crop_and_flip(int64_t size) {
  return {.size = size, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt};
}

TEST(ResizedCrop, EqualsTorchvisions) {
  const auto oracle = load_oracle("core/aug");
  int compared = 0;
  for (const auto& [name, call] : oracle.info["calls"].items()) {
    const auto box = call.find("box_top_left_height_width");
    if (name.find("bilinear_aa") == std::string::npos || box == call.end() || call["size"][0] != call["size"][1]) {
      continue; // crops of other kinds, and targets that are not square
    }
    const auto& image = oracle.at(name.find("rgb") == std::string::npos ? "gray" : "rgb");
    const Box b{(*box)[0], (*box)[1], (*box)[2], (*box)[3]};
    const auto y = resized_crop(image, std::vector<Box>(static_cast<size_t>(image.size(0)), b), call["size"][0]);
    EXPECT_TRUE(close_each(y, oracle.at(name), 0, 2e-6)) << name; // float32 pixels in 0..1
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

TEST(ResizedCrop, HasABoxASample) {
  torch::manual_seed(0);
  const auto x = torch::rand({2, 2, 9, 8});
  const std::vector<Box> boxes{{1, 2, 5, 6}, {0, 0, 9, 8}};
  const auto both = resized_crop(x, boxes, 4);
  EXPECT_TRUE(both.narrow(0, 0, 1).equal(resized_crop(x.narrow(0, 0, 1), {boxes[0]}, 4)));
  EXPECT_TRUE(both.narrow(0, 1, 1).equal(resized_crop(x.narrow(0, 1, 1), {boxes[1]}, 4)));
  const auto exact = resized_crop(x, {{2, 3, 4, 4}, {5, 4, 4, 4}}, 4);
  EXPECT_TRUE(exact[0].equal(x[0].narrow(1, 2, 4).narrow(2, 3, 4)));
}

TEST(ResizedCrop, BadInputIsNamed) {
  const auto x = torch::rand({1, 3, 8, 8});
  const auto message = [](const Tensor& images, const Box& box, int64_t size) {
    return error_of([&] { resized_crop(images, {box}, size); });
  };
  EXPECT_THAT(message(x, {0, 0, 9, 8}, 4), HasSubstr("does not lie in an image of 8x8"));
  EXPECT_THAT(message(x, {-1, 0, 4, 4}, 4), HasSubstr("top -1"));
  EXPECT_THAT(message(x, {0, 0, 4, 4}, 0), HasSubstr("size"));
  EXPECT_THAT(message(x[0], {0, 0, 4, 4}, 4), HasSubstr("[N,C,H,W]"));
  EXPECT_THAT(message(x.to(torch::kByte), {0, 0, 4, 4}, 4), HasSubstr("floating"));
  EXPECT_THAT(error_of([&] { resized_crop(x, {}, 4); }), HasSubstr("one box a sample"));
  EXPECT_THAT(error_of([&] { resized_crop(x.narrow(0, 0, 0), {}, 4); }), HasSubstr("empty"));
}

TEST(HorizontalFlip, MirrorsWhatItIsTold) {
  const auto x = torch::arange(12, torch::kFloat).view({2, 1, 2, 3});
  const auto y = horizontal_flip(x, {false, true});
  EXPECT_TRUE(y[0].equal(x[0]));
  EXPECT_TRUE(y[1].equal(torch::tensor({{{8.F, 7.F, 6.F}, {11.F, 10.F, 9.F}}})));
}

TEST(NormalizeTransform, EqualsFastaisAndCanBeUndone) {
  const auto oracle = load_oracle("core/aug");
  const auto& x = oracle.at("rgb");
  const auto y = normalize(x, kImagenetStats.mean, kImagenetStats.std);
  EXPECT_TRUE(close_each(y, oracle.at("normalize/rgb"), 0, 1e-6));
  EXPECT_TRUE(close_each(Normalize(kImagenetStats).decode(y), x, 0, 1e-6));
  EXPECT_THAT(
      error_of([] { normalize(torch::rand({1, 1, 2, 2}), kImagenetStats.mean, kImagenetStats.std); }),
      HasSubstr("3 entries for images of 1 channels"));
  EXPECT_THAT(error_of([] { Normalize({{0.5}, {0.}}); }), HasSubstr("std must be positive"));
  EXPECT_THAT(error_of([] { Normalize({{0.5}, {1., 1.}}); }), HasSubstr("one entry a channel"));
}

// 200,000 boxes against the oracle's statistics of as many of torchvision's: means within five standard errors of a
// difference of two such samples; quantiles within half a percent of the range, plus a pixel where values are pixels.
TEST(RandomResizedCropTransform, DrawsTorchvisionsDistribution) {
  const auto oracle = load_oracle("core/aug");
  const RandomResizedCrop crop(28, {.scale = {0.2, 1.0}});
  constexpr int64_t kDraws = 200000;
  for (const auto& [name, statistics] : oracle.info["crop_statistics"].items()) {
    int h = 0, w = 0;
    std::sscanf(name.c_str(), "%dx%d", &h, &w);
    std::map<std::string, std::vector<double>> drawn;
    for (int64_t i = 0; i < kDraws; ++i) {
      KeyedRandom random(5, 0, i, 0, 0);
      const auto box = crop.draw(random, h, w);
      const double area = box[2] * box[3] / (static_cast<double>(h) * w);
      drawn["area_fraction"].push_back(area);
      drawn["aspect_w_over_h"].push_back(box[3] / box[2]);
      drawn["centre_x_fraction"].push_back((box[1] + box[3] / 2) / w);
      drawn["centre_y_fraction"].push_back((box[0] + box[2] / 2) / h);
      drawn["height"].push_back(box[2]);
      drawn["width"].push_back(box[3]);
    }
    for (auto& [key, values] : drawn) {
      SCOPED_TRACE(name + " " + key);
      const auto& expected = statistics[key];
      std::sort(values.begin(), values.end());
      const double mean = std::accumulate(values.begin(), values.end(), 0.) / kDraws;
      EXPECT_NEAR(mean, expected["mean"], 5 * std::sqrt(2) * expected["standard_error"].get<double>());
      const double range = expected["max"].get<double>() - expected["min"].get<double>();
      const bool pixels = key == "height" || key == "width";
      for (const auto& [share, value] : expected["quantiles"].items()) {
        const auto at = static_cast<size_t>(std::stod(share) * (kDraws - 1));
        EXPECT_NEAR(values[at], value, 0.005 * range + (pixels ? 1 : 1. / std::min(h, w))) << share;
      }
    }
  }
}

TEST(RandomResizedCropTransform, FallsBackToTheCentre) {
  KeyedRandom random(1, 0, 0, 0, 0);
  // A 1 x 100 strip never holds a box of half its area with aspect near 1.
  const auto box = RandomResizedCrop(8, {.scale = {0.5, 1.0}}).draw(random, 1, 100);
  EXPECT_THAT(box, ::testing::ElementsAre(0, 49, 1, 1));
}

TEST(RandomResizedCropTransform, BadOptionsAreNamed) {
  EXPECT_THAT(error_of([] { RandomResizedCrop(0); }), HasSubstr("size"));
  EXPECT_THAT(error_of([] { RandomResizedCrop(8, {.scale = {0.5, 0.2}}); }), HasSubstr("scale"));
  EXPECT_THAT(error_of([] { RandomResizedCrop(8, {.scale = {0, 1}}); }), HasSubstr("scale"));
  EXPECT_THAT(error_of([] { RandomResizedCrop(8, {.ratio = {2, 1}}); }), HasSubstr("ratio"));
}

TEST(RandomHorizontalFlipTransform, FlipsWithItsProbability) {
  int flipped = 0;
  for (int64_t i = 0; i < 10000; ++i) {
    KeyedRandom random(3, 0, i, 0, 0);
    flipped += RandomHorizontalFlip(0.3).draw(random, 4, 4)[0] != 0;
  }
  EXPECT_NEAR(flipped, 3000, 5 * std::sqrt(10000 * 0.3 * 0.7));
  EXPECT_THAT(error_of([] { RandomHorizontalFlip(1.5); }), HasSubstr("[0, 1]"));
}

TEST(PipelineOfTransforms, AViewDependsOnItsKeysAlone) {
  torch::manual_seed(0);
  const auto x = torch::rand({6, 1, 12, 12});
  const auto pipeline = get_batch_augs(crop_and_flip(8));
  const auto all = pipeline(x, keys(first(6)));
  const auto some = pipeline(x.index_select(0, torch::tensor({4, 1})), keys({4, 1}));
  EXPECT_TRUE(some[0].equal(all[4]));
  EXPECT_TRUE(some[1].equal(all[1]));
  EXPECT_FALSE(pipeline(x, keys(first(6), 1)).equal(all)); // another view,
  EXPECT_FALSE(pipeline(x, keys(first(6), 0, 1)).equal(all)); // epoch,
  EXPECT_FALSE(pipeline(x, keys(first(6), 0, 0, 8)).equal(all)); // seed
}

TEST(PipelineOfTransforms, DrawsCanBeReplayed) {
  torch::manual_seed(0);
  const auto x = torch::rand({3, 1, 12, 12});
  const auto pipeline = get_batch_augs(crop_and_flip(8));
  const auto [view, drawn] = pipeline.apply_and_draw(x, keys(first(3)));
  EXPECT_TRUE(pipeline.replay(x, drawn).equal(view));
  EXPECT_EQ(drawn[0][2].size(), 4U);
  EXPECT_THAT(error_of([&, d = drawn] { pipeline.replay(x, {d[0]}); }), HasSubstr("2 transforms, received 1"));
  EXPECT_THAT(error_of([&, d = drawn] { pipeline.replay(x.narrow(0, 0, 2), d); }), HasSubstr("2 samples, received 3"));
}

class Named : public Transform {
 public:
  Named(std::string name, int order) : name_(std::move(name)), order_(order) {}
  std::string name() const override {
    return name_;
  }
  int order() const override {
    return order_;
  }
  Tensor apply(const Tensor& x, const std::vector<std::vector<double>>&) const override {
    return x + 1;
  }

 private:
  std::string name_;
  int order_;
};

TEST(PipelineOfTransforms, SortsStablyAndPrintsItself) {
  auto options = crop_and_flip(8);
  options.stats = Stats{{0.5}, {0.25}};
  options.xtra_tfms = {std::make_shared<Named>("Late", 100), std::make_shared<Named>("Mine", 0)};
  std::ostringstream out;
  out << get_batch_augs(options);
  EXPECT_EQ(out.str(), "Pipeline: RandomResizedCrop -> RandomHorizontalFlip -> Mine -> Normalize -> Late");
}

TEST(PipelineOfTransforms, LeavesItsInputAlone) {
  const auto x = torch::rand({2, 1, 8, 8});
  const auto copy = x.clone();
  get_batch_augs(crop_and_flip(8))(x, keys(first(2)));
  EXPECT_TRUE(x.equal(copy));
}

TEST(Presets, AskingForWhatIsNotThereIsAnError) {
  EXPECT_THAT(error_of([] { get_batch_augs({.size = 28}); }), HasSubstr("set .rotate = false"));
  auto options = crop_and_flip(28);
  options.blur = true;
  EXPECT_THAT(error_of([&] { get_batch_augs(options); }), HasSubstr("set .blur = false"));
  EXPECT_THAT(error_of([] { get_batch_augs({}); }), HasSubstr("size must be given"));
  EXPECT_THAT(error_of([] { get_multi_aug_pipelines(0, crop_and_flip(28)); }), HasSubstr("n must be"));
  EXPECT_EQ(get_multi_aug_pipelines(4, crop_and_flip(28)).size(), 4U);
  EXPECT_EQ(get_barlow_twins_aug_pipelines(crop_and_flip(28)).size(), 2U);
}

} // namespace
} // namespace barlow
