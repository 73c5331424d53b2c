// SPDX-License-Identifier: Apache-2.0
// What the networks of image patches share (vision and Swin transformers, MLP mixers). A token is a last dimension.
#pragma once

#include "layers.h"

namespace barlow {

/// Norm of each token. Rms: without mean and bias (Zhang & Sennrich, 2019); Affine: scale and shift, no statistics.
class TokenNormImpl : public torch::nn::Module {
 public:
  enum class Kind { Layer, Rms, Affine };
  struct Options {
    double eps = 1e-6;
    Kind kind = Kind::Layer;
  };
  TokenNormImpl(int64_t width, const Options& options);
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias; // bias: undefined for Rms

 private:
  Options options_;
};
TORCH_MODULE(TokenNorm);

/// [N,C,H,W] -> [N, H / patch, W / patch, width], children proj and norm.
class PatchEmbedImpl : public torch::nn::Module {
 public:
  PatchEmbedImpl(
      int64_t n_in,
      int64_t width,
      int64_t patch,
      bool bias = true,
      const std::optional<TokenNormImpl::Options>& norm = {});
  torch::Tensor forward(const torch::Tensor& x);

 private:
  Conv2d proj_{nullptr};
  TokenNorm norm_{nullptr};
};
TORCH_MODULE(PatchEmbed);

using Activation = torch::Tensor (*)(const torch::Tensor&);

/// fc2(act(fc1(x))), or with a gate (Shazeer, "GLU Variants Improve Transformer", 2020).
class MlpImpl : public torch::nn::Module {
 public:
  enum class Gate {
    None,
    First, // act(first half of fc1) * second half
    Last, // first half of fc1 * act(second half)
    Split, // act(fc1_g) * fc1_x
  };
  struct Options {
    Activation act = [](const torch::Tensor& x) { return at::gelu(x); };
    Gate gate = Gate::None;
    bool bias = true;
    std::optional<TokenNormImpl::Options> norm{}; // before fc2
  };
  MlpImpl(int64_t width, int64_t hidden, const Options& options);
  torch::Tensor forward(const torch::Tensor& x);

  /// Weights near 0 and biases 1 for the half that is the gate by timm's count (the second one, or fc1_g).
  void init_gate();

 private:
  Options options_;
  torch::nn::Linear fc1_{nullptr}, fc1_x_{nullptr}, fc2_{nullptr};
  TokenNorm norm_{nullptr};
};
TORCH_MODULE(Mlp);

torch::nn::Linear linear(int64_t in, int64_t out, bool bias = true);

/// [N,T,heads * d] -> [N,heads,T,d], and back.
torch::Tensor split_heads(const torch::Tensor& x, int64_t heads);
torch::Tensor merge_heads(const torch::Tensor& x);

/// Linear layers: weights trunc_normal_ with std 0.02, biases zero; then the gates of every Mlp.
void init_token_layers(torch::nn::Module& module);

/// Normal with this standard deviation before its tails beyond two of them are cut off, as timm's trunc_normal_tf_.
void trunc_normal_tf_(const torch::Tensor& weight, double std);

/// Position embedding [1, prefix_tokens + n * n, width] for a grid of rows x columns patches: bicubic, antialiased, in
/// float32 whatever the type, as timm; itself if it fits already.
torch::Tensor
resample_position_embedding(const torch::Tensor& embedding, int64_t prefix_tokens, int64_t rows, int64_t columns);

} // namespace barlow
