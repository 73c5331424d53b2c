// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace barlow {

/// A box of pixels.
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Height and width in pixels; one number means a square.
struct ImageSize {
  ImageSize(int64_t side) : height(side), width(side) {} // NOLINT(google-explicit-constructor)
  ImageSize(int64_t h, int64_t w) : height(h), width(w) {}
  bool operator==(const ImageSize&) const = default;
  int64_t height, width;
};

enum class Interpolation { Bilinear, Bicubic };

// Functions of a batch of images x [N,C,H,W] with one parameter a sample. Floating images have pixels in 0..1; uint8
// ones are computed as x / 255 and rounded back. Any device, strides and number of channels unless said otherwise; x is
// never changed. Each throws Error for another rank or type, an empty batch, or a number of parameters other than N,
// and on the CPU NonFiniteError for NaN.

// --- geometry

struct ResizeOptions {
  Interpolation interpolation = Interpolation::Bilinear;
  bool antialias = true; ///< widen the filter when shrinking, as Pillow does
};

/// Sample n cropped to boxes[n], then resized: pixel centres at half integers, borders repeated. Bicubic overshoots and
/// is not clamped (Keys' kernel, a = -0.5 antialiased, -0.75 not). A crop of that size already is copied.
/// Source: torchvision 0.26 resized_crop.
at::Tensor
resized_crop(const at::Tensor& x, const std::vector<Box>& boxes, ImageSize size, const ResizeOptions& options = {});

/// Columns reversed where flip[n].
at::Tensor horizontal_flip(const at::Tensor& x, const std::vector<bool>& flip);

/// Rows reversed where flip[n].
at::Tensor vertical_flip(const at::Tensor& x, const std::vector<bool>& flip);

/// Turned counter-clockwise by turns[n] times 90 degrees, any integer. Odd turns need square images.
at::Tensor rotate90(const at::Tensor& x, const std::vector<int64_t>& turns);

enum class RotationRule {
  Fastai, ///< clockwise, borders reflected about the edge pixels' centres, sheared by (H/W)(W-1)/(H-1) if not square
  Rigid, ///< counter-clockwise, zeros outside, rigid in pixels; kornia's and torchvision's (bilinear)
};

/// Rotated about the centre by degrees[n], bilinear, size unchanged; where it is 0 copied.
/// Source: fastai 2.8 Rotate, kornia 0.9 RandomRotation.
at::Tensor rotate(const at::Tensor& x, const std::vector<double>& degrees, RotationRule rule = RotationRule::Fastai);

/// Pixels of erase[n] set to `value`, nothing where it is empty. Source: torchvision 0.26 erase.
at::Tensor erase(const at::Tensor& x, const std::vector<std::optional<Box>>& boxes, double value = 0);

// --- colour

/// Two rules that differ in two constants: the weight of red in a pixel's luma (0.299 or 0.2989; green 0.587, blue
/// 0.114) and the term that keeps saturation finite (1e-8 or 0).
enum class ColorRule { Kornia, Torchvision };

/// clamp(f x), f >= 0
at::Tensor adjust_brightness(const at::Tensor& x, const std::vector<double>& factors);

/// clamp(f x + (1 - f) m), f >= 0; m is the image's mean luma for three channels, else the mean of all its values.
at::Tensor adjust_contrast(const at::Tensor& x, const std::vector<double>& factors, ColorRule rule = ColorRule::Kornia);

/// clamp(f x + (1 - f) luma), f >= 0; one channel is unchanged (clamped); other C throw.
at::Tensor
adjust_saturation(const at::Tensor& x, const std::vector<double>& factors, ColorRule rule = ColorRule::Kornia);

/// Hue turned in HSV space by turns[n] in [-0.5, 0.5]; C must be 3.
at::Tensor adjust_hue(const at::Tensor& x, const std::vector<double>& turns, ColorRule rule = ColorRule::Kornia);

/// One sample's four colour steps, in this order: 0 brightness, 1 contrast, 2 saturation, 3 hue.
struct Jitter {
  double brightness = 1, contrast = 1, saturation = 1, hue = 0;
  std::array<int, 4> order{0, 1, 2, 3};
};

/// clamp, the steps that are not neutral in their order, clamp; a sample without a value is copied. The limits of each
/// step hold: hue needs three channels. Source: kornia 0.9 ColorJitter, whose order is one a batch.
at::Tensor
color_jitter(const at::Tensor& x, const std::vector<std::optional<Jitter>>& jitter, ColorRule rule = ColorRule::Kornia);

/// Three channels: luma in each; another number: their mean in each. Where gray[n].
at::Tensor grayscale(const at::Tensor& x, const std::vector<bool>& gray, ColorRule rule = ColorRule::Kornia);

/// x where x < thresholds[n], else 1 - x; a threshold above 1 copies. Source: torchvision 0.26 solarize.
at::Tensor solarize(const at::Tensor& x, const std::vector<double>& thresholds);

/// Each channel's 256-level histogram flattened where equalize[n]; floating pixels are rounded to 256 levels.
/// Source: Pillow's ImageOps.equalize.
at::Tensor equalize(const at::Tensor& x, const std::vector<bool>& equalize);

/// clamp(gain x^gamma[n]), gamma > 0; copied where both are 1.
at::Tensor adjust_gamma(const at::Tensor& x, const std::vector<double>& gamma, double gain = 1);

/// An intensity window of values of any unit, low < high.
struct Window {
  double low = 0, high = 1;
};

/// clamp((x - low) / (high - low)): floating in 0..1. Takes 16-bit and other integer images too (unscaled).
at::Tensor apply_window(const at::Tensor& x, const std::vector<Window>& windows);

/// (x - mean[c]) / std[c]; mean and std have C entries. Floating images only.
at::Tensor normalize(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& std);

/// x * std[c] + mean[c], the inverse of normalize. Floating images only.
at::Tensor denormalize(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& std);

// --- filters and noise

/// One sample's blur: an odd kernel of `kernel` pixels (0: none) and its standard deviation in pixels.
struct Blur {
  int64_t kernel = 0;
  double sigma = 1;
};

/// Gaussian along x, then along y, weights normalised, borders reflected without repeating the edge pixel; both sides
/// must be longer than kernel / 2. Source: kornia 0.9 gaussian_blur2d, torchvision gaussian_blur.
at::Tensor gaussian_blur(const at::Tensor& x, const std::vector<Blur>& blur);

/// One sample's noise: standard deviation in units of pixel values (0: none) and what it is keyed by.
struct Noise {
  double sigma = 0;
  uint64_t key = 0;
};

/// x + sigma times standard normal numbers, not clamped. The same key gives the same numbers on every device.
at::Tensor gaussian_noise(const at::Tensor& x, const std::vector<Noise>& noise);

// --- routes

/// While one lives, this thread's transforms run by ATen alone instead of the library's kernels: the reference that
/// every kernel is tested against, slower.
class ReferenceTransforms {
 public:
  ReferenceTransforms();
  ~ReferenceTransforms();
  ReferenceTransforms(const ReferenceTransforms&) = delete;
  ReferenceTransforms& operator=(const ReferenceTransforms&) = delete;
  static bool enabled();

 private:
  bool before_;
};

} // namespace barlow
