// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <torch/nn/modules/batchnorm.h>

#include <barlow/batch_norm.h>
#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct EfficientNetConfig {
  enum class Activation { ReLU, ReLU6, SiLU, HardSwish };
  enum class Head {
    Conv, ///< convolution, batch norm, activation, then pooling (EfficientNet)
    PooledConv, ///< pooling, convolution with bias, activation (MobileNetV3)
    PooledConvNoBias,
    PooledConvNorm, ///< pooling, convolution, batch norm, activation (MobileNetV4)
  };
  enum class Squeeze { ///< squeeze-and-excitation: gate, inner activation, rounding of the inner width
    Plain, ///< sigmoid, the block's, to the nearest integer
    Hard, ///< hard sigmoid, the block's, to the nearest integer
    HardReLU, ///< hard sigmoid, ReLU, to the nearest integer
    HardReLU8, ///< hard sigmoid, ReLU, to a multiple of 8
    Hard8, ///< hard sigmoid, the block's, to a multiple of 8
  };

  /// Blocks in timm's notation, stages separated by |: type (cn, ds, dsa, ir, er, uir), r repeats, k kernel (dots:
  /// mixed ones), s stride, e expansion, c channels, se ratio, n activation, a and p first and last kernel, cc experts,
  /// gs channels a group, fc channels that are expanded, d space to depth, skip, noskip.
  const char* stages = "";
  double width = 1, depth = 1; ///< multipliers of channels and repeats
  std::vector<double> depths{}; ///< a multiplier a stage, in place of `depth`
  bool round_depth = false; ///< repeats to the nearest integer, else up
  bool fix_first_last = false; ///< the first and last stage keep their repeats
  double round_limit = 0.9; ///< rounding channels to multiples of 8 may lose 1 - this at most
  int64_t stem = 32, stem_kernel = 3; ///< channels, pixels
  bool fix_stem = false; ///< the stem keeps its channels
  int64_t features = 1280; ///< channels of the head; 0: no head
  Head head = Head::Conv;
  Activation act = Activation::ReLU;
  Squeeze squeeze = Squeeze::Plain;
  bool squeeze_of_expanded = false; ///< the ratio is of the expanded channels, not of the block's input
  int64_t expert_factor = 1; ///< times the experts of the notation
  bool tf = false; ///< TensorFlow's: padding that depends on the input's size, batch norm eps 1e-3
  double bn_eps = 1e-5;
  InputSpec input{};
};

/// timm's EfficientNet, MobileNetV1-V4, MNASNet, MixNet, FBNet, LCNet, TinyNet: children conv_stem, bn1, blocks,
/// conv_head, bn2 or norm_head. Default pooling: Avg. Initialisation: convolutions normal with variance 2 / fan_out,
/// biases zero. Source: Tan & Le, 2019 and 2021; Howard et al., 2019; Qin et al., 2024; timm 1.0.31.
class EfficientNetImpl : public SegmentedEncoderImpl {
 public:
  EfficientNetImpl(const std::string& name, const EfficientNetConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  at::Tensor head(const at::Tensor& x);

  EfficientNetConfig config_;
  PoolingType pool_;
  double drop_rate_;
  Conv2d conv_stem_{nullptr}, conv_head_{nullptr};
  BatchNorm2d bn1_{nullptr}, head_norm_{nullptr};
  std::vector<Sequential> stages_;
};

} // namespace barlow
