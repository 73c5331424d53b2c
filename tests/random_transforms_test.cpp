// SPDX-License-Identifier: Apache-2.0
// Statistics of draws with fixed seeds, against an oracle (tests/oracles/core/aug) and against their laws.
#include <barlow/augment/random_transforms.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;

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

TEST(RandomResizedCropTransform, RatioIsWidthOverHeight) { // by hand: 2000 pixels, root of 4000 times root of 1000
  const RandomResizedCrop crop(8, {.scale = {0.2, 0.2}, .ratio = {2, 2}});
  KeyedRandom random(1, 0, 0, 0, 0);
  const auto box = crop.draw(random, 100, 100);
  EXPECT_EQ(box[2], 32);
  EXPECT_EQ(box[3], 63);
}

TEST(RandomTransforms, WhiteIsLeftAloneUnlessSolarized) { // by hand
  const auto y = RandomSolarize(0.5).apply(torch::ones({2, 1, 2, 2}), {{0}, {1}});
  EXPECT_TRUE(y[0].eq(1).all().item<bool>());
  EXPECT_TRUE(y[1].eq(0).all().item<bool>());
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

// --- laws: 20,000 draws with a fixed seed

std::vector<std::vector<double>> draws(const Transform& transform, int64_t n = 20000) {
  std::vector<std::vector<double>> rows;
  for (int64_t i = 0; i < n; ++i) {
    KeyedRandom random(3, 0, i, 0, 0);
    rows.push_back(transform.draw(random, 40, 60));
  }
  return rows;
}

// How often the transform acted, against its probability: chi-square with one degree of freedom.
void expect_probability(const std::vector<std::vector<double>>& rows, double p, bool flag = false) {
  const auto n = static_cast<double>(rows.size());
  const auto acted = static_cast<double>(
      std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return !row.empty() && (!flag || row[0] != 0); }));
  const double chi_square = std::pow(acted - n * p, 2) / (n * p * (1 - p));
  EXPECT_LT(chi_square, 15.1); // 1 in 10,000
}

// One number of every row that acted, against a law's distribution function: Kolmogorov and Smirnov.
void expect_law(
    const std::vector<std::vector<double>>& rows,
    size_t which,
    const std::function<double(double)>& distribution) {
  std::vector<double> values;
  for (const auto& row : rows) {
    if (!row.empty()) {
      values.push_back(row[which]);
    }
  }
  ASSERT_GT(values.size(), 1000U);
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double f = distribution(values[i]);
    largest = std::max({largest, f - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - f});
  }
  EXPECT_LT(largest * std::sqrt(n), 2.23); // 1 in 10,000
}

std::function<double(double)> uniform(double low, double high) {
  return [=](double x) { return std::clamp((x - low) / (high - low), 0., 1.); };
}

std::function<double(double)> log_uniform(double low, double high) {
  return [=](double x) { return uniform(std::log(low), std::log(high))(std::log(x)); };
}

TEST(RandomTransforms, ActWithTheirProbability) {
  expect_probability(draws(RandomHorizontalFlip(0.3)), 0.3, true);
  expect_probability(draws(RandomVerticalFlip(0.5)), 0.5, true);
  expect_probability(draws(RandomGrayscale(0.2)), 0.2, true);
  expect_probability(draws(RandomSolarize(0.2)), 0.2, true);
  expect_probability(draws(RandomEqualize(0.1)), 0.1, true);
  expect_probability(draws(RandomRotate90(0.75)), 0.75);
  expect_probability(draws(Rotate({.p = 0.3})), 0.3);
  expect_probability(draws(ColorJitter({.p = 0.8})), 0.8);
  expect_probability(draws(RandomGaussianBlur({.p = 0.1})), 0.1);
  expect_probability(draws(RandomGaussianBlur::boxlike({4, 32}, 0.3)), 0.3);
  expect_probability(draws(RandomGamma({0.5, 2}, 0.6)), 0.6);
  expect_probability(draws(RandomNoise({.p = 0.4})), 0.4);
  expect_probability(draws(RandomErasing({.p = 0.5, .scale = {0.02, 0.1}})), 0.5); // small boxes always fit
  for (const auto& row : draws(RandomHorizontalFlip(0))) {
    ASSERT_EQ(row[0], 0);
  }
}

TEST(RandomTransforms, DrawTheirLaws) {
  expect_law(draws(Rotate({.max_deg = 30, .p = 0.5})), 0, uniform(-30, 30));
  const auto jitter =
      draws(ColorJitter({.brightness = 0.48, .contrast = 0.3, .saturation = 1.2, .hue = 0.12, .p = 0.8}));
  expect_law(jitter, 0, uniform(0.52, 1.48));
  expect_law(jitter, 1, uniform(0.7, 1.3));
  expect_law(jitter, 2, uniform(0, 2.2)); // the lower end stops at 0
  expect_law(jitter, 3, uniform(-0.12, 0.12));
  expect_law(draws(RandomGaussianBlur({.p = 1, .sigma = {0.1, 2}})), 1, uniform(0.1, 2));
  expect_law(draws(RandomGamma({0.5, 2}, 1)), 0, log_uniform(0.5, 2));
  expect_law(draws(RandomNoise({.sigma = {0, 0.1}, .p = 1})), 0, uniform(0, 0.1));
  const auto window = draws(RandomWindow({.center = {100, 300}, .width = {400, 400}}));
  expect_law(window, 0, uniform(-100, 100));
  expect_law(window, 1, uniform(300, 500));
}

// Counts of equally likely outcomes: chi-square, limit 1 in 10,000.
void expect_even(const std::map<std::string, int>& counts, size_t outcomes, double limit) {
  ASSERT_EQ(counts.size(), outcomes);
  double n = 0, chi_square = 0;
  for (const auto& [_, count] : counts) {
    n += count;
  }
  const double expected = n / static_cast<double>(outcomes);
  for (const auto& [_, count] : counts) {
    chi_square += std::pow(count - expected, 2) / expected;
  }
  EXPECT_LT(chi_square, limit);
}

TEST(RandomTransforms, OrdersTurnsAndKernelsAreEven) {
  std::map<std::string, int> orders, turns, kernels;
  for (const auto& row : draws(ColorJitter({.p = 1}))) {
    std::string order;
    std::for_each(row.begin() + 4, row.end(), [&](double step) { order += std::to_string(static_cast<int>(step)); });
    ++orders[order];
  }
  for (const auto& row : draws(RandomRotate90(1))) {
    ++turns[std::to_string(row[0])];
  }
  for (const auto& row : draws(RandomGaussianBlur::boxlike({4, 32}, 1))) {
    const auto s = static_cast<int64_t>(row[1]);
    ASSERT_TRUE(s >= 4 && s < 32);
    ASSERT_EQ(row[0], 2 * (s / 4) + 1);
    ++kernels[std::to_string(s)];
  }
  expect_even(orders, 24, 57.1); // degrees of freedom: one less than outcomes
  expect_even(turns, 3, 18.5);
  expect_even(kernels, 28, 62.7);
}

TEST(RandomTransforms, BlursReachThreeSigma) {
  for (const auto& row : draws(RandomGaussianBlur({.p = 1}), 200)) {
    EXPECT_GE(row[0], 6 * row[1]);
    EXPECT_LT(row[0], 6 * row[1] + 3);
  }
}

TEST(RandomTransforms, BadOptionsAreNamed) {
  EXPECT_THAT(error_of([] { RandomHorizontalFlip(1.5); }), HasSubstr("[0, 1]"));
  EXPECT_THAT(error_of([] { RandomVerticalFlip(-0.1); }), HasSubstr("[0, 1]"));
  EXPECT_THAT(error_of([] { Rotate({.max_deg = 200}); }), HasSubstr("max_deg"));
  EXPECT_THAT(error_of([] { ColorJitter({.hue = 0.6}); }), HasSubstr("hue must be in [0, 0.5]"));
  EXPECT_THAT(error_of([] { ColorJitter({.brightness = -1}); }), HasSubstr("not negative"));
  EXPECT_THAT(error_of([] { RandomGaussianBlur({.sigma = {2, 1}}); }), HasSubstr("sigma"));
  EXPECT_THAT(error_of([] { RandomGaussianBlur({.kernel = 4}); }), HasSubstr("odd"));
  EXPECT_THAT(error_of([] { RandomGaussianBlur::boxlike({4, 4}, 1); }), HasSubstr("low < high"));
  EXPECT_THAT(error_of([] { RandomErasing({.scale = {0.5, 0.1}}); }), HasSubstr("scale"));
  EXPECT_THAT(error_of([] { RandomGamma({0, 1}); }), HasSubstr("gamma"));
  EXPECT_THAT(error_of([] { RandomWindow({.width = {0, 1}}); }), HasSubstr("width"));
  EXPECT_THAT(error_of([] { RandomSolarize(0.2, 3); }), HasSubstr("threshold"));
}

} // namespace
} // namespace barlow
