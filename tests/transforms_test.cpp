// SPDX-License-Identifier: Apache-2.0
// Oracle files (tests/oracles/core/aug: torchvision, kornia, fastai, Pillow) on both routes, the kernels against the
// reference over random shapes and layouts, numbers worked by hand.
#include <barlow/augment/transforms.h>

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/augment/random_transforms.h>

#include "augment/stage_by_pixels.h"
#include "support/augment.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using nlohmann::json;
using ::testing::HasSubstr;
using torch::Tensor;

// --- oracles

template <class T>
std::vector<T> repeated(const Tensor& x, const T& value) {
  return std::vector<T>(static_cast<size_t>(x.size(0)), value);
}

// One number for all samples, or one each.
std::vector<double> numbers(const json& value, const Tensor& x) {
  return value.is_array() ? value.get<std::vector<double>>() : repeated<double>(x, value);
}

Box box(const json& call) {
  const auto& b = call.contains("box") ? call["box"] : call["box_top_left_height_width"];
  return {b[0], b[1], b[2], b[3]};
}

ImageSize size(const json& call) {
  return {call["size"][0], call["size"][1]};
}

std::vector<std::optional<Jitter>> jitters(const json& call) {
  std::vector<std::optional<Jitter>> all;
  for (size_t n = 0; n < call["b"].size(); ++n) {
    Jitter j{.brightness = call["b"][n], .contrast = call["c"][n], .saturation = call["s"][n], .hue = call["h"][n]};
    std::copy_n(call["order"].begin(), 4, j.order.begin());
    const bool acts = !call.contains("jitter") || call["jitter"][n].get<bool>();
    all.push_back(acts ? std::optional(j) : std::nullopt);
  }
  return all;
}

std::vector<bool> booleans(const json& value) {
  return value.get<std::vector<bool>>();
}

// The documented pipeline in its real order.
Tensor chain(const Tensor& x, const json& call) {
  auto y = resized_crop(x, repeated(x, box(call)), size(call));
  y = horizontal_flip(y, booleans(call["flip"]));
  y = color_jitter(y, jitters(call));
  y = grayscale(y, booleans(call["gray"]));
  const int64_t s = call["blur"];
  y = gaussian_blur(y, repeated(y, Blur{2 * (s / 4) + 1, static_cast<double>(s)}));
  y = rotate(y, call["degrees"].get<std::vector<double>>());
  return normalize(y, kImagenetStats.mean, kImagenetStats.std);
}

// What a call of the oracle is here; an undefined tensor for samplings that this library does not have.
Tensor run_call(const std::string& name, const json& call, const Tensor& x) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  const auto rule = has("_tv") ? ColorRule::Torchvision : ColorRule::Kornia;
  const auto kind = name.substr(0, name.find('/'));
  if (kind == "crop") {
    if (has("_kornia") || has("_fastai")) {
      return {};
    }
    const ResizeOptions resize{
        .interpolation = has("bicubic") ? Interpolation::Bicubic : Interpolation::Bilinear,
        .antialias = call["antialias"]};
    return resized_crop(x, repeated(x, box(call)), size(call), resize);
  }
  if (kind == "rotate") {
    const auto degrees = numbers(call["degrees"], x);
    return has("nearest") ? Tensor() : rotate(x, degrees, has("_fastai") ? RotationRule::Fastai : RotationRule::Rigid);
  }
  if (kind == "brightness") {
    return adjust_brightness(x, numbers(call["factor"], x));
  }
  if (kind == "contrast") {
    return adjust_contrast(x, numbers(call["factor"], x), rule);
  }
  if (kind == "saturation") {
    return adjust_saturation(x, numbers(call["factor"], x), rule);
  }
  if (kind == "hue") {
    return adjust_hue(x, numbers(call["turns"], x), rule);
  }
  if (kind == "jitter") {
    return color_jitter(x, jitters(call));
  }
  if (kind == "hflip") {
    return horizontal_flip(x, repeated(x, true));
  }
  if (kind == "gray") {
    return grayscale(x, repeated(x, true), rule);
  }
  if (kind == "blur") {
    return gaussian_blur(x, repeated(x, Blur{call["kernel"], call["sigma"]}));
  }
  if (kind == "solarize") {
    return solarize(x, numbers(call["threshold"], x));
  }
  if (kind == "normalize") {
    return x.size(1) == 3 ? normalize(x, call["mean"], call["std"]) : Tensor(); // fastai makes three channels of one
  }
  if (kind == "chain") {
    return chain(x, call);
  }
  return {};
}

TEST(Transforms, EqualThePeers) {
  const auto oracle = load_oracle("core/aug");
  int compared = 0;
  for (const bool reference : {false, true}) {
    std::optional<ReferenceTransforms> guard;
    if (reference) {
      guard.emplace();
    }
    for (const auto& [name, call] : oracle.info["calls"].items()) {
      if (call["input"] == "pil_rgb") {
        continue;
      }
      const auto y = run_call(name, call, oracle.at(call["input"]));
      if (!y.defined()) {
        continue;
      }
      // The peers sample by float32 grids, whose positions are off by some 1e-5 pixels.
      const bool grid = name.starts_with("rotate") || name.starts_with("chain");
      EXPECT_TRUE(close_each(y, oracle.at(name), 0, grid ? 1e-4 : 5e-6)) << name << (reference ? ", reference" : "");
      ++compared;
    }
  }
  EXPECT_EQ(compared, 2 * 86);
}

// Pillow rounds to 8 bits after every operation, which is what one operation on uint8 does here. Left out: hue, which
// Pillow turns in 8-bit HSV, and its blur, which is three box filters.
TEST(Transforms, EqualPillowsTo8Bits) {
  const auto oracle = load_oracle("core/aug");
  const auto x = oracle.at("pil_rgb").permute({2, 0, 1}).unsqueeze(0);
  int compared = 0;
  for (const auto& [name, call] : oracle.info["calls"].items()) {
    if (call["input"] != "pil_rgb" || name.find("hue") != std::string::npos || name.find("blur") != std::string::npos) {
      continue;
    }
    const auto kind = name.substr(4, name.find('_', 4) - 4);
    auto here = call;
    here["antialias"] = true;
    if (kind == "solarize") {
      here["threshold"] = 0.5;
    }
    const auto y = run_call(kind + (kind == "crop" ? "/bicubic" : "/_tv"), here, x);
    const auto expected = oracle.at(name).permute({2, 0, 1}).unsqueeze(0);
    EXPECT_EQ(y.scalar_type(), torch::kByte);
    EXPECT_TRUE(close_each(y.to(torch::kInt), expected.to(torch::kInt), 0, 1)) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 10);
}

// --- the kernels against the reference

// Products and sums of a few float32 numbers in 0..1, against double precision.
constexpr double kRounding = 2e-6;

TEST(Transforms, KernelsEqualTheReference) {
  torch::manual_seed(3);
  const std::vector<std::array<int64_t, 3>> shapes{
      {3, 32, 32}, {3, 50, 37}, {1, 28, 28}, {1, 1, 9}, {2, 17, 1}, {4, 2, 2}, {3, 1, 1}, {3, 131, 77}, {6, 23, 40}};
  for (const auto& [c, h, w] : shapes) {
    const auto x = torch::rand({3, c, h, w});
    const auto levels = (x * 255).to(torch::kByte);
    for (const auto& [name, run] : cases(c, h, w)) {
      SCOPED_TRACE(name + " of " + std::to_string(c) + "x" + std::to_string(h) + "x" + std::to_string(w));
      const auto in_reference = [run = run](const Tensor& images) {
        const ReferenceTransforms guard;
        return run(images);
      };
      const auto expected = in_reference(x);
      for (const auto& images : layouts(x)) {
        const auto y = run(images);
        EXPECT_TRUE(close_each(y, expected, 0, kRounding));
        EXPECT_TRUE(y.is_contiguous());
      }
      const auto of_levels = run(levels.contiguous(at::MemoryFormat::ChannelsLast));
      EXPECT_TRUE(close_each(of_levels.to(torch::kFloat), in_reference(levels).to(torch::kFloat), 0, 1)); // a level
    }
  }
}

// What the CUDA kernels compute for each pixel, computed here by loops.
struct Loops {
  template <class F>
  static void each_pixel(const F& f, int samples, int height, int width) {
    for (int n = 0; n < samples; ++n) {
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          f(n, y, x);
        }
      }
    }
  }
  template <class F>
  static void means(const F& f, const Tensor& means, int which, const Tensor& images) {
    const auto pixels = images.size(2) * images.size(3);
    for (int n = 0; n < images.size(0); ++n) {
      double sum = 0;
      for (int strip = 0; strip < F::strips(static_cast<int>(pixels)); ++strip) {
        float value = 0;
        sum += f.gray(n, strip, which, &value) ? value : 0;
      }
      means[which][n] = sum / static_cast<double>(pixels);
    }
  }
};

TEST(Transforms, WhatCudaComputesAPixelEqualsTheReference) {
  torch::manual_seed(4);
  for (const auto& [c, h, w] :
       std::vector<std::array<int64_t, 3>>{{3, 32, 32}, {3, 50, 37}, {1, 1, 9}, {2, 17, 1}, {3, 1, 1}, {6, 23, 40}}) {
    const auto x = torch::rand({3, c, h, w});
    for (const auto& [name, run] : cases(c, h, w)) {
      SCOPED_TRACE(name + " of " + std::to_string(c) + "x" + std::to_string(h) + "x" + std::to_string(w));
      StageRecorder recorder;
      run(x.to(torch::kMeta));
      ASSERT_EQ(recorder.stages.size(), 1U);
      const auto expected = run_reference(x, recorder.stages[0]);
      const auto run_pixels = [&](const Tensor& images, bool ours) {
        return std::visit(
            [&](const auto& s) { return pixels::run<float, Loops>(s, images, ours); }, recorder.stages[0]);
      };
      EXPECT_TRUE(close_each(run_pixels(x, false), expected, 0, kRounding));
      EXPECT_TRUE(close_each(run_pixels(x.clone(), true), expected, 0, kRounding));
      if (std::holds_alternative<CropStage>(recorder.stages[0])) {
        const auto levels = (x * 255).to(torch::kByte);
        const auto of_levels = run_pixels(levels, false);
        EXPECT_TRUE(
            close_each(of_levels, run_reference(levels.to(torch::kFloat) / 255, recorder.stages[0]), 0, kRounding));
      }
    }
  }
}

TEST(Transforms, OtherTypesKeepTheirs) {
  const auto x = torch::rand({2, 3, 12, 10}, torch::kDouble);
  const auto run = [](const Tensor& images) {
    return rotate(resized_crop(images, {{1, 2, 7, 6}, {0, 0, 12, 10}}, 9), {10, -20});
  };
  const auto exact = run(x);
  EXPECT_EQ(exact.scalar_type(), torch::kDouble);
  EXPECT_TRUE(close_each(run(x.to(torch::kFloat)).to(torch::kDouble), exact, 0, kRounding));
  for (const auto type : {torch::kHalf, torch::kBFloat16}) {
    const auto y = run(x.to(type));
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_TRUE(close_each(y.to(torch::kDouble), exact, 0, type == torch::kHalf ? 2e-3 : 2e-2)); // 11 and 8 bits
  }
}

TEST(Transforms, AnyNumberOfThreadsGivesTheSameBits) {
  torch::manual_seed(1);
  const auto x = torch::rand({3, 3, 33, 47});
  const int threads = at::get_num_threads();
  for (const auto& [name, run] : cases(3, 33, 47)) {
    at::set_num_threads(1);
    const auto one = run(x);
    at::set_num_threads(3);
    EXPECT_TRUE(run(x).equal(one)) << name;
  }
  at::set_num_threads(threads);
}

// --- by hand

// Pillow's rule on 8 pixels: levels 0, 0, 0, 100, 100, 200, 200, 200; step (8 - 3) / 255 is 0: unchanged. With each
// repeated 100 times: step 500 / 255 = 1, so the counts below, 0, 300, 500, become the levels, at most 255.
TEST(Transforms, EqualizingFlattensTheHistogram) {
  const auto few = torch::tensor({0, 0, 0, 100, 100, 200, 200, 200}, torch::kByte).view({1, 1, 2, 4});
  EXPECT_TRUE(equalize(few, {true}).equal(few));
  const auto many = few.repeat({1, 1, 10, 10});
  const auto y = equalize(many, {true});
  EXPECT_TRUE(y.masked_select(many == 0).eq(0).all().item<bool>());
  EXPECT_TRUE(y.masked_select(many == 100).eq(255).all().item<bool>());
  EXPECT_TRUE(y.masked_select(many == 200).eq(255).all().item<bool>());
}

// The same rule with a step of two: 1, 509 and 10 pixels, step (520 - 10) / 255 = 2, and the counts begin at a half of
// it: (1 + 0) / 2 = 0, (1 + 1) / 2 = 1, (1 + 510) / 2 = 255.
TEST(Transforms, EqualizingRoundsItsCounts) {
  auto x = torch::full({1, 1, 20, 26}, 100, torch::kByte);
  x[0][0][3][4] = 0;
  x[0][0][7].narrow(0, 5, 10).fill_(200);
  const auto expected = torch::where(x == 0, 0, torch::where(x == 100, 1, 255)).to(torch::kByte);
  EXPECT_TRUE(equalize(x, {true}).equal(expected));
}

TEST(Transforms, LevelsAreRoundedAndJitterBeginsWithinTheRange) { // by hand
  const auto levels = torch::tensor({3, 7, 200}, torch::kByte).view({1, 1, 1, 3});
  const auto darker = torch::tensor({3, 6, 180}, torch::kByte); // 2.7, 6.3
  EXPECT_TRUE(adjust_brightness(levels, {0.9}).flatten().equal(darker));
  const auto x = torch::tensor({-0.5F, 0.5F, 1.5F}).view({1, 1, 1, 3});
  EXPECT_TRUE(color_jitter(x, {Jitter{.brightness = 0.5}}).flatten().equal(torch::tensor({0.F, 0.25F, 0.5F})));
}

TEST(Transforms, NoiseIsNormalAndKeyed) {
  const auto x = torch::zeros({2, 1, 300, 300});
  const auto y = gaussian_noise(x, {{0.5, 1}, {0.5, 2}});
  EXPECT_NEAR(y.mean().item<double>(), 0, 5 * 0.5 / std::sqrt(180000.)); // standard errors
  EXPECT_NEAR(y.std().item<double>(), 0.5, 5 * 0.5 / std::sqrt(2 * 180000.));
  EXPECT_NEAR((y[0] * y[1]).mean().item<double>(), 0, 5 * 0.25 / 300);
  const auto pairs = y.view({-1, 2}); // of one draw
  EXPECT_NEAR((pairs.select(1, 0) * pairs.select(1, 1)).mean().item<double>(), 0, 5 * 0.25 / 300);
  EXPECT_NEAR(y.abs().gt(1).to(torch::kFloat).mean().item<double>(), 0.0455, 0.0025); // beyond two sigma
  EXPECT_TRUE(gaussian_noise(x.narrow(0, 1, 1), {{0.5, 2}})[0].equal(y[1]));
}

TEST(Transforms, WindowsTakeImagesOf16Bits) {
  const auto x = torch::tensor({0, 1000, 30000, 30500}, torch::kInt).view({1, 1, 2, 2});
  const auto y = apply_window(x, {{1000, 31000}});
  EXPECT_TRUE(close_each(y.flatten(), torch::tensor({0., 0., 29. / 30, 29.5 / 30}, torch::kFloat), 0, 1e-6));
  EXPECT_THAT(error_of([&] { apply_window(x, {{5, 5}}); }), HasSubstr("low < high, received (5, 5)"));
}

TEST(Transforms, ChannelsAreMinded) {
  const auto two = torch::rand({1, 2, 4, 4}), one = torch::rand({1, 1, 4, 4});
  EXPECT_THAT(error_of([&] { adjust_hue(one, {0.1}); }), HasSubstr("hue needs images of 3 channels"));
  EXPECT_THAT(error_of([&] { adjust_saturation(two, {0.5}); }), HasSubstr("1 or 3 channels"));
  EXPECT_THAT(error_of([&] { color_jitter(one, {Jitter{.hue = 0.1}}); }), HasSubstr("hue needs"));
  EXPECT_TRUE(color_jitter(one, {Jitter{.saturation = 0.3}}).equal(one));
  EXPECT_TRUE(grayscale(one, {true}).equal(one));
  EXPECT_TRUE(close_each(grayscale(two, {true})[0][1], two[0].mean(0), 0, 1e-6));
}

TEST(Transforms, BadParametersAreNamed) {
  const auto x = torch::rand({1, 3, 8, 8});
  EXPECT_THAT(error_of([&] { adjust_hue(x, {0.6}); }), HasSubstr("[-0.5, 0.5]"));
  EXPECT_THAT(error_of([&] { adjust_contrast(x, {-1}); }), HasSubstr("not negative"));
  EXPECT_THAT(error_of([&] { adjust_gamma(x, {0}); }), HasSubstr("positive"));
  EXPECT_THAT(error_of([&] { gaussian_blur(x, {{4, 1}}); }), HasSubstr("odd"));
  EXPECT_THAT(error_of([&] { gaussian_blur(x, {{17, 1}}); }), HasSubstr("more than 8 a side"));
  EXPECT_THAT(error_of([&] { gaussian_blur(x, {{3, 0}}); }), HasSubstr("sigma"));
  EXPECT_THAT(error_of([&] { color_jitter(x, {Jitter{.order = {0, 1, 2, 2}}}); }), HasSubstr("once each"));
  EXPECT_THAT(error_of([&] { rotate(x, {NAN}); }), HasSubstr("finite"));
  EXPECT_THAT(error_of([&] { solarize(x, {-1}); }), HasSubstr("threshold"));
  EXPECT_THAT(error_of([&] { normalize(x.to(torch::kByte), {.5, .5, .5}, {1, 1, 1}); }), HasSubstr("floating"));
  auto bad = x.clone();
  bad[0][1][3][3] = NAN;
  EXPECT_THAT(error_of([&] { solarize(bad, {0.5}); }), HasSubstr("[solarize] sample 0 has NaN pixels"));
  const ReferenceTransforms guard;
  EXPECT_THAT(error_of([&] { solarize(bad, {0.5}); }), HasSubstr("[solarize] sample 0 has NaN pixels"));
  EXPECT_THAT(error_of([&] { adjust_hue(bad, {0.1}); }), HasSubstr("[adjust_hue] sample 0 has NaN pixels"));
}

TEST(Transforms, CropsHaveABoxASample) {
  torch::manual_seed(0);
  const auto x = torch::rand({2, 2, 9, 8});
  const std::vector<Box> boxes{{1, 2, 5, 6}, {0, 0, 9, 8}};
  const auto both = resized_crop(x, boxes, 4);
  EXPECT_TRUE(both.narrow(0, 0, 1).equal(resized_crop(x.narrow(0, 0, 1), {boxes[0]}, 4)));
  EXPECT_TRUE(both.narrow(0, 1, 1).equal(resized_crop(x.narrow(0, 1, 1), {boxes[1]}, 4)));
  const auto exact = resized_crop(x, {{2, 3, 4, 4}, {5, 4, 4, 4}}, 4);
  EXPECT_TRUE(exact[0].equal(x[0].narrow(1, 2, 4).narrow(2, 3, 4)));
}

TEST(Transforms, BadCropsAreNamed) {
  const auto x = torch::rand({1, 3, 8, 8});
  const auto message = [](const Tensor& images, const Box& box, int64_t size) {
    return error_of([&] { resized_crop(images, {box}, size); });
  };
  EXPECT_THAT(message(x, {0, 0, 9, 8}, 4), HasSubstr("does not lie in an image of 8x8"));
  EXPECT_THAT(message(x, {-1, 0, 4, 4}, 4), HasSubstr("top -1"));
  EXPECT_THAT(message(x, {0, 0, 4, 4}, 0), HasSubstr("size"));
  EXPECT_THAT(message(x[0], {0, 0, 4, 4}, 4), HasSubstr("[N,C,H,W]"));
  EXPECT_THAT(message(x.to(torch::kInt), {0, 0, 4, 4}, 4), HasSubstr("floating or uint8"));
  EXPECT_THAT(error_of([&] { resized_crop(x, {}, 4); }), HasSubstr("one box a sample"));
  EXPECT_THAT(error_of([&] { resized_crop(x.narrow(0, 0, 0), {}, 4); }), HasSubstr("must have pixels"));
}

TEST(Transforms, FlipsAndQuarterTurnsMovePixels) {
  const auto x = torch::arange(12, torch::kFloat).view({2, 1, 2, 3});
  const auto y = horizontal_flip(x, {false, true});
  EXPECT_TRUE(y[0].equal(x[0]));
  EXPECT_TRUE(y[1].equal(torch::tensor({{{8.F, 7.F, 6.F}, {11.F, 10.F, 9.F}}})));
  EXPECT_TRUE(vertical_flip(x, {true, false})[0].equal(x[0].flip(1)));
  const auto square = torch::arange(18, torch::kFloat).view({2, 1, 3, 3});
  for (int64_t turns = -3; turns <= 4; ++turns) {
    const auto turned = rotate90(square, {turns, 0});
    EXPECT_TRUE(turned[0].equal(square[0].rot90(turns, {1, 2}))) << turns;
    EXPECT_TRUE(turned[1].equal(square[1]));
  }
  EXPECT_THAT(error_of([&] { rotate90(x, {2, 1}); }), HasSubstr("square"));
}

TEST(Transforms, NormalizingCanBeUndone) {
  const auto oracle = load_oracle("core/aug");
  const auto& x = oracle.at("rgb");
  const auto y = normalize(x, kImagenetStats.mean, kImagenetStats.std);
  EXPECT_TRUE(close_each(y, oracle.at("normalize/rgb"), 0, 1e-6));
  EXPECT_TRUE(close_each(Normalize(kImagenetStats).decode(y), x, 0, 1e-6));
  EXPECT_THAT(
      error_of([] { normalize(torch::rand({1, 1, 2, 2}), kImagenetStats.mean, kImagenetStats.std); }),
      HasSubstr("3 entries for images of 1 channels"));
  EXPECT_THAT(error_of([] { Normalize({{0.5}, {0.}}); }), HasSubstr("std positive"));
  EXPECT_THAT(error_of([] { Normalize({{0.5}, {1., 1.}}); }), HasSubstr("one entry a channel"));
}

// 200,000 boxes against the oracle's statistics of as many of torchvision's: means within five standard errors of a
// difference of two such samples; quantiles within half a percent of the range, plus a pixel where values are pixels.

} // namespace
} // namespace barlow
