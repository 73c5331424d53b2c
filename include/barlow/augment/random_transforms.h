// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include <barlow/augment/pipeline.h>
#include <barlow/augment/transforms.h>

namespace barlow {

// The random transforms of pipelines. Each draws its parameters a sample and applies the function of transforms.h that
// its comment names. Those with a probability p draw nothing for a sample that they leave alone (RandomFlag's: 0). All
// throw Error for options out of range: probabilities outside [0, 1], ranges out of order.

using Range = std::pair<double, double>;

/// What most of them share: a name, a place in the pipeline, one draw a batch or one a sample.
class RandomTransform : public Transform {
 public:
  std::string name() const override {
    return name_;
  }
  int order() const override {
    return order_;
  }
  bool same_on_batch() const override {
    return same_on_batch_;
  }
  bool fusable() const override {
    return true;
  }

 protected:
  explicit RandomTransform(std::string name, int order = 0, bool same_on_batch = false)
      : name_(std::move(name)), order_(order), same_on_batch_(same_on_batch) {}

 private:
  std::string name_;
  int order_;
  bool same_on_batch_;
};

/// One that a sample gets with probability p. Draws 0 or 1.
class RandomFlag : public RandomTransform {
 public:
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;

 protected:
  RandomFlag(std::string name, double p, int order = 0, bool same_on_batch = false);
  std::vector<bool> flags(const std::vector<std::vector<double>>& drawn) const;

 private:
  double p_;
};

// --- geometry

struct CropOptions {
  Range scale{0.08, 1.0}; ///< share of the image's area, uniform
  Range ratio{3. / 4, 4. / 3}; ///< width / height, log-uniform
  ResizeOptions resize{};
  bool same_on_batch = false; ///< one box a batch, as torchvision draws it
};

/// resized_crop of a random box. Boxes that do not fit are drawn again, ten times at most, then the largest centred box
/// of an allowed aspect is taken. Draws top, left, height, width. Source: torchvision 0.26 RandomResizedCrop.
class RandomResizedCrop : public RandomTransform {
 public:
  explicit RandomResizedCrop(int64_t size, const CropOptions& options = {});
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

  int64_t size() const {
    return size_;
  }
  const ResizeOptions& resize_options() const {
    return options_.resize;
  }

 private:
  int64_t size_;
  CropOptions options_;
};

/// horizontal_flip with probability p.
class RandomHorizontalFlip : public RandomFlag {
 public:
  explicit RandomHorizontalFlip(double p = 0.5);
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;
};

/// vertical_flip with probability p.
class RandomVerticalFlip : public RandomFlag {
 public:
  explicit RandomVerticalFlip(double p = 0.5);
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;
};

/// rotate90 by 1, 2 or 3 turns alike with probability p; square images. Draws the turns.
class RandomRotate90 : public RandomTransform {
 public:
  explicit RandomRotate90(double p = 0.75);
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  double p_;
};

struct RotateOptions {
  double max_deg = 30; ///< the angle is uniform in [-max_deg, max_deg]
  double p = 0.5;
  RotationRule rule = RotationRule::Fastai;
  bool same_on_batch = false;
};

/// rotate by a random angle; order 30. Draws the angle.
class Rotate : public RandomTransform {
 public:
  explicit Rotate(const RotateOptions& options = {});
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  RotateOptions options_;
};

struct ErasingOptions {
  double p = 0.5;
  Range scale{0.02, 0.33}; ///< share of the image's area, uniform
  Range ratio{0.3, 3.3}; ///< width / height, log-uniform
  double value = 0; ///< of the erased pixels; after a normalisation 0 is the mean
};

/// erase of a random box, nothing if ten boxes do not fit; order 100, after the normalisation.
/// Draws top, left, height, width. Source: torchvision 0.26 RandomErasing.
class RandomErasing : public RandomTransform {
 public:
  explicit RandomErasing(const ErasingOptions& options = {});
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  ErasingOptions options_;
};

// --- colour

struct JitterOptions {
  double brightness = 0, contrast = 0, saturation = 0; ///< factors uniform in [max(1 - v, 0), 1 + v]
  double hue = 0; ///< uniform in [-hue, hue] turns, at most 0.5
  double p = 1;
  bool same_on_batch = false;
  ColorRule rule = ColorRule::Kornia;
};

/// color_jitter in random order. Draws brightness, contrast, saturation, hue and the four steps of the order.
class ColorJitter : public RandomTransform {
 public:
  explicit ColorJitter(const JitterOptions& options);
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  JitterOptions options_;
};

/// grayscale with probability p.
class RandomGrayscale : public RandomFlag {
 public:
  explicit RandomGrayscale(double p = 0.1, bool same_on_batch = false, ColorRule rule = ColorRule::Kornia);
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  ColorRule rule_;
};

/// solarize with probability p; by default after the blur (order 12), as the paper does.
class RandomSolarize : public RandomFlag {
 public:
  explicit RandomSolarize(double p = 0.2, double threshold = 0.5, int order = 12);
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  double threshold_;
};

/// equalize with probability p.
class RandomEqualize : public RandomFlag {
 public:
  explicit RandomEqualize(double p = 0.1);
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;
};

/// adjust_gamma with a log-uniform exponent and probability p. Draws the exponent.
class RandomGamma : public RandomTransform {
 public:
  explicit RandomGamma(Range gamma = {0.7, 1.5}, double p = 0.5);
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  Range gamma_;
  double p_;
};

struct WindowOptions {
  Range center{0.5, 0.5}; ///< in units of the pixels, uniform
  Range width{1, 1}; ///< uniform, positive
};

/// apply_window with a random window, always; for images of 16 bits. Draws low and high.
class RandomWindow : public RandomTransform {
 public:
  explicit RandomWindow(const WindowOptions& options);
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  WindowOptions options_;
};

/// Mean and standard deviation of each channel, of pixels in 0..1.
struct Stats {
  std::vector<double> mean, std;
};
inline const Stats kImagenetStats{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};

/// normalize; order 99. Throws Error for lengths that differ or std <= 0.
class Normalize : public RandomTransform {
 public:
  explicit Normalize(Stats stats);
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;
  at::Tensor decode(const at::Tensor& x) const override;

 private:
  Stats stats_;
};

// --- filters and noise

struct BlurOptions {
  double p = 0.5;
  Range sigma{0.1, 2.0}; ///< pixels, uniform
  int64_t kernel = 0; ///< pixels, odd; 0: all within three standard deviations
};

/// gaussian_blur with a random sigma; order 11. Draws kernel and sigma.
class RandomGaussianBlur : public RandomTransform {
 public:
  explicit RandomGaussianBlur(const BlurOptions& options = {});

  /// The documented library's: sigma a uniform integer s in [low, high), kernel 2 floor(s / 4) + 1, one a sample (there
  /// one a batch): close to a box filter of that kernel.
  static RandomGaussianBlur boxlike(std::pair<int64_t, int64_t> s, double p);

  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  BlurOptions options_;
  bool boxlike_ = false;
};

struct NoiseOptions {
  Range sigma{0, 0.05}; ///< in units of the pixels, uniform
  double p = 0.5;
};

/// gaussian_noise; order 40. Draws sigma and the key.
class RandomNoise : public RandomTransform {
 public:
  explicit RandomNoise(const NoiseOptions& options = {});
  std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const override;
  at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const override;

 private:
  NoiseOptions options_;
};

// --- yours

/// A transform of the whole batch without parameters, from any function [N,C,H,W] -> [N,C',H',W'].
/// Throws Error for an empty function.
TransformPtr make_transform(std::string name, std::function<at::Tensor(const at::Tensor&)> function, int order = 0);

} // namespace barlow
