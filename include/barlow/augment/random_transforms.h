// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <barlow/augment/pipeline.h>

namespace barlow {

struct CropOptions {
  std::pair<double, double> scale{0.08, 1.0}; ///< share of the image's area, uniform
  std::pair<double, double> ratio{3. / 4, 4. / 3}; ///< width / height, log-uniform
};

/// A box of random area and aspect a sample, resized to [size, size] by resized_crop. Boxes that do not fit are drawn
/// again, ten times at most, then the largest centred box of an allowed aspect is taken.
/// Draws top, left, height, width. Throws Error for size < 1, ranges out of order or not positive.
/// Source: torchvision 0.26 RandomResizedCrop (which draws one box a batch).
class RandomResizedCrop : public Transform {
 public:
  explicit RandomResizedCrop(int64_t size, const CropOptions& options = {});
  std::string name() const override;
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  int64_t size_;
  CropOptions options_;
};

/// Mirrors a sample with probability p. Draws 0 or 1. Throws Error for p outside [0, 1].
class RandomHorizontalFlip : public Transform {
 public:
  explicit RandomHorizontalFlip(double p = 0.5);
  std::string name() const override;
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  double p_;
};

/// Mean and standard deviation of each channel, of pixels in 0..1.
struct Stats {
  std::vector<double> mean, std;
};
inline const Stats kImagenetStats{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};

/// (x - mean) / std a channel; last in every pipeline (order 99). Throws Error for lengths that differ or std <= 0.
class Normalize : public Transform {
 public:
  explicit Normalize(Stats stats);
  std::string name() const override;
  int order() const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;
  at::Tensor decode(const at::Tensor& x) const override;

 private:
  Stats stats_;
};

} // namespace barlow
