// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/presets.h>

#include "../check.h"

namespace barlow {
namespace {

using Transforms = std::vector<TransformPtr>;

template <class T, class... Args>
void add(Transforms& transforms, Args&&... args) {
  transforms.push_back(std::make_shared<T>(std::forward<Args>(args)...));
}

std::vector<Pipeline> copies(int64_t n, const Pipeline& pipeline) {
  return std::vector<Pipeline>(static_cast<size_t>(n), pipeline);
}

} // namespace

Pipeline get_batch_augs(const AugOptions& o) {
  constexpr auto here = "get_batch_augs";
  check(o.size >= 1, here, "size must be given, in pixels a side of a view, received {}", o.size);
  Transforms transforms;
  add<RandomResizedCrop>(
      transforms,
      o.size,
      CropOptions{
          .scale = o.resize_scale, .ratio = o.resize_ratio, .resize = {}, .same_on_batch = o.crop_same_on_batch});
  add<RandomHorizontalFlip>(transforms, o.flip_p);
  if (o.rotate) {
    add<Rotate>(transforms, RotateOptions{.max_deg = o.rotate_deg, .p = o.rotate_p, .same_on_batch = o.same_on_batch});
  }
  if (o.jitter) {
    check(
        !o.stats || o.stats->mean.size() == 3,
        here,
        "jitter needs 3 channels; set .jitter = false for {}",
        o.stats ? o.stats->mean.size() : 0);
    const double strength = 0.8 * o.jitter_s;
    add<ColorJitter>(
        transforms,
        JitterOptions{
            .brightness = strength,
            .contrast = strength,
            .saturation = strength,
            .hue = 0.2 * o.jitter_s,
            .p = o.jitter_p,
            .same_on_batch = o.same_on_batch});
  }
  if (o.bw) {
    add<RandomGrayscale>(transforms, o.bw_p, o.same_on_batch);
  }
  if (o.blur) {
    const int64_t radius = (o.blur_s.second - 1) / 4;
    check(
        o.size > radius,
        here,
        "blur_s ({}, {}) blurs over {} pixels, more than views of size {} have; lower blur_s or set .blur = false",
        o.blur_s.first,
        o.blur_s.second,
        radius,
        o.size);
    add<RandomGaussianBlur>(transforms, RandomGaussianBlur::boxlike(o.blur_s, o.blur_p));
  }
  if (o.stats) {
    add<Normalize>(transforms, *o.stats);
  }
  transforms.insert(transforms.end(), o.xtra_tfms.begin(), o.xtra_tfms.end());
  return Pipeline(std::move(transforms));
}

std::vector<Pipeline> get_multi_aug_pipelines(int64_t n, const AugOptions& options) {
  check(n >= 1, "get_multi_aug_pipelines", "n must be at least 1, received {}", n);
  return copies(n, get_batch_augs(options));
}

std::vector<Pipeline> get_barlow_twins_aug_pipelines(const AugOptions& options) {
  return get_multi_aug_pipelines(2, options);
}

std::vector<Pipeline> get_simclr_aug_pipelines(const AugOptions& options) {
  return get_multi_aug_pipelines(2, options);
}

namespace {

constexpr ResizeOptions kBicubic{.interpolation = Interpolation::Bicubic};

JitterOptions paper_jitter() {
  return {.brightness = 0.4, .contrast = 0.4, .saturation = 0.2, .hue = 0.1, .p = 0.8, .rule = ColorRule::Torchvision};
}

// What the two views of the paper differ in.
struct PaperView {
  double blur_p, solarize_p;
};
constexpr PaperView kPaperViews[2] = {{1.0, 0.0}, {0.1, 0.2}};

constexpr Range kPaperScale{0.08, 1.0};

Pipeline finish(Transforms transforms, const RecipeOptions& o, const std::optional<Stats>& own) {
  const auto& stats = o.stats ? o.stats : own;
  if (o.normalize && stats) {
    add<Normalize>(transforms, *stats);
  }
  return Pipeline(std::move(transforms));
}

int64_t size_or(const RecipeOptions& o, int64_t own) {
  return o.size == 0 ? own : o.size;
}

Pipeline paper_view(const RecipeOptions& o, int64_t size, const Range& scale, const PaperView& view) {
  Transforms transforms;
  add<RandomResizedCrop>(transforms, size, CropOptions{.scale = scale, .resize = kBicubic});
  add<RandomHorizontalFlip>(transforms, 0.5);
  add<ColorJitter>(transforms, paper_jitter());
  add<RandomGrayscale>(transforms, 0.2, false, ColorRule::Torchvision);
  add<RandomGaussianBlur>(transforms, BlurOptions{.p = view.blur_p, .sigma = {0.1, 2.0}});
  add<RandomSolarize>(transforms, view.solarize_p);
  return finish(std::move(transforms), o, kImagenetStats);
}

} // namespace

std::vector<Pipeline> get_barlow_twins_paper_aug_pipelines(const RecipeOptions& o) {
  std::vector<Pipeline> views;
  for (const auto& view : kPaperViews) {
    views.push_back(paper_view(o, size_or(o, 224), o.resize_scale.value_or(kPaperScale), view));
  }
  return views;
}

std::vector<Pipeline> get_simclr_paper_aug_pipelines(const RecipeOptions& o, double strength) {
  const int64_t size = size_or(o, 224);
  Transforms transforms;
  add<RandomResizedCrop>(transforms, size, CropOptions{.scale = o.resize_scale.value_or(kPaperScale)});
  add<RandomHorizontalFlip>(transforms, 0.5);
  add<ColorJitter>(
      transforms,
      JitterOptions{
          .brightness = 0.8 * strength,
          .contrast = 0.8 * strength,
          .saturation = 0.8 * strength,
          .hue = 0.2 * strength,
          .p = 0.8,
          .rule = ColorRule::Torchvision});
  add<RandomGrayscale>(transforms, 0.2, false, ColorRule::Torchvision);
  add<RandomGaussianBlur>(transforms, BlurOptions{.p = 0.5, .sigma = {0.1, 2.0}, .kernel = size / 20 * 2 + 1});
  return copies(2, finish(std::move(transforms), o, kImagenetStats));
}

std::vector<Pipeline> get_cifar_aug_pipelines(const RecipeOptions& o) {
  std::vector<Pipeline> views;
  for (const double solarize_p : {0.0, 0.2}) {
    Transforms transforms;
    add<RandomResizedCrop>(
        transforms, size_or(o, 32), CropOptions{.scale = o.resize_scale.value_or(kPaperScale), .resize = kBicubic});
    add<ColorJitter>(transforms, paper_jitter());
    add<RandomGrayscale>(transforms, 0.2, false, ColorRule::Torchvision);
    add<RandomSolarize>(transforms, solarize_p, 0.5, /*order=*/0);
    add<RandomHorizontalFlip>(transforms, 0.5);
    views.push_back(finish(std::move(transforms), o, kCifar10Stats));
  }
  return views;
}

std::vector<Pipeline> get_lightly_cifar_aug_pipelines(const RecipeOptions& o) {
  Transforms transforms;
  add<RandomResizedCrop>(transforms, size_or(o, 32), CropOptions{.scale = o.resize_scale.value_or(kPaperScale)});
  add<RandomHorizontalFlip>(transforms, 0.5);
  auto jitter = paper_jitter();
  jitter.saturation = 0.4;
  add<ColorJitter>(transforms, jitter);
  add<RandomGrayscale>(transforms, 0.2, false, ColorRule::Torchvision);
  return copies(2, finish(std::move(transforms), o, kImagenetStats));
}

std::vector<Pipeline> get_gray_aug_pipelines(const RecipeOptions& o) {
  Transforms transforms;
  add<RandomResizedCrop>(transforms, size_or(o, 224), CropOptions{.scale = o.resize_scale.value_or(Range{0.3, 1.0})});
  add<RandomHorizontalFlip>(transforms, 0.5);
  add<RandomVerticalFlip>(transforms, 0.5);
  add<RandomGamma>(transforms, Range{0.7, 1.5}, 0.5);
  add<ColorJitter>(transforms, JitterOptions{.brightness = 0.2, .contrast = 0.2, .p = 0.5});
  add<RandomGaussianBlur>(transforms, BlurOptions{.p = 0.3, .sigma = {0.1, 1.5}});
  add<Rotate>(transforms, RotateOptions{.max_deg = 15, .p = 0.5, .rule = RotationRule::Rigid});
  add<RandomNoise>(transforms, NoiseOptions{.sigma = {0, 0.05}, .p = 0.3});
  return copies(2, finish(std::move(transforms), o, std::nullopt));
}

MultiCrop get_multi_crop_aug_pipelines(const RecipeOptions& o, const MultiCropOptions& crops) {
  constexpr auto here = "get_multi_crop_aug_pipelines";
  check(crops.small_crops >= 1, here, "small_crops must be at least 1, received {}", crops.small_crops);
  const auto [low, high] = o.resize_scale.value_or(kPaperScale);
  check(
      low < crops.split && crops.split < high,
      here,
      "split must lie within resize_scale ({}, {}), received {}",
      low,
      high,
      crops.split);
  MultiCrop views;
  for (const auto& view : kPaperViews) {
    views.large.push_back(paper_view(o, size_or(o, 224), {crops.split, high}, view));
  }
  views.small = copies(crops.small_crops, paper_view(o, crops.small_size, {low, crops.split}, {0.5, 0.0}));
  return views;
}

} // namespace barlow
