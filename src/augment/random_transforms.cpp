// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/random_transforms.h>

#include <cmath>

#include <barlow/augment/transforms.h>

#include "../check.h"

namespace barlow {

using at::Tensor;
using Rows = std::vector<std::vector<double>>;

RandomResizedCrop::RandomResizedCrop(int64_t size, const CropOptions& options) : size_(size), options_(options) {
  constexpr auto here = "RandomResizedCrop";
  check(size >= 1, here, "size must be at least 1, received {}", size);
  const auto [low, high] = options.scale;
  check(0 < low && low <= high && high <= 1, here, "scale must be 0 < low <= high <= 1, received ({}, {})", low, high);
  const auto [narrow, wide] = options.ratio;
  check(
      0 < narrow && narrow <= wide && std::isfinite(wide),
      here,
      "ratio must be 0 < low <= high, received ({}, {})",
      narrow,
      wide);
}

std::string RandomResizedCrop::name() const {
  return "RandomResizedCrop";
}

std::vector<double> RandomResizedCrop::draw(KeyedRandom& random, int64_t height, int64_t width) const {
  const auto box = [](int64_t top, int64_t left, int64_t h, int64_t w) {
    return std::vector<double>{
        static_cast<double>(top), static_cast<double>(left), static_cast<double>(h), static_cast<double>(w)};
  };
  const auto h0 = static_cast<double>(height), w0 = static_cast<double>(width);
  const auto [narrow, wide] = options_.ratio;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = h0 * w0 * random.uniform(options_.scale.first, options_.scale.second);
    const double aspect = std::exp(random.uniform(std::log(narrow), std::log(wide)));
    const auto w = std::lrint(std::sqrt(area * aspect)), h = std::lrint(std::sqrt(area / aspect)); // half to even
    if (0 < w && w <= width && 0 < h && h <= height) {
      const int64_t top = random.below(height - h + 1);
      return box(top, random.below(width - w + 1), h, w);
    }
  }
  int64_t h = height, w = width;
  if (w0 / h0 < narrow) {
    h = std::lrint(w0 / narrow);
  } else if (w0 / h0 > wide) {
    w = std::lrint(h0 * wide);
  }
  return box((height - h) / 2, (width - w) / 2, h, w);
}

Tensor RandomResizedCrop::apply(const Tensor& x, const Rows& drawn) const {
  std::vector<Box> boxes;
  for (const auto& row : drawn) {
    check(row.size() == 4, "RandomResizedCrop", "a sample has 4 parameters, received {}", row.size());
    boxes.push_back(
        {static_cast<int64_t>(row[0]),
         static_cast<int64_t>(row[1]),
         static_cast<int64_t>(row[2]),
         static_cast<int64_t>(row[3])});
  }
  return resized_crop(x, boxes, size_);
}

RandomHorizontalFlip::RandomHorizontalFlip(double p) : p_(p) {
  check(p >= 0 && p <= 1, "RandomHorizontalFlip", "p must be in [0, 1], received {}", p);
}

std::string RandomHorizontalFlip::name() const {
  return "RandomHorizontalFlip";
}

std::vector<double> RandomHorizontalFlip::draw(KeyedRandom& random, int64_t, int64_t) const {
  return {random.bernoulli(p_) ? 1. : 0.};
}

Tensor RandomHorizontalFlip::apply(const Tensor& x, const Rows& drawn) const {
  std::vector<bool> flip;
  for (const auto& row : drawn) {
    check(row.size() == 1, "RandomHorizontalFlip", "a sample has 1 parameter, received {}", row.size());
    flip.push_back(row[0] != 0);
  }
  return horizontal_flip(x, flip);
}

Normalize::Normalize(Stats stats) : stats_(std::move(stats)) {
  check(
      !stats_.mean.empty() && stats_.mean.size() == stats_.std.size(),
      "Normalize",
      "mean and std must have one entry a channel, received {} and {}",
      stats_.mean.size(),
      stats_.std.size());
  for (const auto s : stats_.std) {
    check(s > 0, "Normalize", "std must be positive, received {}", s);
  }
}

std::string Normalize::name() const {
  return "Normalize";
}

int Normalize::order() const {
  return 99;
}

Tensor Normalize::apply(const Tensor& x, const Rows&) const {
  return normalize(x, stats_.mean, stats_.std);
}

Tensor Normalize::decode(const Tensor& x) const {
  return denormalize(x, stats_.mean, stats_.std);
}

} // namespace barlow
