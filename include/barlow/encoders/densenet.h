// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct DenseNetConfig {
  int64_t growth = 32; ///< channels that a layer adds
  std::array<int64_t, 4> layers{}; ///< a block
  bool deep_stem = false; ///< three 3x3 convolutions in place of one 7x7
  bool blur = false; ///< the stem's pooling is anti-aliased
  InputSpec input{};
};

/// timm's DenseNet: one child, features. There are no residual branches: a drop_path_rate is an Error.
/// Default pooling: Avg. Initialisation: convolutions normal with variance 2 / fan_in.
/// Source: Huang et al., "Densely Connected Convolutional Networks", 2017; timm 1.0.31.
class DenseNetImpl : public SegmentedEncoderImpl {
 public:
  DenseNetImpl(const std::string& name, const DenseNetConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  Sequential stem_{nullptr}, norm_{nullptr};
  std::array<Sequential, 4> blocks_{nullptr, nullptr, nullptr, nullptr};
  std::array<Sequential, 3> transitions_{nullptr, nullptr, nullptr};
};

} // namespace barlow
