// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct VisionTransformerConfig {
  struct Shape {
    int64_t width = 768, depth = 12, heads = 12;
    int64_t hidden = 0; ///< of the MLPs, 0: 4 * width
  };
  enum class Pool { Token /* the class token */, Mean, Attention /* by a learned query */ };
  enum class Block { Plain, PostNorm, Parallel /* attention beside MLP */, Twin /* two of each side by side */ };
  enum class Gate { None, Packed /* both halves in fc1 */, Split /* fc1_g, fc1_x */ };
  enum class Act { GELU, GELUTanh, QuickGELU, SiLU };

  Shape shape{};
  int64_t patch = 16; ///< pixels a side
  Pool pool = Pool::Token; ///< what the variant does by itself
  bool class_token = true;
  bool distilled = false; ///< a second class token; features are the mean of both
  int64_t registers = 0; ///< further tokens, not pooled
  bool embed_prefix = true; ///< the position embedding has entries for the tokens before the patches
  bool pool_prefix = false; ///< the pooling sees those tokens too
  bool pre_norm = false; ///< a norm before the first block, no bias in the patch embedding
  bool final_norm = true;
  std::optional<bool> fc_norm{}; ///< the final norm stands after the pooling, nullopt: if tokens are averaged or maxed
  bool embed_norm = false; ///< of the patch embedding
  bool rms_norm = false; ///< in place of layer norm
  double eps = 1e-6; ///< of the norms
  Block block = Block::Plain;
  Gate gate = Gate::None; ///< of the MLPs
  Act act = Act::GELU;
  bool qkv_bias = true, proj_bias = true; ///< proj_bias: of the MLPs too
  bool qk_norm = false; ///< norms of queries and keys, parallel blocks alone
  bool inner_norm = false; ///< norms before the last linear layers of attention and MLP
  double layer_scale = 0; ///< initial scale of what a block adds, 0: none
  InputSpec input{};
};

/// timm's VisionTransformer and its DeiT: tokens (cls_token, reg_token, dist_token), pos_embed, patch_embed, norm_pre,
/// blocks, norm, attn_pool, fc_norm. Takes every size whose patches fit: the position embedding is resampled for it.
/// Default pooling: the variant's own, mostly the class token; Avg, AvgMax and Max of the patches on demand.
/// Initialisation: linear layers normal with std 0.02, biases zero; position embedding normal with std 0.02, class and
/// register tokens 1e-6.
/// Source: Dosovitskiy et al., 2020; Touvron et al., 2020 and 2022; Oquab et al., 2023; Zhai et al., 2023; timm 1.0.31.
class VisionTransformerImpl : public SegmentedEncoderImpl {
 public:
  VisionTransformerImpl(const std::string& name, const VisionTransformerConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

  /// Resamples a position embedding of another input size.
  at::Tensor adapt_weight(const std::string& name, const at::Tensor& weight) const override;

 private:
  at::Tensor embed(const at::Tensor& x);
  at::Tensor pool(const at::Tensor& x);

  std::optional<PoolingType> pool_;
  bool distilled_, embed_prefix_, pool_prefix_;
  double drop_rate_;
  std::vector<at::Tensor> prefix_; // tokens before the patches
  at::Tensor position_;
  int64_t prefix_tokens_ = 0;
  torch::nn::AnyModule patch_embed_, norm_pre_, norm_, attention_pool_, fc_norm_;
  Sequential blocks_{nullptr};
};

} // namespace barlow
