// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct SENetConfig {
  enum class Block {
    Plain, ///< 3x3 (stride), 3x3 with ReLU after it
    Bottleneck, ///< 1x1 (stride), 3x3, 1x1
    NeXt, ///< 1x1, grouped 3x3 (stride), 1x1; 4 channels a group in the first stage
    Wide, ///< the same with 2 and 4 times the planes inside; stem of three 3x3, shortcuts that shrink by 3x3
  };

  Block block = Block::Plain;
  std::array<int64_t, 4> layers{}; ///< blocks a stage
  int64_t groups = 1; ///< of the 3x3 convolutions
  InputSpec input{};
};

/// timm's legacy SENet, SE-ResNet and SE-ResNeXt, as their authors' Caffe networks: children layer0 ... layer4.
/// Default pooling: Avg. Initialisation: convolutions normal with variance 2 / fan_out.
/// timm has no drop path here, and a default drop_rate of 0.2; this library's defaults are 0 as everywhere.
/// Source: Hu et al., "Squeeze-and-Excitation Networks", 2018; timm 1.0.31.
class SENetImpl : public SegmentedEncoderImpl {
 public:
  SENetImpl(const std::string& name, const SENetConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  Sequential stem_{nullptr};
  std::array<Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

} // namespace barlow
