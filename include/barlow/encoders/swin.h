// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct SwinConfig {
  int64_t width = 96; ///< of the first stage; each of the next doubles it
  std::array<int64_t, 4> depths{2, 2, 6, 2}; ///< blocks a stage
  std::array<int64_t, 4> heads{3, 6, 12, 24};
  std::array<int64_t, 4> windows{7, 7, 7, 7}; ///< patches a side
  InputSpec input{};
};

/// timm's SwinTransformer: children patch_embed, layers, norm. Patches of 4 pixels; attention within windows that move
/// by half their side in every second block; layer norms with eps 1e-5. Takes every size that is a multiple of 4, as
/// timm with dynamic_img_size: windows are those of the designed size, the map is padded to whole ones.
/// Default pooling: Avg. Initialisation: linear layers and position biases normal with std 0.02, other biases zero.
/// Source: Liu et al., "Swin Transformer", 2021; Chen et al., "Searching the Search Space" (S3), 2021; timm 1.0.31.
class SwinTransformerImpl : public SegmentedEncoderImpl {
 public:
  SwinTransformerImpl(const std::string& name, const SwinConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  struct Stage {
    torch::nn::AnyModule downsample; // none in the first
    Sequential blocks;
  };

  PoolingType pool_;
  double drop_rate_;
  torch::nn::AnyModule patch_embed_, norm_;
  std::vector<Stage> stages_;
};

} // namespace barlow
