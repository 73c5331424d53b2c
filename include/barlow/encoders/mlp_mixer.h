// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct MlpMixerConfig {
  enum class Block { Mixer, ResMlp, GatedMlp };

  Block block = Block::Mixer;
  int64_t width = 512, depth = 8, patch = 16;
  double token_ratio = 0.5; ///< width of the MLP over tokens, in widths; Mixer blocks alone
  double channel_ratio = 4; ///< width of the MLP over channels, in widths
  bool glu = false; ///< MLPs gated by SiLU of their second half
  double layer_scale = 1e-4; ///< initial scale of what a block adds, ResMlp blocks alone
  InputSpec input{};
};

/// timm's MlpMixer: MLP-Mixer, ResMLP, gMixer and gMLP; children stem, blocks, norm. One image size alone.
/// Pooling: Avg alone. drop_path_rate holds for every block, as in timm.
/// Initialisation: linear layers Xavier-uniform, biases near zero; patch embedding LeCun-normal; gates near one.
/// Source: Tolstikhin et al., 2021; Touvron et al., "ResMLP", 2021; Liu et al., "Pay Attention to MLPs", 2021;
/// timm 1.0.31.
class MlpMixerImpl : public SegmentedEncoderImpl {
 public:
  MlpMixerImpl(const std::string& name, const MlpMixerConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  double drop_rate_;
  torch::nn::AnyModule stem_, norm_;
  Sequential blocks_{nullptr};
};

} // namespace barlow
