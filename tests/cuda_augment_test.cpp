// SPDX-License-Identifier: Apache-2.0
// Transforms and pipelines on CUDA: against the reference in double precision on the CPU, against the CPU's views, and
// against themselves. Skipped where there is no CUDA device.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#ifdef BARLOW_HAS_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

#include <barlow/augment/presets.h>
#include <barlow/augment/view.h>

#include "augment/stage.h"
#include "support/augment.h"
#include "support/cuda.h"
#include "support/keys.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

class CudaAugment : public Cuda {};

Tensor there(const Tensor& x) {
  return x.to(torch::kCUDA);
}

Tensor levels_of(const Tensor& x) {
  return (x * 255).to(torch::kByte);
}

// Products and sums of a few float32 numbers in 0..1, as the CPU's test allows; half is rounded once more, to 11 bits.
constexpr double kRounding = 2e-6, kHalfRounding = 0x1p-11;

::testing::AssertionResult close_as(const Tensor& y, const Tensor& expected, double absolute = kRounding) {
  return close_each(y.cpu(), expected, y.scalar_type() == torch::kHalf ? kHalfRounding : 0, absolute);
}

Tensor in_double(const Tensor& x, const Stage& stage) { // levels read as x / 255
  const auto exact = x.to(torch::kDouble);
  return run_reference(x.scalar_type() == torch::kByte ? exact / 255 : exact, stage);
}

#ifdef BARLOW_HAS_CUDA
TEST_F(CudaAugment, KernelsRunWhatTheyCan) {
  const auto x = there(torch::rand({1, 3, 4, 4}));
  const std::vector<Stage> stages{CropStage{}, WarpStage{}, BlurStage{}, ColorStage{}};
  for (const auto& stage : stages) {
    EXPECT_TRUE(cuda_can_run(x, stage));
    EXPECT_TRUE(cuda_can_run(x.to(torch::kHalf), stage));
    EXPECT_FALSE(cuda_can_run(x.to(torch::kDouble), stage));
    EXPECT_EQ(cuda_can_run(levels_of(x), stage), std::holds_alternative<CropStage>(stage));
  }
}
#endif

TEST_F(CudaAugment, EveryTransformEqualsTheReference) {
  torch::manual_seed(3);
  const std::vector<std::array<int64_t, 3>> shapes{
      {3, 32, 32},
      {3, 37, 53},
      {1, 28, 28},
      {1, 1, 9},
      {2, 17, 1},
      {4, 2, 2},
      {3, 1, 1},
      {1, 1, 1},
      {3, 131, 77},
      {6, 23, 40},
      {8, 5, 6}, // the most channels of the colour kernels
      {9, 12, 11}};
  for (const auto& [c, h, w] : shapes) {
    const auto x = torch::rand({3, c, h, w});
    for (const auto& [name, run] : cases(c, h, w)) {
      SCOPED_TRACE(fmt::format("{} of {}x{}x{}", name, c, h, w));
      StageRecorder recorder;
      run(x.to(torch::kMeta));
      ASSERT_EQ(recorder.stages.size(), 1U);
      const auto& stage = recorder.stages[0];
      const double absolute = name == "color_jitter" ? 1e-5 : kRounding; // four steps, each up to twice the last error
      for (const auto type : {torch::kFloat, torch::kHalf, torch::kDouble}) {
        const auto images = x.to(type), expected = in_double(images, stage);
        for (const auto& layout : layouts(there(images))) {
          const auto y = run(layout);
          EXPECT_TRUE(y.is_cuda());
          EXPECT_EQ(y.scalar_type(), type);
          EXPECT_TRUE(y.is_contiguous());
          EXPECT_TRUE(close_as(y, expected, type == torch::kDouble ? 1e-9 : absolute)) << type;
          if (type == torch::kDouble) {
            break; // ATen minds the layouts
          }
        }
      }
      const auto levels = levels_of(x), expected = in_double(levels, stage);
      for (const auto& layout : layouts(there(levels))) {
        EXPECT_TRUE(close_as(run_stages(layout, recorder.stages, "test"), expected, absolute));
        const auto y = run(layout); // levels again, windows aside
        if (y.scalar_type() == torch::kByte) {
          EXPECT_TRUE(close_each(y.cpu().to(torch::kDouble), (expected * 255).clamp(0, 255), 0, 0.5 + 255 * absolute));
        }
      }
    }
  }
}

// Whole images, a part, and a single pixel; the last two mirrored.
TEST_F(CudaAugment, CropsOfAnySizeEqualTheReference) {
  struct Sizes {
    int64_t height, width;
    ImageSize target;
  };
  for (const auto& [h, w, target] : std::vector<Sizes>{
           {300, 300, 20},
           {37, 53, {160, 224}},
           {1, 1, {9, 7}},
           {300, 200, 1},
           {500, 3, {2, 40}},
           {23, 41, {23, 41}}}) {
    for (const int64_t c : {1, 2, 3, 6}) {
      const auto x = torch::rand({3, c, h, w});
      for (const auto interpolation : {Interpolation::Bilinear, Interpolation::Bicubic}) {
        for (const bool antialias : {true, false}) {
          SCOPED_TRACE(
              fmt::format(
                  "{}x{}x{} to {}x{}, {}{}",
                  c,
                  h,
                  w,
                  target.height,
                  target.width,
                  interpolation == Interpolation::Bicubic ? "bicubic" : "bilinear",
                  antialias ? ", antialiased" : ""));
          const Stage stage = CropStage{
              .size = target,
              .resize = {interpolation, antialias},
              .boxes = {{0, 0, h, w}, {h / 3, w / 4, h - h / 3, w - w / 4}, {h - 1, w - 1, 1, 1}},
              .mirror = {0, 1, 1}};
          for (const auto& images : {x, x.to(torch::kHalf), levels_of(x)}) {
            EXPECT_TRUE(close_as(run_stages(there(images), {stage}, "test"), in_double(images, stage)))
                << images.scalar_type();
          }
        }
      }
    }
  }
}

// Kernels from one pixel to as far as borders can be reflected, sides that fours make or do not; as a second stage the
// blur may write where it reads.
TEST_F(CudaAugment, BlursOfAnyRadiusEqualTheReference) {
  for (const auto& [c, h, w] :
       std::vector<std::array<int64_t, 3>>{{3, 37, 53}, {1, 40, 56}, {2, 38, 40}, {4, 37, 6}, {1, 3, 8}, {3, 1, 1}}) {
    SCOPED_TRACE(fmt::format("{}x{}x{}", c, h, w));
    BlurStage stage{{Blur{}}};
    for (const int64_t radius : {0, 1, 2, 3, 4, 5, 7, 8, 15, 36}) {
      for (const double sigma : {0.1, 1.3, 30.}) {
        if (radius < std::min(h, w)) {
          stage.samples.push_back({2 * radius + 1, sigma});
        }
      }
    }
    const BlurStage nothing{std::vector<Blur>(stage.samples.size())};
    const auto x = torch::rand({static_cast<int64_t>(stage.samples.size()), c, h, w});
    for (const auto& images : {x, x.to(torch::kHalf)}) {
      const auto expected = in_double(images, stage), images_there = there(images);
      EXPECT_TRUE(close_as(run_stages(images_there, {stage}, "test"), expected)) << images.scalar_type();
      EXPECT_TRUE(close_as(run_stages(images_there, {nothing, stage}, "test"), expected)) << images.scalar_type();
      EXPECT_TRUE(images_there.cpu().equal(images));
    }
  }
}

TEST_F(CudaAugment, TurnsOfAnyAngleEqualTheReference) {
  const std::vector<double> degrees{0, 1e-9, -30, 45, 90, -90, 135, 180, 270, 359.5};
  for (const auto& [c, h, w] :
       std::vector<std::array<int64_t, 3>>{{3, 37, 53}, {1, 40, 40}, {2, 1, 9}, {1, 17, 1}, {3, 2, 2}, {3, 1, 1}}) {
    const auto x = torch::rand({static_cast<int64_t>(degrees.size()), c, h, w});
    for (const auto rule : {RotationRule::Fastai, RotationRule::Rigid}) {
      for (const auto& images : {x, x.to(torch::kHalf)}) {
        const auto expected = [&, r = rule] {
          const ReferenceTransforms guard;
          return rotate(images.to(torch::kDouble), degrees, r);
        }();
        EXPECT_TRUE(close_as(rotate(there(images), degrees, rule), expected))
            << fmt::format("{}x{}x{}, ", c, h, w) << images.scalar_type();
      }
    }
  }
}

TEST_F(CudaAugment, JitterInAnyOrderEqualsTheReference) {
  std::vector<std::optional<Jitter>> jitters;
  Jitter jitter{.brightness = 1.4, .contrast = 0.6, .saturation = 1.7, .hue = -0.3};
  do {
    jitters.emplace_back(jitter);
  } while (std::next_permutation(jitter.order.begin(), jitter.order.end()));
  const auto x = torch::rand({24, 3, 19, 22});
  for (const auto rule : {ColorRule::Kornia, ColorRule::Torchvision}) {
    for (const auto& images : {x, x.to(torch::kHalf)}) {
      const auto expected = [&, r = rule] {
        const ReferenceTransforms guard;
        return color_jitter(images.to(torch::kDouble), jitters, r);
      }();
      EXPECT_TRUE(close_as(color_jitter(there(images), jitters, rule), expected, 1e-5)) << images.scalar_type();
    }
  }
}

// A contrast needs the mean of what the steps before it made; samples have up to three, over several blocks' pixels.
TEST_F(CudaAugment, ContrastsInARowEqualTheReference) {
  using Kind = ColorOp::Kind;
  const ColorOp more{.kind = Kind::Contrast, .a = 1.5}, less{.kind = Kind::Contrast, .a = 0.4},
      tv{.kind = Kind::Contrast, .a = 0.7, .rule = ColorRule::Torchvision}, bright{.kind = Kind::Brightness, .a = 1.2},
      gamma{.kind = Kind::Gamma, .a = 0.8, .b = 1.1}, gray{.kind = Kind::Gray};
  const ColorStage stage{{{}, {more}, {less, bright, more}, {gamma, tv, less, gray, more, gamma}, {bright}}};
  const BlurStage nothing{std::vector<Blur>(stage.samples.size())};
  for (const int64_t c : {1, 3, 5}) {
    const auto x = torch::rand({5, c, 131, 97});
    for (const auto& images : {x, x.to(torch::kHalf)}) {
      SCOPED_TRACE(fmt::format("{} channels of {}", c, at::toString(images.scalar_type())));
      const auto expected = in_double(images, stage), images_there = there(images);
      EXPECT_TRUE(close_as(run_stages(images_there, {stage}, "test"), expected, 1e-5));
      EXPECT_TRUE(close_as(run_stages(images_there, {nothing, stage}, "test"), expected, 1e-5)); // where it reads
      EXPECT_TRUE(images_there.cpu().equal(images));
    }
  }
}

TEST_F(CudaAugment, OtherTypesKeepTheirs) {
  const auto x = torch::rand({2, 3, 12, 10}, torch::kDouble);
  const auto run = [](const Tensor& images) {
    return rotate(resized_crop(images, {{1, 2, 7, 6}, {0, 0, 12, 10}}, 9), {10, -20});
  };
  const auto exact = run(x);
  const std::vector<std::pair<at::ScalarType, double>> types{
      {torch::kDouble, 1e-12}, {torch::kFloat, kRounding}, {torch::kHalf, 2e-3}, {torch::kBFloat16, 2e-2}};
  for (const auto& [type, tolerance] : types) {
    const auto y = run(there(x.to(type)));
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_TRUE(close_each(y.cpu(), exact, 0, tolerance)) << type;
  }
}

TEST_F(CudaAugment, NormalizingCanBeUndone) {
  const auto x = torch::rand({2, 6, 9, 11});
  const std::vector<double> mean{.1, .2, .3, .4, .5, .6}, std{1, .5, .25, 1, .5, .25};
  const auto y = normalize(there(x), mean, std);
  EXPECT_TRUE(close_each(y.cpu(), normalize(x, mean, std), 0, 4 * kRounding)); // over a std of 1/4
  EXPECT_TRUE(close_each(denormalize(y, mean, std).cpu(), x, 0, 4 * kRounding));
}

// The copy of a call's parameters must not be overwritten by a later call's while the device is busy.
TEST_F(CudaAugment, ParametersOfCallsInFlightStayApart) {
  const auto x = torch::rand({2, 3, 40, 40}), x_there = there(x);
  const auto crop = [](const Tensor& images, int64_t i) {
    return resized_crop(images, {{i % 20, i % 13, 20, 27}, {i % 9, i % 18, 30 - i % 7, 20}}, 16);
  };
  auto busy = there(torch::rand({4096, 4096}));
  for (int i = 0; i < 20; ++i) {
    busy = busy.mm(busy);
  }
  std::vector<Tensor> crops;
  crops.reserve(500);
  for (int64_t i = 0; i < 500; ++i) {
    crops.push_back(crop(x_there, i));
  }
  for (int64_t i = 0; i < 500; ++i) {
    EXPECT_TRUE(close_as(crops[static_cast<size_t>(i)], crop(x, i))) << i;
  }
}

#ifdef BARLOW_HAS_CUDA
// What a busy stream is still to write is read after that.
TEST_F(CudaAugment, WorksInTheCurrentStream) {
  const auto x = there(torch::rand({3, 3, 30, 40}));
  const auto expected = everything()(x, keys(first(3)));
  torch::cuda::synchronize();
  const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool());
  const auto late = at::zeros_like(x);
  auto busy = there(torch::rand({4096, 4096}));
  for (int i = 0; i < 20; ++i) {
    busy = busy.mm(busy);
  }
  late.copy_(x);
  EXPECT_TRUE(everything()(late, keys(first(3))).equal(expected));
}
#endif

// --- not finite

// Neither a crash nor a neighbour that minds. A sample of NaN stays so; looking for it would mean waiting.
TEST_F(CudaAugment, NonFinitePixelsStayInTheirSample) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto x = torch::rand({3, 3, 20, 21});
  for (const auto& [name, run] : cases(3, 20, 21)) {
    for (const auto type : {torch::kFloat, torch::kHalf, torch::kDouble}) {
      const auto good = there(x.to(type)), clean = run(good);
      for (const double bad : {std::nan(""), kInfinity, -kInfinity}) {
        SCOPED_TRACE(fmt::format("{} of {}, {}", name, bad, at::toString(type)));
        auto images = good.clone();
        images[0].fill_(bad);
        images[1].slice(1, 0, 20, 3).slice(2, 1, 21, 2).fill_(bad);
        const auto y = run(images);
        EXPECT_TRUE(close_each(y[2], clean[2], 0, type == torch::kDouble ? 1e-12 : 0));
        if (std::isnan(bad)) {
          EXPECT_TRUE(y[0].isnan().any().item<bool>());
        }
      }
    }
  }
  EXPECT_TRUE(
      everything()(there(torch::full({2, 3, 30, 30}, std::nan(""))), keys(first(2))).isnan().any().item<bool>());
}

TEST_F(CudaAugment, BadParametersAreNamed) {
  const auto x = there(torch::rand({1, 3, 8, 8}));
  EXPECT_NE(error_of([&] { resized_crop(x, {{0, 0, 9, 8}}, 4); }).find("does not lie in"), std::string::npos);
  EXPECT_NE(error_of([&] { gaussian_blur(x, {{17, 1}}); }).find("more than 8 a side"), std::string::npos);
  EXPECT_NE(error_of([&] { adjust_hue(x.narrow(1, 0, 2), {0.1}); }).find("3 channels"), std::string::npos);
}

// --- many samples, many pixels

// A grid has at most 65535 blocks along y.
TEST_F(CudaAugment, TakesMoreSamplesThanAGridHasRows) {
  constexpr int64_t kSamples = 70000;
  const auto x = torch::rand({kSamples, 3, 4, 4});
  std::vector<Box> boxes;
  std::vector<double> degrees;
  std::vector<Blur> blurs;
  std::vector<std::optional<Jitter>> jitters;
  for (int64_t n = 0; n < kSamples; ++n) {
    const auto part = static_cast<double>(n % 101) / 101;
    boxes.push_back({n % 2, n % 3, 1 + n % 3, 2});
    degrees.push_back(90 * part);
    blurs.push_back({n % 3 == 0 ? 0 : 3, 0.3 + part});
    jitters.push_back(Jitter{.brightness = 0.5 + part, .contrast = 0.5 + part, .saturation = part, .hue = part / 2});
  }
  const std::vector<Case> all{
      {"resized_crop", [&](const Tensor& images) { return resized_crop(images, boxes, {3, 4}); }},
      {"rotate", [&](const Tensor& images) { return rotate(images, degrees); }},
      {"gaussian_blur", [&](const Tensor& images) { return gaussian_blur(images, blurs); }},
      {"color_jitter", [&](const Tensor& images) { return color_jitter(images, jitters); }}};
  for (const auto& [name, run] : all) {
    EXPECT_TRUE(close_as(run(there(x)), run(x), 1e-5)) << name; // as color_jitter above
  }
  const auto levels = levels_of(x.narrow(1, 0, 1));
  const auto crop = [&](const Tensor& images) { return resized_crop(images, boxes, 2); };
  EXPECT_TRUE(close_each(crop(there(levels)).cpu().to(torch::kInt), crop(levels).to(torch::kInt), 0, 1));
}

// 2.4 billion levels: the last sample's last corner.
TEST_F(CudaAugment, TakesMoreThan31BitsOfPixels) {
  constexpr int64_t kSide = 16384;
  const auto x = torch::empty({3, 3, kSide, kSide}, torch::TensorOptions(torch::kByte).device(torch::kCUDA));
  x.fill_(7);
  const auto corner = x[2].slice(1, kSide - 300).slice(2, kSide - 200).unsqueeze(0);
  corner.random_(0, 256);
  const Box last{kSide - 300, kSide - 200, 300, 200}, first_one{0, 0, 300, 200};
  const auto y = resized_crop(x, {first_one, first_one, last}, {40, 60}).cpu();
  EXPECT_TRUE(y[0].eq(7).all().item<bool>());
  const auto expected = resized_crop(corner.cpu(), {{0, 0, 300, 200}}, {40, 60});
  EXPECT_TRUE(close_each(y[2].to(torch::kInt), expected[0].to(torch::kInt), 0, 1));
}

// --- pipelines

std::vector<std::pair<std::string, std::vector<Pipeline>>> presets() {
  const AugOptions always{.size = 64, .rotate_p = 1, .jitter_p = 1, .bw_p = 0.5, .blur_p = 1};
  const auto multi = get_multi_crop_aug_pipelines({}, {.small_crops = 2});
  return {
      {"get_batch_augs", {get_batch_augs({.size = 64}), get_batch_augs(always)}},
      {"get_multi_aug_pipelines", get_multi_aug_pipelines(2, always)},
      {"get_barlow_twins_aug_pipelines", get_barlow_twins_aug_pipelines(always)},
      {"get_simclr_aug_pipelines", get_simclr_aug_pipelines({.size = 64})},
      {"get_barlow_twins_paper_aug_pipelines", get_barlow_twins_paper_aug_pipelines()},
      {"get_simclr_paper_aug_pipelines", get_simclr_paper_aug_pipelines()},
      {"get_cifar_aug_pipelines", get_cifar_aug_pipelines()},
      {"get_lightly_cifar_aug_pipelines", get_lightly_cifar_aug_pipelines()},
      {"get_gray_aug_pipelines", get_gray_aug_pipelines()},
      {"large crops", multi.large},
      {"small crops", multi.small},
      {"everything",
       {everything(), everything({make_transform("Invert", [](const Tensor& y) { return 1 - y; }, 50)})}}};
}

// In units of the standard deviations (0.225), after colour steps with factors up to 1.8: float32's rounding of each
// step, and half's of each stage to 11 bits. Some five and three times what the CPU's two routes differ by.
constexpr double kViews = 3e-5, kHalfViews = 3e-2;

void expect_the_cpus_view(const Pipeline& pipeline, const Tensor& x, const ViewKeys& view_keys) {
  for (const auto& images : {x, levels_of(x), x.to(torch::kHalf)}) {
    const bool half = images.scalar_type() == torch::kHalf;
    const auto expected = pipeline(half ? images.to(torch::kFloat) : images, view_keys);
    const auto y = pipeline(there(images), view_keys);
    EXPECT_TRUE(y.is_cuda());
    EXPECT_EQ(y.scalar_type(), half ? torch::kHalf : torch::kFloat);
    EXPECT_TRUE(close_each(y.cpu(), expected, 0, half ? kHalfViews : kViews)) << images.scalar_type();
  }
}

std::vector<TransformPtr> random_transforms() {
  std::vector<TransformPtr> all{
      std::make_shared<RandomHorizontalFlip>(0.5),
      std::make_shared<RandomVerticalFlip>(0.5),
      std::make_shared<RandomRotate90>(0.75),
      std::make_shared<RandomErasing>(ErasingOptions{.p = 1, .value = 0.3}),
      std::make_shared<RandomSolarize>(0.5),
      std::make_shared<RandomEqualize>(0.7),
      std::make_shared<RandomGamma>(Range{0.5, 2}, 0.7),
      std::make_shared<RandomWindow>(WindowOptions{.center = {0.3, 0.7}, .width = {0.5, 1.5}}),
      std::make_shared<Normalize>(kImagenetStats),
      std::make_shared<RandomGaussianBlur>(BlurOptions{.p = 0.7}),
      std::make_shared<RandomGaussianBlur>(BlurOptions{.p = 1, .sigma = {1, 9}, .kernel = 7}),
      std::make_shared<RandomGaussianBlur>(RandomGaussianBlur::boxlike({4, 32}, 0.7)),
      std::make_shared<RandomNoise>(NoiseOptions{.sigma = {0, 0.2}, .p = 0.7})};
  for (const auto interpolation : {Interpolation::Bilinear, Interpolation::Bicubic}) {
    for (const bool antialias : {true, false}) {
      all.push_back(std::make_shared<RandomResizedCrop>(21, CropOptions{.resize = {interpolation, antialias}}));
    }
  }
  for (const auto rule : {RotationRule::Fastai, RotationRule::Rigid}) {
    all.push_back(std::make_shared<Rotate>(RotateOptions{.max_deg = 180, .p = 0.7, .rule = rule}));
  }
  for (const auto rule : {ColorRule::Kornia, ColorRule::Torchvision}) {
    all.push_back(
        std::make_shared<ColorJitter>(
            JitterOptions{.brightness = 0.5, .contrast = 0.5, .saturation = 0.5, .hue = 0.5, .p = 0.8, .rule = rule}));
    all.push_back(std::make_shared<RandomGrayscale>(0.5, false, rule));
  }
  return all;
}

// Of whole levels: others might be equalized up or down. Tolerance as of color_jitter above.
TEST_F(CudaAugment, EveryRandomTransformIsTheCpus) {
  const auto levels = levels_of(torch::rand({8, 3, 36, 36})), x = levels.to(torch::kFloat) / 255;
  const auto transforms = random_transforms();
  for (size_t t = 0; t < transforms.size(); ++t) {
    const Pipeline pipeline({transforms[t]});
    SCOPED_TRACE(fmt::format("{}: {}", t, transforms[t]->name()));
    for (const int64_t view : {0, 1}) {
      for (const auto& images : {x, levels, x.to(torch::kHalf)}) {
        const auto expected =
            pipeline(images.scalar_type() == torch::kHalf ? images.to(torch::kFloat) : images, keys(first(8), view));
        EXPECT_TRUE(close_as(pipeline(there(images), keys(first(8), view)), expected, 1e-5)) << images.scalar_type();
      }
    }
  }
}

TEST_F(CudaAugment, ViewsAreTheCpus) {
  const auto x = torch::rand({5, 3, 90, 120});
  for (const auto& [name, pipelines] : presets()) {
    ASSERT_EQ(pipelines.size(), 2U);
    for (const int64_t view : {0, 1}) {
      SCOPED_TRACE(fmt::format("{}, view {}", name, view));
      expect_the_cpus_view(pipelines[static_cast<size_t>(view)], x, keys(first(5), view));
    }
  }
}

TEST_F(CudaAugment, ViewsOfOtherChannelsAreTheCpus) {
  for (const int64_t c : {1, 2, 6}) {
    SCOPED_TRACE(c);
    const auto x = torch::rand({5, c, 70, 61});
    const Stats stats{std::vector(static_cast<size_t>(c), 0.5), std::vector(static_cast<size_t>(c), 0.25)};
    for (const int64_t view : {0, 1}) {
      const auto pipelines = get_gray_aug_pipelines({.size = 48, .stats = stats});
      expect_the_cpus_view(pipelines[static_cast<size_t>(view)], x, keys(first(5), view));
    }
  }
}

TEST_F(CudaAugment, OneDrawABatchIsTheCpus) {
  const auto augs = get_batch_augs(
      {.size = 16, .same_on_batch = true, .rotate_p = 1, .jitter_p = 1, .blur_p = 1, .crop_same_on_batch = true});
  expect_the_cpus_view(augs, torch::rand({5, 3, 40, 40}), keys(first(5)));
}

TEST_F(CudaAugment, DrawsAreTheCpusAndCanBeReplayed) {
  const auto x = torch::rand({4, 3, 34, 27});
  const auto pipeline = everything();
  const auto [view, drawn] = pipeline.apply_and_draw(there(x), keys(first(4)));
  EXPECT_EQ(drawn, pipeline.apply_and_draw(x, keys(first(4))).second);
  EXPECT_TRUE(pipeline.replay(there(x), drawn).equal(view));
}

// Bit by bit: run again, alone, and in another order.
TEST_F(CudaAugment, AnyBatchGivesTheSameBits) {
  const auto x = torch::rand({7, 3, 40, 48});
  const std::vector<int64_t> order{3, 6, 0, 5, 1, 4, 2};
  const auto places = there(torch::tensor(order));
  for (const auto& [name, pipelines] : presets()) {
    for (const auto& pipeline : pipelines) {
      for (const auto& images : {there(x), there(levels_of(x)), there(x.to(torch::kHalf))}) {
        SCOPED_TRACE(fmt::format("{} of {}", name, at::toString(images.scalar_type())));
        const auto copy = images.clone(), all = pipeline(images, keys(first(7)));
        EXPECT_TRUE(images.equal(copy));
        EXPECT_TRUE(pipeline(images, keys(first(7))).equal(all));
        EXPECT_TRUE(pipeline(images.index_select(0, places), keys(order)).equal(all.index_select(0, places)));
        for (int64_t n = 0; n < 7; ++n) {
          EXPECT_TRUE(pipeline(images.narrow(0, n, 1), keys({n}))[0].equal(all[n])) << n;
        }
        for (const auto& layout : layouts(images)) {
          EXPECT_TRUE(pipeline(layout, keys(first(7))).equal(all));
        }
      }
    }
  }
}

// Of a whole image, and of what a loader has cropped already.
TEST_F(CudaAugment, AViewIsMadeOnItsBatchsDevice) {
  const auto pipeline = everything();
  Batch batch{.x = there(torch::rand({3, 3, 30, 40})), .y = {}, .index = {5, 2, 9}, .epoch = 4, .seed = 11};
  for (const int64_t view : {0, 1}) {
    const auto y = make_view(pipeline, batch, static_cast<size_t>(view));
    EXPECT_TRUE(y.is_cuda());
    EXPECT_TRUE(y.equal(pipeline(batch.x, keys(batch.index, view, 4, 11))));
  }
  batch.views = {there(torch::rand({3, 3, 21, 21})), there(torch::rand({3, 3, 21, 21}))};
  EXPECT_TRUE(make_view(pipeline, batch, 1).equal(pipeline(batch.views[1], keys(batch.index, 1, 4, 11), 2)));
}

} // namespace
} // namespace barlow
