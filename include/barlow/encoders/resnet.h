// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct ResNetConfig {
  enum class Stem { Plain /* 7x7 */, Deep /* three 3x3 */, Tiered /* three 3x3 that widen */ };
  enum class Attention { None, SE, ECA };
  enum class AntiAlias { None, Blur, Average };

  bool bottleneck = false; ///< 1x1, 3x3 (stride), 1x1, else 3x3 (stride), 3x3
  std::array<int64_t, 4> layers{}; ///< blocks a stage
  Stem stem = Stem::Plain;
  int64_t stem_width = 32; ///< of the first two convolutions of a deep stem; the third doubles it
  bool avg_down = false; ///< shortcuts shrink by average pooling, then 1x1
  int64_t groups = 1, base_width = 64; ///< of the 3x3 convolutions: planes * base_width / 64 * groups channels
  Attention attention = Attention::None;
  double se_ratio = 1. / 16; ///< width of the squeeze
  AntiAlias anti_alias = AntiAlias::None; ///< where maps shrink
  bool conv_stem_pool = false; ///< a 3x3 convolution in place of the stem's max pooling
  int64_t reduce_first = 1; ///< the first convolution of a block is narrower by this factor
  int64_t down_kernel = 1; ///< of the shortcuts that shrink
  bool group_norm = false; ///< groups of 32 channels in place of the batch
  InputSpec input{};
};

/// timm's ResNet and its relatives (ResNeXt, wide, SE, ECA, blur, RS): children conv1, bn1, layer1 ... layer4.
/// Default pooling: Avg. Initialisation: convolutions normal with variance 2 / fan_out, the last norm's weight of each
/// block zero.
/// Source: He et al., 2015; He et al., "Bag of Tricks", 2018; Bello et al., 2021; timm 1.0.31.
class ResNetImpl : public SegmentedEncoderImpl {
 public:
  ResNetImpl(const std::string& name, const ResNetConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  Sequential stem_{nullptr};
  std::array<Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

} // namespace barlow
