// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct XResNetConfig {
  enum class Block { Plain, SE /* wider inside */, NeXt /* 32 groups of width / 16 */ };

  int64_t expansion = 1; ///< 1: two 3x3 convolutions a block, 4: 1x1, 3x3, 1x1
  std::vector<int64_t> layers; ///< blocks a stage
  Block block = Block::Plain;
  int64_t reduction = 0; ///< squeeze-and-excitation's; 0: none
};

/// fastai's xresnet, as its body, pooling and flatten: children 0, 1, 2 (stem), 3 (max pool), 4 ... (stages).
/// Default pooling: Avg. CatAvgMax is [max, avg].
/// Initialisation: normal with variance 2 / fan_in and biases zero, except that for n_in other than 3 the first
/// convolution keeps torch's default; the last batch norm's weight of each block is zero.
/// Source: He et al., "Bag of Tricks", 2018; fastai 2.8.12.
class XResNetImpl : public SegmentedEncoderImpl {
 public:
  XResNetImpl(const std::string& name, const XResNetConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  PoolingType pool_;
  double drop_rate_;
  Sequential body_{nullptr};
};

} // namespace barlow
