// SPDX-License-Identifier: Apache-2.0
#include "tokens.h"

#include <cmath>

namespace barlow {

namespace nn = torch::nn;
using torch::Tensor;

TokenNormImpl::TokenNormImpl(int64_t width, const Options& options) : options_(options) {
  if (options.kind == Kind::Affine) {
    weight = register_parameter("alpha", torch::ones({1, 1, width}));
    bias = register_parameter("beta", torch::zeros({1, 1, width}));
    return;
  }
  weight = register_parameter("weight", torch::ones({width}));
  if (options.kind == Kind::Layer) {
    bias = register_parameter("bias", torch::zeros({width}));
  }
}

Tensor TokenNormImpl::forward(const Tensor& x) {
  switch (options_.kind) {
    case Kind::Layer:
      return at::layer_norm(x, weight.sizes(), weight, bias, options_.eps);
    case Kind::Rms:
      return x * (x.pow(2).mean(-1, /*keepdim=*/true) + options_.eps).rsqrt() * weight;
    case Kind::Affine:
      return at::addcmul(bias, weight, x);
  }
  TORCH_INTERNAL_ASSERT(false, "a kind of norm without a case");
}

PatchEmbedImpl::PatchEmbedImpl(
    int64_t n_in,
    int64_t width,
    int64_t patch,
    bool bias,
    const std::optional<TokenNormImpl::Options>& norm) {
  proj_ = register_module("proj", conv(n_in, width, patch, {.stride = patch, .padding = 0, .bias = bias}));
  if (norm) {
    norm_ = register_module("norm", TokenNorm(width, *norm));
  }
}

Tensor PatchEmbedImpl::forward(const Tensor& x) {
  const auto y = proj_->forward(x).permute({0, 2, 3, 1});
  return norm_ ? norm_->forward(y) : y;
}

MlpImpl::MlpImpl(int64_t width, int64_t hidden, const Options& options) : options_(options) {
  const bool split = options.gate == Gate::Split;
  fc1_ = register_module(split ? "fc1_g" : "fc1", linear(width, hidden, options.bias));
  if (split) {
    fc1_x_ = register_module("fc1_x", linear(width, hidden, options.bias));
  }
  const int64_t inner = options.gate == Gate::None || split ? hidden : hidden / 2;
  if (options.norm) {
    norm_ = register_module("norm", TokenNorm(inner, *options.norm));
  }
  fc2_ = register_module("fc2", linear(inner, width, options.bias));
}

Tensor MlpImpl::forward(const Tensor& x) {
  auto y = fc1_->forward(x);
  const auto half = [&](size_t i) { return y.chunk(2, -1)[i]; };
  switch (options_.gate) {
    case Gate::None:
      y = options_.act(y);
      break;
    case Gate::First:
      y = options_.act(half(0)) * half(1);
      break;
    case Gate::Last:
      y = half(0) * options_.act(half(1));
      break;
    case Gate::Split:
      y = options_.act(y) * fc1_x_->forward(x);
      break;
  }
  return fc2_->forward(norm_ ? norm_->forward(y) : y);
}

void MlpImpl::init_gate() {
  if (options_.gate == Gate::None) {
    return;
  }
  const torch::NoGradGuard no_grad;
  const auto gate = [&](const Tensor& t) { return options_.gate == Gate::Split ? t : t.chunk(2)[1]; };
  gate(fc1_->weight).normal_(0, 1e-6);
  if (options_.bias) {
    gate(fc1_->bias).fill_(1);
  }
}

nn::Linear linear(int64_t in, int64_t out, bool bias) {
  return nn::Linear(nn::LinearOptions(in, out).bias(bias));
}

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.unflatten(2, {heads, -1}).transpose(1, 2);
}

Tensor merge_heads(const Tensor& x) {
  return x.transpose(1, 2).flatten(2);
}

void init_token_layers(nn::Module& module) {
  module.apply([](nn::Module& m) {
    if (auto* layer = m.as<nn::LinearImpl>()) {
      trunc_normal_(layer->weight);
      if (layer->bias.defined()) {
        nn::init::zeros_(layer->bias);
      }
    }
  });
  module.apply([](nn::Module& m) {
    if (auto* mlp = m.as<MlpImpl>()) {
      mlp->init_gate();
    }
  });
}

void trunc_normal_tf_(const Tensor& weight, double std) {
  const torch::NoGradGuard no_grad;
  const double tail = std::erf(std::sqrt(2.)); // of two deviations
  weight.uniform_(-tail, tail).erfinv_().mul_(std::sqrt(2.) * std);
}

Tensor resample_position_embedding(const Tensor& embedding, int64_t prefix_tokens, int64_t rows, int64_t columns) {
  const int64_t tokens = embedding.size(1) - prefix_tokens;
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(tokens))));
  if (rows == side && columns == side) {
    return embedding;
  }
  const auto grid = embedding.narrow(1, prefix_tokens, tokens).to(torch::kFloat).unflatten(1, {side, side});
  const auto resampled =
      at::_upsample_bicubic2d_aa(grid.permute({0, 3, 1, 2}), {rows, columns}, /*align_corners=*/false);
  const auto patches = resampled.flatten(2).transpose(1, 2).to(embedding.scalar_type());
  return prefix_tokens > 0 ? at::cat({embedding.narrow(1, 0, prefix_tokens), patches}, 1) : patches;
}

} // namespace barlow
