// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/transforms.h>

#include <torch/torch.h>

#include "../check.h"

namespace barlow {
namespace {

using torch::Tensor;

void check_images(const Tensor& x, const char* name) {
  check(x.defined() && x.dim() == 4, name, "images must be [N,C,H,W], received {}", describe(x));
  check(
      x.is_floating_point(), name, "images must be floating, received {}; use x.to(torch::kFloat) / 255", describe(x));
  check(x.numel() > 0, name, "the batch must not be empty, received {}", describe(x));
}

void check_count(const Tensor& x, size_t count, const char* name, const char* what) {
  check(
      count == static_cast<size_t>(x.size(0)),
      name,
      "there must be one {} a sample, received {} for {}",
      what,
      count,
      describe(x));
}

Tensor per_channel(const Tensor& x, const std::vector<double>& values, const char* name, const char* what) {
  check(
      values.size() == static_cast<size_t>(x.size(1)),
      name,
      "{} has {} entries for images of {} channels; give one a channel",
      what,
      values.size(),
      x.size(1));
  return torch::tensor(values, x.options()).view({1, -1, 1, 1});
}

} // namespace

Tensor resized_crop(const Tensor& x, const std::vector<Box>& boxes, int64_t size) {
  constexpr auto here = "resized_crop";
  check_images(x, here);
  check_count(x, boxes.size(), here, "box");
  check(size >= 1, here, "size must be at least 1, received {}", size);
  std::vector<Tensor> crops;
  crops.reserve(boxes.size());
  for (int64_t n = 0; n < x.size(0); ++n) {
    const auto& box = boxes[static_cast<size_t>(n)];
    check(
        box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 && box.top + box.height <= x.size(2) &&
            box.left + box.width <= x.size(3),
        here,
        "box {} (top {}, left {}, height {}, width {}) does not lie in an image of {}x{} pixels",
        n,
        box.top,
        box.left,
        box.height,
        box.width,
        x.size(2),
        x.size(3));
    const auto crop = x.narrow(0, n, 1).narrow(2, box.top, box.height).narrow(3, box.left, box.width);
    const bool fits = box.height == size && box.width == size;
    crops.push_back(
        fits ? crop : at::_upsample_bilinear2d_aa(crop.contiguous(), {size, size}, /*align_corners=*/false));
  }
  return at::cat(crops);
}

Tensor horizontal_flip(const Tensor& x, const std::vector<bool>& flip) {
  constexpr auto here = "horizontal_flip";
  check_images(x, here);
  check_count(x, flip.size(), here, "flag");
  auto mask = torch::empty({x.size(0), 1, 1, 1}, torch::kBool);
  for (size_t n = 0; n < flip.size(); ++n) {
    mask.data_ptr<bool>()[n] = flip[n];
  }
  return at::where(mask.to(x.device()), x.flip(3), x);
}

Tensor normalize(const Tensor& x, const std::vector<double>& mean, const std::vector<double>& std) {
  constexpr auto here = "normalize";
  check_images(x, here);
  return (x - per_channel(x, mean, here, "mean")) / per_channel(x, std, here, "std");
}

Tensor denormalize(const Tensor& x, const std::vector<double>& mean, const std::vector<double>& std) {
  constexpr auto here = "denormalize";
  check_images(x, here);
  return x * per_channel(x, std, here, "std") + per_channel(x, mean, here, "mean");
}

} // namespace barlow
