// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include <torch/nn/modules/batchnorm.h>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct ResNetConfig {
  bool bottleneck = false; ///< 1x1, 3x3, 1x1 (stride on the 3x3), else 3x3, 3x3
  std::array<int64_t, 4> layers{}; ///< blocks a stage
};

/// timm's ResNet: children conv1, bn1, layer1 ... layer4. Default pooling: Avg.
/// Initialisation: convolutions normal with variance 2 / fan_out, the last batch norm's weight of each block zero.
/// Source: He et al., 2015; timm 1.0.31.
class ResNetImpl : public EncoderImpl {
 public:
  ResNetImpl(const std::string& name, const ResNetConfig& config, const EncoderOptions& options);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  PoolingType pool_;
  Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::array<Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

} // namespace barlow
