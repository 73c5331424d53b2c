// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct RegNetConfig {
  enum class Shortcut { Conv /* 1x1 */, Average /* pooling, then 1x1 */, None /* only where nothing changes */ };

  std::array<int64_t, 4> layers{}; ///< blocks a stage
  std::array<int64_t, 4> widths{}; ///< channels a stage
  int64_t group_width = 8; ///< channels a group of the 3x3 convolutions, at most all
  int64_t expansion = 1; ///< width of the 3x3 convolutions over the block's
  bool se = false; ///< squeeze-and-excitation of the 3x3's output, squeezed to a quarter of the block's input
  Shortcut shortcut = Shortcut::Conv;
  bool silu = false; ///< SiLU in place of ReLU
  bool linear_out = false; ///< no activation after a block but after the last; last norms start at 1
  bool preact = false; ///< norm and activation before each convolution
  bool group_norm = false; ///< groups of 16 channels in place of the batch
  int64_t features = 0; ///< of a last 1x1 convolution; 0: none
  InputSpec input{};
};

/// timm's RegNet X, Y, Z and V (pre-activated Y): children stem, s1 ... s4, final_conv.
/// Default pooling: Avg. Initialisation: convolutions normal with variance 2 / fan_out, the last norm's weight of each
/// block zero except in Z and V.
/// Source: Radosavovic et al., "Designing Network Design Spaces", 2020; timm 1.0.31. The tables list what the paper's
/// rule gives.
class RegNetImpl : public SegmentedEncoderImpl {
 public:
  RegNetImpl(const std::string& name, const RegNetConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  Sequential stem_{nullptr}, final_{nullptr};
  std::array<Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

} // namespace barlow
