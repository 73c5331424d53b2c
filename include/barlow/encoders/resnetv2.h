// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <torch/nn/modules/container/any.h>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct ResNetV2Config {
  enum class Stem { Plain /* 7x7 */, Deep /* three 3x3 */, Tiered /* three 3x3 that widen */ };
  enum class Norm { Batch, Group /* 32 groups */, Evo /* S0 */, FilterResponse };

  std::array<int64_t, 4> layers{}; ///< blocks a stage
  bool basic = false; ///< 3x3, 3x3 a block, else 1x1, 3x3, 1x1
  Stem stem = Stem::Plain;
  bool avg_down = false; ///< shortcuts shrink by average pooling, then 1x1
  Norm norm = Norm::Batch;
  bool bit = false; ///< BiT: weights standardised in every convolution, stem pooled after a border of zeros
  int64_t width_factor = 1; ///< of every channel count
  InputSpec input{.size = 224, .stats = PixelStats::Inception};
};

/// timm's ResNet V2 (norm and activation before each convolution) and BiT: children stem, stages, norm.
/// Default pooling: Avg. Initialisation: convolutions normal with variance 2 / fan_out.
/// Source: He et al., "Identity Mappings in Deep Residual Networks", 2016; Kolesnikov et al., "Big Transfer", 2020;
/// timm 1.0.31.
class ResNetV2Impl : public SegmentedEncoderImpl {
 public:
  ResNetV2Impl(const std::string& name, const ResNetV2Config& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  Sequential stem_{nullptr};
  std::array<Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
  torch::nn::AnyModule norm_;
};

} // namespace barlow
