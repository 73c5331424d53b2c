// SPDX-License-Identifier: Apache-2.0
// Transforms, pipelines and presets, called as they must not be; and what only looks so.
#include <barlow/barlow.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/keys.h"
#include "support/misuse.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using torch::Tensor;

TEST(Misuse, TransformsOfWrongImages) {
  struct Named {
    const char* name;
    std::function<void(const Tensor&)> of_two;
  };
  const std::vector<double> ones{1, 1}, stats{0.5, 0.5, 0.5};
  const std::vector<bool> both{true, true};
  const std::vector<Named> transforms{
      {"resized_crop", [](const Tensor& x) { resized_crop(x, {{0, 0, 4, 4}, {1, 1, 4, 4}}, 2); }},
      {"horizontal_flip", [&](const Tensor& x) { horizontal_flip(x, both); }},
      {"vertical_flip", [&](const Tensor& x) { vertical_flip(x, both); }},
      {"rotate90", [](const Tensor& x) { rotate90(x, {1, 2}); }},
      {"rotate", [&](const Tensor& x) { rotate(x, ones); }},
      {"erase", [](const Tensor& x) { erase(x, {Box{0, 0, 1, 1}, std::nullopt}); }},
      {"adjust_brightness", [&](const Tensor& x) { adjust_brightness(x, ones); }},
      {"adjust_contrast", [&](const Tensor& x) { adjust_contrast(x, ones); }},
      {"adjust_saturation", [&](const Tensor& x) { adjust_saturation(x, ones); }},
      {"adjust_hue", [](const Tensor& x) { adjust_hue(x, {0.1, 0}); }},
      {"color_jitter", [](const Tensor& x) { color_jitter(x, {Jitter{.hue = 0.1}, std::nullopt}); }},
      {"grayscale", [&](const Tensor& x) { grayscale(x, both); }},
      {"solarize", [&](const Tensor& x) { solarize(x, ones); }},
      {"equalize", [&](const Tensor& x) { equalize(x, both); }},
      {"adjust_gamma", [&](const Tensor& x) { adjust_gamma(x, ones); }},
      {"gaussian_blur", [](const Tensor& x) { gaussian_blur(x, {{3, 1}, {}}); }},
      {"gaussian_noise", [](const Tensor& x) { gaussian_noise(x, {{0.1, 1}, {}}); }}};
  const auto x = torch::rand({2, 3, 8, 8});
  const BadTensors three{{"of three samples", torch::rand({3, 3, 8, 8})}}, nan{{"with NaN", x / 0 * 0}};
  const auto shapes = other_shapes(x) + BadTensors{{"without samples", x.narrow(0, 0, 0)}};
  for (const auto& [name, of_two] : transforms) {
    refuses(name, other_kinds(x) + shapes + three + nan, of_two);
  }
  const BadTensors no_floats{{"of uint8", x.to(torch::kByte)}, {"of one channel", x.narrow(1, 0, 1)}};
  const auto bad = other_kinds(x) + shapes + nan + no_floats;
  refuses("normalize", bad, [&](const Tensor& y) { normalize(y, stats, stats); });
  refuses("denormalize", bad, [&](const Tensor& y) { denormalize(y, stats, stats); });
  const BadTensors kinds{
      {"undefined", {}}, {"complex", x.to(torch::kComplexFloat)}, {"without data", x.to(torch::kMeta)}};
  refuses("apply_window", kinds + shapes + three, [](const Tensor& y) { apply_window(y, {{0, 1}, {0, 2}}); });
  refuses("adjust_saturation", [&] { adjust_saturation(x.narrow(1, 0, 2), ones); });
  refuses("adjust_hue", [&] { adjust_hue(x.narrow(1, 0, 1), {0.1, 0.1}); });
}

TEST(Misuse, TransformsOfWrongParameters) {
  const auto x = torch::rand({1, 3, 8, 6});
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const auto& box : {Box{0, 0, 9, 6}, Box{-1, 0, 4, 4}, Box{0, 0, 0, 4}, Box{1, 1, kMost, kMost}}) {
    refuses("resized_crop", [&] { resized_crop(x, {box}, 4); });
    refuses("erase", [&] { erase(x, {box}); });
  }
  const std::vector<double> factors{-1, kNaN, kInfinity};
  refuses("adjust_brightness", factors, [&](double f) { adjust_brightness(x, {f}); });
  refuses("adjust_contrast", factors, [&](double f) { adjust_contrast(x, {f}); });
  refuses("adjust_saturation", factors, [&](double f) { adjust_saturation(x, {f}); });
  refuses("adjust_hue", factors, [&](double f) { adjust_hue(x, {f}); });
  refuses("color_jitter", factors, [&](double f) { color_jitter(x, {Jitter{.contrast = f}}); });
  refuses("color_jitter", factors, [&](double f) { color_jitter(x, {Jitter{.hue = f}}); });
  refuses("adjust_gamma", factors, [&](double f) { adjust_gamma(x, {f}); });
  refuses("adjust_gamma", factors, [&](double f) { adjust_gamma(x, {2}, f); });
  refuses("gaussian_blur", factors, [&](double f) { gaussian_blur(x, {{3, f}}); });
  refuses("gaussian_noise", factors, [&](double f) { gaussian_noise(x, {{f, 1}}); });
  const std::vector<double> numbers{kNaN, kInfinity}, stats{0.5, 0.5, 0.5};
  refuses("rotate", numbers, [&](double f) { rotate(x, {f}); });
  refuses("erase", numbers, [&](double f) { erase(x, {Box{0, 0, 1, 1}}, f); });
  refuses("apply_window", numbers, [&](double f) { apply_window(x, {{0, f}}); });
  refuses("normalize", numbers, [&](double f) { normalize(x, {0, 0, f}, stats); });
  refuses("normalize", numbers, [&](double f) { normalize(x, stats, {1, 1, f}); });
  refuses("denormalize", numbers, [&](double f) { denormalize(x, {0, 0, f}, stats); });
  refuses("denormalize", numbers, [&](double f) { denormalize(x, stats, {1, 1, f}); });

  refuses("resized_crop", [&] { resized_crop(x, {{0, 0, 4, 4}}, 0); });
  refuses("resized_crop", [&] { resized_crop(x, {{0, 0, 4, 4}}, ImageSize(4, -4)); });
  refuses("rotate90", [&] { rotate90(x, {1}); }); // of images that are not square
  refuses("color_jitter", [&] { color_jitter(x, {Jitter{.order = {0, 1, 2, 7}}}); });
  refuses("solarize", {-1, kNaN}, [&](double t) { solarize(x, {t}); });
  refuses("adjust_gamma", [&] { adjust_gamma(x, {0}); });
  refuses("apply_window", [&] { apply_window(x, {{1, 1}}); });
  refuses("normalize", [&] { normalize(x, stats, {1, 1, 0}); });
  refuses("normalize", [&] { normalize(x, stats, {1, 1}); });
  refuses("gaussian_blur", [&] { gaussian_blur(x, {{3, 1e-200}}); }); // whose square is 0
  for (const int64_t kernel : {4, -3, 13}) {
    refuses("gaussian_blur", [&] { gaussian_blur(x, {{kernel, 1}}); });
  }
}

TEST(Misuse, RandomTransforms) {
  const std::vector<double> p{-0.1, 1.1, kNaN};
  constexpr auto crop = "RandomResizedCrop", erasing = "RandomErasing", jitter = "ColorJitter",
                 blur = "RandomGaussianBlur", normal = "Normalize";
  refuses("RandomHorizontalFlip", p, [](double v) { RandomHorizontalFlip{v}; });
  refuses("RandomVerticalFlip", p, [](double v) { RandomVerticalFlip{v}; });
  refuses("RandomRotate90", p, [](double v) { RandomRotate90{v}; });
  refuses("Rotate", p, [](double v) { Rotate({.p = v}); });
  refuses(erasing, p, [](double v) { RandomErasing({.p = v}); });
  refuses(jitter, p, [](double v) { ColorJitter({.p = v}); });
  refuses("RandomGrayscale", p, [](double v) { RandomGrayscale{v}; });
  refuses("RandomSolarize", p, [](double v) { RandomSolarize{v}; });
  refuses("RandomEqualize", p, [](double v) { RandomEqualize{v}; });
  refuses("RandomGamma", p, [](double v) { RandomGamma({0.7, 1.5}, v); });
  refuses(blur, p, [](double v) { RandomGaussianBlur({.p = v}); });
  refuses(blur, p, [](double v) { RandomGaussianBlur::boxlike({4, 32}, v); });
  refuses("RandomNoise", p, [](double v) { RandomNoise({.p = v}); });
  for (const auto& r : {Range(2, 1), Range(kNaN, 1), Range(0.5, kNaN), Range(-kInfinity, 1), Range(0.5, kInfinity)}) {
    refuses(crop, [&] { RandomResizedCrop(8, {.scale = r}); });
    refuses(crop, [&] { RandomResizedCrop(8, {.ratio = r}); });
    refuses(erasing, [&] { RandomErasing({.scale = r}); });
    refuses(erasing, [&] { RandomErasing({.ratio = r}); });
    refuses("RandomGamma", [&] { RandomGamma{r}; });
    refuses("RandomWindow", [&] { RandomWindow({.center = r}); });
    refuses("RandomWindow", [&] { RandomWindow({.width = r}); });
    refuses(blur, [&] { RandomGaussianBlur({.sigma = r}); });
    refuses("RandomNoise", [&] { RandomNoise({.sigma = r}); });
  }
  refuses(crop, [] { RandomResizedCrop{0}; });
  refuses(crop, [] { RandomResizedCrop(8, {.scale = {0.5, 1.5}}); });
  refuses("Rotate", {kNaN, 200}, [](double v) { Rotate({.max_deg = v}); });
  refuses(erasing, {kNaN, kInfinity}, [](double v) { RandomErasing({.value = v}); });
  refuses(jitter, {-1, kInfinity}, [](double v) { ColorJitter({.contrast = v}); });
  refuses(jitter, {0.6, kNaN}, [](double v) { ColorJitter({.hue = v}); });
  refuses("RandomSolarize", [] { RandomSolarize(0.2, kNaN); });
  refuses(normal, [] { Normalize({{}, {}}); });
  refuses(normal, [] { Normalize({{0.5, 0.5}, {0.5}}); });
  refuses(normal, {0, kNaN, kInfinity}, [](double v) { Normalize({{0.5}, {v}}); });
  refuses(normal, {kNaN, kInfinity}, [](double v) { Normalize({{v}, {0.5}}); });
  for (const int64_t kernel : {4, -3}) {
    refuses(blur, [=] { RandomGaussianBlur({.kernel = kernel}); });
  }
  refuses(blur, [] { RandomGaussianBlur::boxlike({4, 4}, 0.5); });
  refuses("make_transform", [] { make_transform("Nothing", nullptr); });
  refuses("random_permutation", [] { random_permutation(-1, 0, 0); });

  // parameters that none has drawn
  const auto x = torch::rand({1, 3, 8, 8});
  refuses(crop, [&] { RandomResizedCrop(4).apply(x, {{1}}); });
  for (const double bad : {kNaN, kInfinity, 1e30, 0.5}) {
    refuses(crop, [&] { RandomResizedCrop(4).apply(x, {{bad, 0, 4, 4}}); });
    refuses(erasing, [&] { RandomErasing(ErasingOptions{}).apply(x, {{0, 0, 4, bad}}); });
    refuses(jitter, [&] { ColorJitter(JitterOptions{}).apply(x, {{1, 1, 1, 0, bad, 1, 2, 3}}); });
    refuses("RandomRotate90", [&] { RandomRotate90().apply(x, {{bad}}); });
    refuses(blur, [&] { RandomGaussianBlur().apply(x, {{bad, 1}}); });
  }
  refuses("resized_crop", [&] { RandomResizedCrop(4).apply(x, {{}, {}}); });
  refuses("horizontal_flip", [&] { RandomHorizontalFlip().apply(x, {{1}, {1}}); });
  refuses(crop, {{"undefined", {}}, {"of two dimensions", x[0][0]}}, [](const Tensor& bad) {
    RandomResizedCrop(4).apply(bad, {{}});
  });
}

TEST(Misuse, Pipelines) {
  constexpr auto name = "Pipeline", view = "make_view";
  const auto x = torch::rand({2, 3, 8, 8}), grey = x.narrow(1, 0, 1);
  const auto two = keys({0, 1});
  const auto augs = get_batch_augs({.size = 8});
  const BadTensors others{
      {"without samples", x.narrow(0, 0, 0)}, {"of three samples", torch::rand({3, 3, 8, 8})}, {"with NaN", x / 0 * 0}};
  refuses(name, other_kinds(x) + other_shapes(x) + others, [&](const Tensor& bad) { augs(bad, two); });
  refuses(name, other_kinds(x) + other_shapes(x), [&](const Tensor& bad) { Pipeline({}).apply_and_draw(bad, two); });
  const std::vector<std::function<Tensor(const Tensor&)>> functions{
      [](const Tensor&) { return Tensor(); },
      [](const Tensor& images) { return images[0]; },
      [](const Tensor& images) { return images.narrow(0, 0, 1); },
      [](const Tensor& images) { return images.narrow(3, 0, 0); },
      [](const Tensor& images) { return images.to(torch::kLong); },
      [](const Tensor& images) { return images.to(torch::kMeta); }};
  for (const auto& function : functions) {
    const auto bad = make_transform("Bad", function);
    refuses(name, [&] { Pipeline({bad})(x, two); });
    refuses(name, [&] { Pipeline({bad, std::make_shared<RandomHorizontalFlip>()})(x, two); });
  }
  const Pipeline crop({std::make_shared<RandomResizedCrop>(4)});
  const Pipeline normal({std::make_shared<Normalize>(kImagenetStats)});
  refuses(name, [] { Pipeline({nullptr}); });
  refuses("Pipeline::compose", [] { Pipeline::compose({}); });
  refuses(name, [&] { augs(x, two, /*skip=*/99); });
  refuses(name, [&] { crop.replay(x, {}); });
  refuses(name, [&] { crop.replay(x, {{{0, 0, 4, 4}}}); });
  refuses("RandomResizedCrop", [&] { crop.replay(x, {{{1}, {1}}}); });
  refuses("resized_crop", [&] { crop.replay(x, {{{0, 0, 4, 9}, {}}}); });
  refuses("normalize", [&] { normal(grey, two); });
  refuses("denormalize", [&] { normal.decode(grey); });
  refuses("denormalize", [&] { normal.decode({}); });

  const auto batch = [](const Tensor& images, std::vector<int64_t> index) {
    return Batch{.x = images, .y = {}, .index = std::move(index)};
  };
  auto cropped = batch({}, {0, 1});
  cropped.views = {x, x};
  refuses(view, [&] { make_view(augs, {}, 0); });
  refuses(view, [&] { make_view(augs, batch(torch::rand({}), {}), 0); });
  refuses(view, [&] { make_view(augs, cropped, 2); });
  refuses(name, [&] { make_view(augs, batch({}, {0, 1}), 0); });
  refuses(name, [&] { make_view(augs, batch(x, {0}), 0); });
  refuses("BarlowTwins::view", [&] { BarlowTwins({augs, augs}).view(2, batch(x, {0, 1})); });
}

TEST(Misuse, Presets) {
  constexpr auto batch = "get_batch_augs", crop = "RandomResizedCrop", multi = "get_multi_crop_aug_pipelines";
  refuses(batch, [] { get_batch_augs({}); });
  refuses(batch, [] { get_batch_augs({.size = 4}); }); // less than the blur
  refuses(batch, [] { get_batch_augs({.size = 32, .stats = Stats{{0.5}, {0.5}}}); }); // one channel has no jitter
  refuses("ColorJitter", [] { get_batch_augs({.size = 32, .jitter_s = kNaN}); });
  refuses("Rotate", [] { get_batch_augs({.size = 32, .rotate_deg = kNaN}); });
  refuses("RandomGaussianBlur", [] { get_batch_augs({.size = 32, .blur_s = {32, 4}}); });
  refuses("RandomHorizontalFlip", [] { get_batch_augs({.size = 32, .flip_p = 2}); });
  refuses("Pipeline", [] { get_batch_augs({.size = 32, .xtra_tfms = {nullptr}}); });
  refuses("get_multi_aug_pipelines", [] { get_multi_aug_pipelines(0, {.size = 32}); });
  refuses(batch, [] { get_barlow_twins_aug_pipelines({}); });
  refuses(batch, [] { get_simclr_aug_pipelines({}); });
  refuses(crop, [] { get_barlow_twins_paper_aug_pipelines({.size = -1}); });
  refuses(crop, [] { get_barlow_twins_paper_aug_pipelines({.resize_scale = Range(0, 1)}); });
  refuses("Normalize", [] { get_barlow_twins_paper_aug_pipelines({.stats = Stats{{0.5}, {0}}}); });
  refuses("ColorJitter", {-1, kNaN}, [](double strength) { get_simclr_paper_aug_pipelines({}, strength); });
  refuses(crop, [] { get_cifar_aug_pipelines({.size = -1}); });
  refuses(crop, [] { get_lightly_cifar_aug_pipelines({.size = -1}); });
  refuses(crop, [] { get_gray_aug_pipelines({.size = -1}); });
  refuses(multi, [] { get_multi_crop_aug_pipelines({}, {.small_crops = 0}); });
  refuses(multi, {0.01, kNaN}, [](double split) { get_multi_crop_aug_pipelines({}, {.split = split}); });
  refuses(crop, [] { get_multi_crop_aug_pipelines({}, {.small_size = 0}); });
}

TEST(LooksLikeMisuse, Views) {
  const auto x = torch::rand({2, 3, 8, 8});
  EXPECT_THAT(Pipeline({})(x.to(torch::kByte), keys({0, 1})).sizes(), ElementsAre(2, 3, 8, 8));
  const auto of_none = make_view(get_batch_augs({.size = 8}), {.x = x.narrow(0, 0, 0), .y = {}, .index = {}}, 0);
  EXPECT_THAT(of_none.sizes(), ElementsAre(0, 3, 8, 8));
  EXPECT_TRUE(solarize(x, {2, kInfinity}).equal(x)); // which no pixel reaches
  EXPECT_TRUE(gaussian_blur(x, {{0, kNaN}, {0, -1}}).equal(x)); // none
  EXPECT_THAT(apply_window(x.to(torch::kShort), {{0, 1}, {0, 1}}).sizes(), ElementsAre(2, 3, 8, 8));
}

} // namespace
} // namespace barlow
