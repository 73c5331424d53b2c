// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <barlow/augment/pipeline.h>
#include <barlow/augment/random_transforms.h>

namespace barlow {

/// The documented library's arguments and defaults. Probabilities and ranges are drawn for each sample.
struct AugOptions {
  int64_t size = 0; ///< pixels a side of a view; must be given
  bool rotate = true, jitter = true, bw = true, blur = true; ///< which of the steps take part
  std::pair<double, double> resize_scale{0.2, 1.0}; ///< crop: share of the area
  std::pair<double, double> resize_ratio{3. / 4, 4. / 3}; ///< crop: width / height
  double rotate_deg = 30; ///< largest angle, degrees
  double jitter_s = 0.6; ///< strength: brightness, contrast, saturation 0.8 s, hue 0.2 s
  std::pair<int64_t, int64_t> blur_s{4, 32}; ///< sigma in pixels, uniform integer, upper bound excluded
  bool same_on_batch = false; ///< one draw for the whole batch in jitter, bw and rotate
  double flip_p = 0.5, rotate_p = 0.3, jitter_p = 0.3, bw_p = 0.3, blur_p = 0.3; ///< probabilities
  std::optional<Stats> stats = kImagenetStats; ///< nullopt: no normalisation
  std::vector<TransformPtr> xtra_tfms{}; ///< yours; they go where their order says
};

/// One pipeline: crop, flip, jitter, grey, yours, blur, rotation, normalisation.
/// Rotation, jitter, grey and blur do not exist yet: asking for one throws Error.
Pipeline get_batch_augs(const AugOptions& options);

/// n of the same; each draws for itself.
std::vector<Pipeline> get_multi_aug_pipelines(int64_t n, const AugOptions& options);

/// Two of the same: the two views of Barlow Twins.
std::vector<Pipeline> get_barlow_twins_aug_pipelines(const AugOptions& options);

} // namespace barlow
