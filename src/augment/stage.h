// SPDX-License-Identifier: Apache-2.0
// What a batch of images goes through: stages with one set of parameters a sample, already checked. Three backends
// interpret them: ATen (stage_reference.cpp, any device and type), CPU loops (stage_cpu.cpp) and CUDA kernels
// (stage_cuda.cpp). A pipeline's stages are fused before they run.
#pragma once

#include <array>
#include <memory>
#include <variant>
#include <vector>

#include <barlow/augment/transforms.h>

#include "pixel.h"

namespace barlow {

/// Crop, resize, mirror. Every sample gets the same size.
struct CropStage {
  ImageSize size{1};
  ResizeOptions resize;
  std::vector<Box> boxes;
  std::vector<uint8_t> mirror; // columns reversed afterwards
};

/// Mirror and transpose, without sampling.
struct OrientStage {
  struct Orientation {
    bool mirror_x = false, mirror_y = false, transpose = false; // applied in this order
    bool acts() const {
      return mirror_x || mirror_y || transpose;
    }
  };
  std::vector<Orientation> samples;
};

/// Bilinear sampling at source = matrix (x, y, 1), in pixels.
struct WarpStage {
  struct Affine {
    bool acts = false;
    double xx = 1, xy = 0, x1 = 0, yx = 0, yy = 1, y1 = 0;
  };
  enum class Border { Reflect, Zeros } border = Border::Reflect;
  std::vector<Affine> samples;
};

struct BlurStage {
  std::vector<Blur> samples;
};

/// The kernel's weights; none for an empty one.
std::vector<float> gaussian_weights(const Blur& blur);

/// One operation on the channels of a pixel.
struct ColorOp {
  using Kind = pixel::ColorKind;
  Kind kind;
  double a = 0, b = 0; // factor, turns, threshold; gamma, gain; low, 1 / (high - low)
  ColorRule rule = ColorRule::Kornia;
  std::shared_ptr<const std::vector<double>> scale{}, shift{}; // PerChannel: scale[c] x + shift[c]

  double red() const { // weight in the luma
    return rule == ColorRule::Kornia ? .299 : .2989;
  }
  double eps() const { // of the saturation
    return rule == ColorRule::Kornia ? 1e-8 : 0;
  }
};

struct ColorStage {
  std::vector<std::vector<ColorOp>> samples;
};

struct EqualizeStage {
  std::vector<uint8_t> samples;
};
constexpr int kLevels = 256;
using Histogram = std::array<int64_t, kLevels>;

/// The level that each level becomes.
std::array<int, kLevels> equalizing_table(const Histogram& histogram);

struct NoiseStage {
  std::vector<Noise> samples;
};

/// Standard normal numbers: a pure function of the key.
void fill_normal(float* to, int64_t count, uint64_t key);

struct EraseStage {
  double value = 0;
  std::vector<std::optional<Box>> samples;
};

using Stage =
    std::variant<CropStage, OrientStage, WarpStage, BlurStage, ColorStage, EqualizeStage, NoiseStage, EraseStage>;

/// The size of the images after a stage.
ImageSize size_after(const Stage& stage, ImageSize size);

/// While one lives, the functions of transforms.h write down the stages of meta tensors instead of running them, and
/// give meta tensors back. That is how a pipeline learns what its transforms do, to do it in one go.
class StageRecorder {
 public:
  StageRecorder();
  ~StageRecorder();
  StageRecorder(const StageRecorder&) = delete;
  StageRecorder& operator=(const StageRecorder&) = delete;
  static StageRecorder* current(); ///< this thread's, or null

  /// Merges the stage with the last one where the result is the same: mirror into crop, colour into colour. A rotation
  /// stays a sampling of its own: it reflects about the crop's border, and the crop may be antialiased.
  void add(Stage stage);

  std::vector<Stage> stages;

 private:
  StageRecorder* before_;
};

/// x [N,C,H,W], floating or uint8 (read as x / 255), through the stages by the fastest backend that can; floating out.
/// Throws NonFiniteError in the name of `name` for NaN in the result, except on CUDA, where looking would mean waiting.
at::Tensor run_stages(const at::Tensor& x, const std::vector<Stage>& stages, const char* name);

// The backends. The first can run everything; the others say what they can.
at::Tensor run_reference(const at::Tensor& x, const Stage& stage);

bool cpu_can_run(const at::Tensor& x);
at::Tensor run_on_cpu(const at::Tensor& x, const std::vector<Stage>& stages, const char* name);

bool cuda_can_run(const at::Tensor& x, const Stage& stage);
at::Tensor run_on_cuda(const at::Tensor& x, const Stage& stage, bool ours); ///< ours: x may be overwritten

} // namespace barlow
