// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct VggConfig {
  std::array<int64_t, 5> layers{}; ///< 3x3 convolutions a stage
  bool batch_norm = false; ///< after each of them
  InputSpec input{};
};

/// timm's VGG: children features and pre_logits, whose two convolutions (7x7 and 1x1, 4096 channels) stand for the
/// dense layers of the paper. There are no residual branches: a drop_path_rate is an Error. Default pooling: Avg.
/// Initialisation: convolutions normal with variance 2 / fan_out, biases 0. Source: Simonyan and Zisserman, "Very Deep
/// Convolutional Networks", 2015; timm 1.0.31.
class VggImpl : public SegmentedEncoderImpl {
 public:
  VggImpl(const std::string& name, const VggConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  std::array<Sequential, 5> stages_{nullptr, nullptr, nullptr, nullptr, nullptr};
  Conv2d fc1_{nullptr}, fc2_{nullptr};
};

} // namespace barlow
