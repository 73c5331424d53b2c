// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/presets.h>

#include "../check.h"

namespace barlow {

Pipeline get_batch_augs(const AugOptions& o) {
  constexpr auto here = "get_batch_augs";
  check(o.size >= 1, here, "size must be given, in pixels a side of a view, received {}", o.size);
  const auto not_yet = [&](bool asked, const char* option, const char* step) {
    check(!asked, here, "{} is not in this version; set .{} = false", step, option);
  };
  not_yet(o.rotate, "rotate", "rotation");
  not_yet(o.jitter, "jitter", "colour jitter");
  not_yet(o.bw, "bw", "random greyscale");
  not_yet(o.blur, "blur", "Gaussian blur");

  std::vector<TransformPtr> transforms{
      std::make_shared<RandomResizedCrop>(o.size, CropOptions{.scale = o.resize_scale, .ratio = o.resize_ratio}),
      std::make_shared<RandomHorizontalFlip>(o.flip_p)};
  if (o.stats) {
    transforms.push_back(std::make_shared<Normalize>(*o.stats));
  }
  transforms.insert(transforms.end(), o.xtra_tfms.begin(), o.xtra_tfms.end());
  return Pipeline(std::move(transforms));
}

std::vector<Pipeline> get_multi_aug_pipelines(int64_t n, const AugOptions& options) {
  check(n >= 1, "get_multi_aug_pipelines", "n must be at least 1, received {}", n);
  return std::vector<Pipeline>(static_cast<size_t>(n), get_batch_augs(options));
}

std::vector<Pipeline> get_barlow_twins_aug_pipelines(const AugOptions& options) {
  return get_multi_aug_pipelines(2, options);
}

} // namespace barlow
