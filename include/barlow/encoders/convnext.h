// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct ConvNeXtConfig {
  enum class Stem { Patch /* 4x4 */, Overlap /* two 3x3 */, Tiered /* two 3x3 that widen */, Act /* GELU between */ };
  enum class Norm { Layer, Rms, Simple /* by the variance alone */ };

  std::array<int64_t, 4> layers{}; ///< blocks a stage
  std::array<int64_t, 4> widths{}; ///< channels a stage
  Stem stem = Stem::Patch;
  bool conv_mlp = false; ///< weights of the blocks' dense layers have the shape of 1x1 convolutions
  bool v2 = false; ///< global response normalisation in the blocks, no layer scale
  Norm norm = Norm::Layer;
  double norm_eps = 1e-6;
  bool norm_first = false; ///< the last norm comes before the pooling
  int64_t head_width = 0; ///< of a dense layer with GELU after the pooling and norm; 0: none
  InputSpec input{};
};

/// timm's ConvNeXt and ConvNeXt V2: children stem, stages, norm_pre, head.
/// Default pooling: Avg. As a norm of fixed width follows the pooling, CatAvgMax exists for the _hnf variants alone.
/// Initialisation: weights normal with standard deviation 0.02, biases 0, layer scale 1e-6, response norm 0.
/// Source: Liu et al., "A ConvNet for the 2020s", 2022; Woo et al., "ConvNeXt V2", 2023; timm 1.0.31.
class ConvNeXtImpl : public SegmentedEncoderImpl {
 public:
  ConvNeXtImpl(const std::string& name, const ConvNeXtConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  Sequential stem_{nullptr}, head_{nullptr};
  std::array<Sequential, 4> downsamples_{nullptr, nullptr, nullptr, nullptr}; // the first stays empty
  std::array<Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

} // namespace barlow
