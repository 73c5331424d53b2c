// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <barlow/augment/pipeline.h>
#include <barlow/augment/random_transforms.h>

namespace barlow {

// --- the documented library's pipelines

/// The documented library's arguments and defaults. Probabilities and ranges are drawn for each sample.
struct AugOptions {
  int64_t size = 0; ///< pixels a side of a view; must be given
  bool rotate = true, jitter = true, bw = true, blur = true; ///< which of the steps take part
  Range resize_scale{0.2, 1.0}; ///< crop: share of the area
  Range resize_ratio{3. / 4, 4. / 3}; ///< crop: width / height
  double rotate_deg = 30; ///< largest angle, degrees
  double jitter_s = 0.6; ///< strength: brightness, contrast, saturation 0.8 s, hue 0.2 s
  std::pair<int64_t, int64_t> blur_s{4, 32}; ///< sigma in pixels, uniform integer, upper bound excluded
  bool same_on_batch = false; ///< one draw for the whole batch in jitter, bw and rotate
  double flip_p = 0.5, rotate_p = 0.3, jitter_p = 0.3, bw_p = 0.3, blur_p = 0.3; ///< probabilities
  std::optional<Stats> stats = kImagenetStats; ///< nullopt: no normalisation
  std::vector<TransformPtr> xtra_tfms{}; ///< yours; they go where their order says
  bool crop_same_on_batch = false; ///< one crop box for the whole batch, as the documented library draws it
};

/// One pipeline: crop, flip, jitter, grey, yours, blur, rotation, normalisation. Jitter needs three channels, stats one
/// entry a channel. Throws Error for options out of range, and for a blur too large for `size`.
/// Source: self_supervised 1.0.4 get_batch_augs.
Pipeline get_batch_augs(const AugOptions& options);

/// n of the same; each draws for itself.
std::vector<Pipeline> get_multi_aug_pipelines(int64_t n, const AugOptions& options);

/// Two of the same: the two views of Barlow Twins.
std::vector<Pipeline> get_barlow_twins_aug_pipelines(const AugOptions& options);

/// Two of the same, as the documented library has them for SimCLR; SimCLR's own are get_simclr_paper_aug_pipelines.
std::vector<Pipeline> get_simclr_aug_pipelines(const AugOptions& options);

// --- recipes

/// What of a recipe can be chosen.
struct RecipeOptions {
  int64_t size = 0; ///< pixels a side of a view; 0: the recipe's own, 224 unless said otherwise
  std::optional<Range> resize_scale{}; ///< crop, share of the area; nullopt: the recipe's own, 0.08..1
  std::optional<Stats> stats{}; ///< nullopt: the recipe's own, ImageNet's
  bool normalize = true; ///< with those stats
};

/// The two views of the Barlow Twins paper, which differ in blur (p 1 and 0.1) and solarisation (p 0 and 0.2): crop
/// (bicubic), flip, jitter (.4, .4, .2, .1) p 0.8, grey p 0.2, blur sigma 0.1..2.
/// Source: Zbontar et al., 2021, appendix A; facebookresearch/barlowtwins (on 8-bit images with Pillow's blur).
std::vector<Pipeline> get_barlow_twins_paper_aug_pipelines(const RecipeOptions& options = {});

/// SimCLR's two views: crop, flip, jitter (.8, .8, .8, .2) times `strength` p 0.8, grey p 0.2, blur p 0.5 with a kernel
/// of a tenth of the side. Source: Chen et al., 2020, appendix A.
std::vector<Pipeline> get_simclr_paper_aug_pipelines(const RecipeOptions& options = {}, double strength = 1);

inline const Stats kCifar10Stats{{0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616}};

/// solo-learn's pair for Barlow Twins on CIFAR: crop (bicubic), jitter (.4, .4, .2, .1) p 0.8, grey p 0.2, solarisation
/// p 0 and 0.2, flip; no blur. Its own size is 32, its own stats kCifar10Stats.
std::vector<Pipeline> get_cifar_aug_pipelines(const RecipeOptions& options = {});

/// lightly's pair for CIFAR, two of the same: crop, flip, jitter (.4, .4, .4, .1) p 0.8, grey p 0.2. Its own size is
/// 32, its own stats ImageNet's.
std::vector<Pipeline> get_lightly_cifar_aug_pipelines(const RecipeOptions& options = {});

/// Two views for images whose colour means nothing, such as X-rays and other medical images, any number of channels:
/// crop 0.3..1, both flips, gamma 0.7..1.5 p 0.5, brightness and contrast 0.2 p 0.5, blur sigma 0.1..1.5 p 0.3, rigid
/// rotation up to 15 degrees p 0.5, noise up to 0.05 p 0.3. Normalised only if stats are given.
std::vector<Pipeline> get_gray_aug_pipelines(const RecipeOptions& options = {});

struct MultiCropOptions {
  int64_t small_crops = 6; ///< views of the small size
  int64_t small_size = 96; ///< pixels a side
  double split = 0.3; ///< large crops take more than this share of the area, small ones less
};

/// The two views of get_barlow_twins_paper_aug_pipelines with large crops, and small ones
/// with the same colours and blur p 0.5:
/// for BarlowTwinsOptions::small_views. Source: Caron et al., 2020 (SwAV).
struct MultiCrop {
  std::vector<Pipeline> large, small;
};
MultiCrop get_multi_crop_aug_pipelines(const RecipeOptions& options = {}, const MultiCropOptions& crops = {});

} // namespace barlow
