// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/vit.h>

#include <cmath>

#include "tokens.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Config = VisionTransformerConfig;

int64_t hidden_width(const Config& config) {
  return config.shape.hidden > 0 ? config.shape.hidden : 4 * config.shape.width;
}

TokenNormImpl::Options norm_options(const Config& config) {
  return {config.eps, config.rms_norm ? TokenNormImpl::Kind::Rms : TokenNormImpl::Kind::Layer};
}

TokenNorm norm(const Config& config, int64_t width) {
  return TokenNorm(width, norm_options(config));
}

Activation activation(Config::Act act) {
  switch (act) {
    case Config::Act::GELU:
      return [](const Tensor& x) { return at::gelu(x); };
    case Config::Act::GELUTanh:
      return [](const Tensor& x) { return at::gelu(x, "tanh"); };
    case Config::Act::QuickGELU:
      return [](const Tensor& x) { return x * at::sigmoid(1.702 * x); };
    case Config::Act::SiLU:
      return [](const Tensor& x) { return at::silu(x); };
  }
  TORCH_INTERNAL_ASSERT(false, "an activation without a case");
}

Mlp mlp(const Config& config) {
  using Gate = MlpImpl::Gate;
  const auto gate = config.gate == Config::Gate::None ? Gate::None
      : config.gate == Config::Gate::Packed           ? Gate::First
                                                      : Gate::Split;
  MlpImpl::Options options{.act = activation(config.act), .gate = gate, .bias = config.proj_bias};
  if (config.inner_norm) {
    options.norm = norm_options(config);
  }
  return Mlp(config.shape.width, hidden_width(config), options);
}

// x * gamma, or x. Source: Touvron et al., "Going deeper with Image Transformers", 2021.
class LayerScaleImpl : public nn::Module {
 public:
  LayerScaleImpl(int64_t width, double initial) {
    if (initial != 0) {
      gamma_ = register_parameter("gamma", torch::full({width}, initial));
    }
  }

  Tensor forward(const Tensor& x) {
    return gamma_.defined() ? x * gamma_ : x;
  }

 private:
  Tensor gamma_;
};
TORCH_MODULE(LayerScale);

class AttentionImpl : public nn::Module {
 public:
  explicit AttentionImpl(const Config& config) : heads_(config.shape.heads) {
    const int64_t width = config.shape.width;
    qkv_ = register_module("qkv", linear(width, 3 * width, config.qkv_bias));
    if (config.inner_norm) {
      norm_ = register_module("norm", norm(config, width));
    }
    proj_ = register_module("proj", linear(width, width, config.proj_bias));
  }

  Tensor forward(const Tensor& x) {
    const auto qkv = qkv_->forward(x).chunk(3, -1);
    const auto y = merge_heads(
        at::scaled_dot_product_attention(
            split_heads(qkv[0], heads_), split_heads(qkv[1], heads_), split_heads(qkv[2], heads_)));
    return proj_->forward(norm_ ? norm_->forward(y) : y);
  }

 private:
  int64_t heads_;
  nn::Linear qkv_{nullptr}, proj_{nullptr};
  TokenNorm norm_{nullptr};
};
TORCH_MODULE(Attention);

// Attention, then the MLP; a norm before each, or after it (Liu et al., "Swin Transformer V2", 2021).
class BlockImpl : public nn::Module {
 public:
  BlockImpl(const Config& config, double drop) : post_norm_(config.block == Config::Block::PostNorm), drop_(drop) {
    add(config, "1", "attn", nn::AnyModule(Attention(config)));
    add(config, "2", "mlp", nn::AnyModule(mlp(config)));
  }

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    for (auto& part : parts_) {
      const auto change = post_norm_ ? part.norm->forward(part.core.forward(y))
                                     : part.scale->forward(part.core.forward(part.norm->forward(y)));
      y = y + drop_path(change, drop_, is_training());
    }
    return y;
  }

 private:
  struct Part {
    nn::AnyModule core;
    TokenNorm norm{nullptr};
    LayerScale scale{nullptr};
  };

  void add(const Config& config, const std::string& number, const std::string& name, nn::AnyModule core) {
    Part part{
        std::move(core),
        norm(config, config.shape.width),
        LayerScale(config.shape.width, post_norm_ ? 0 : config.layer_scale)};
    if (post_norm_) {
      register_module(name, part.core.ptr());
      register_module("norm" + number, part.norm);
      if (config.layer_scale != 0) {
        nn::init::constant_(part.norm->weight, config.layer_scale);
      }
    } else {
      register_module("norm" + number, part.norm);
      register_module(name, part.core.ptr());
      register_module("ls" + number, part.scale);
    }
    parts_.push_back(std::move(part));
  }

  bool post_norm_;
  double drop_;
  std::vector<Part> parts_;
};
TORCH_MODULE(Block);

// Two attentions side by side, then two MLPs.
// Source: Touvron et al., "Three things everyone should know about Vision Transformers", 2022.
class TwinBlockImpl : public nn::Module {
 public:
  TwinBlockImpl(const Config& config, double drop) : drop_(drop) {
    const auto branch = [&](const std::string& name, nn::AnyModule core) {
      Sequential row;
      row->push_back("norm", norm(config, config.shape.width));
      row->push_back(name, std::move(core));
      row->push_back("ls", LayerScale(config.shape.width, config.layer_scale));
      return row;
    };
    const auto pair = [&](const std::string& name, const std::vector<Sequential>& branches) {
      pairs_.push_back(branches);
      register_module(name, Sequential(branches[0], branches[1]));
    };
    const auto attention = [&] { return branch("attn", nn::AnyModule(Attention(config))); };
    const auto perceptron = [&] { return branch("mlp", nn::AnyModule(mlp(config))); };
    pair("attns", {attention(), attention()});
    pair("ffns", {perceptron(), perceptron()});
  }

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    for (auto& pair : pairs_) {
      const auto change = [&](Sequential& branch) { return drop_path(branch->forward(y), drop_, is_training()); };
      y = y + (change(pair[0]) + change(pair[1]));
    }
    return y;
  }

 private:
  double drop_;
  std::vector<std::vector<Sequential>> pairs_;
};
TORCH_MODULE(TwinBlock);

// Attention and MLP side by side behind one norm.
// Source: Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023.
class ParallelBlockImpl : public nn::Module {
 public:
  ParallelBlockImpl(const Config& config, double drop)
      : heads_(config.shape.heads), hidden_(hidden_width(config)), drop_(drop), act_(activation(config.act)) {
    const int64_t width = config.shape.width;
    if (!config.qkv_bias) {
      mlp_bias_ = register_parameter("mlp_bias", torch::zeros({hidden_}));
    }
    in_norm_ = register_module("in_norm", norm(config, width));
    in_proj_ = register_module("in_proj", linear(width, hidden_ + 3 * width, config.qkv_bias));
    if (config.qk_norm) {
      q_norm_ = register_module("q_norm", norm(config, width / heads_));
      k_norm_ = register_module("k_norm", norm(config, width / heads_));
    }
    attn_out_proj_ = register_module("attn_out_proj", linear(width, width, config.proj_bias));
    mlp_out_proj_ = register_module("mlp_out_proj", linear(hidden_, width, config.proj_bias));
    scale_ = register_module("ls", LayerScale(width, config.layer_scale));
  }

  Tensor forward(const Tensor& x) {
    const int64_t width = x.size(2);
    const auto parts = in_proj_->forward(in_norm_->forward(x)).split_with_sizes({hidden_, width, width, width}, -1);
    auto q = split_heads(parts[1], heads_), k = split_heads(parts[2], heads_);
    if (q_norm_) {
      q = q_norm_->forward(q);
      k = k_norm_->forward(k);
    }
    const auto attended = at::scaled_dot_product_attention(q, k, split_heads(parts[3], heads_));
    const auto hidden = act_(mlp_bias_.defined() ? parts[0] + mlp_bias_ : parts[0]);
    const auto change = attn_out_proj_->forward(merge_heads(attended)) + mlp_out_proj_->forward(hidden);
    return x + drop_path(scale_->forward(change), drop_, is_training());
  }

 private:
  int64_t heads_, hidden_;
  double drop_;
  Activation act_;
  Tensor mlp_bias_;
  TokenNorm in_norm_{nullptr}, q_norm_{nullptr}, k_norm_{nullptr};
  nn::Linear in_proj_{nullptr}, attn_out_proj_{nullptr}, mlp_out_proj_{nullptr};
  LayerScale scale_{nullptr};
};
TORCH_MODULE(ParallelBlock);

// A learned query attends to the tokens; then an MLP. Source: Zhai et al., "Scaling Vision Transformers", 2021.
class AttentionPoolImpl : public nn::Module {
 public:
  explicit AttentionPoolImpl(const Config& config) : heads_(config.shape.heads) {
    const int64_t width = config.shape.width;
    latent_ = register_parameter("latent", torch::zeros({1, 1, width}));
    q_ = register_module("q", linear(width, width));
    kv_ = register_module("kv", linear(width, 2 * width));
    proj_ = register_module("proj", linear(width, width));
    norm_ = register_module("norm", norm(config, width));
    mlp_ = register_module("mlp", Mlp(width, hidden_width(config), MlpImpl::Options{.act = activation(config.act)}));
    trunc_normal_tf_(latent_, 1 / std::sqrt(static_cast<double>(width)));
  }

  Tensor forward(const Tensor& x) {
    const auto kv = kv_->forward(x).chunk(2, -1);
    const auto q = q_->forward(latent_).expand({x.size(0), -1, -1});
    const auto y = proj_->forward(merge_heads(
        at::scaled_dot_product_attention(
            split_heads(q, heads_), split_heads(kv[0], heads_), split_heads(kv[1], heads_))));
    return (y + mlp_->forward(norm_->forward(y))).select(1, 0);
  }

 private:
  int64_t heads_;
  Tensor latent_;
  nn::Linear q_{nullptr}, kv_{nullptr}, proj_{nullptr};
  TokenNorm norm_{nullptr};
  Mlp mlp_{nullptr};
};
TORCH_MODULE(AttentionPool);

nn::AnyModule block(const Config& config, double drop) {
  switch (config.block) {
    case Config::Block::Plain:
    case Config::Block::PostNorm:
      return nn::AnyModule(Block(config, drop));
    case Config::Block::Parallel:
      return nn::AnyModule(ParallelBlock(config, drop));
    case Config::Block::Twin:
      return nn::AnyModule(TwinBlock(config, drop));
  }
  TORCH_INTERNAL_ASSERT(false, "a kind of block without a case");
}

std::optional<PoolingType> pooling(const std::string& name, const Config& config, const EncoderOptions& options) {
  using enum PoolingType;
  if (config.distilled) { // its features are those of the two tokens
    return choose_pooling(options, name, std::nullopt, {});
  }
  const auto own = config.pool == Config::Pool::Mean ? std::optional(Avg) : std::nullopt;
  return choose_pooling(options, name, own, {Avg, AvgMax, Max});
}

EncoderInfo info_of(const std::string& name, const Config& config, const EncoderOptions& options) {
  auto info = describe_encoder(name, options, config.shape.width, config.input);
  info.smallest_size = config.patch;
  info.size_multiple = config.input.size % config.patch == 0 ? config.patch : 1; // 1: a border is left out
  info.first_conv = "patch_embed.proj";
  info.classifier = "head";
  return info;
}

} // namespace

VisionTransformerImpl::VisionTransformerImpl(
    const std::string& name,
    const VisionTransformerConfig& config,
    const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(pooling(name, config, options)),
      distilled_(config.distilled),
      embed_prefix_(config.embed_prefix),
      pool_prefix_(config.pool_prefix),
      drop_rate_(options.drop_rate) {
  const int64_t width = config.shape.width, grid = config.input.size / config.patch;
  const auto token = [&](const char* key, int64_t count, double std) {
    prefix_.push_back(register_parameter(key, torch::empty({1, count, width})));
    prefix_tokens_ += count;
    trunc_normal_(prefix_.back(), std);
  };
  if (config.class_token) {
    token("cls_token", 1, 1e-6);
  }
  if (config.registers > 0) {
    token("reg_token", config.registers, 1e-6);
  }
  const int64_t embedded = config.embed_prefix ? prefix_tokens_ + (config.distilled ? 1 : 0) : 0;
  position_ = register_parameter("pos_embed", torch::empty({1, embedded + grid * grid, width}));
  trunc_normal_(position_);
  if (config.distilled) {
    token("dist_token", 1, 0.02);
  }

  const auto add = [&](const char* key, nn::AnyModule module) {
    register_module(key, module.ptr());
    return module;
  };
  const auto add_norm = [&](const char* key) { return add(key, nn::AnyModule(norm(config, width))); };
  const auto patch_norm = config.embed_norm ? std::optional(norm_options(config)) : std::nullopt;
  patch_embed_ =
      add("patch_embed", nn::AnyModule(PatchEmbed(options.n_in, width, config.patch, !config.pre_norm, patch_norm)));
  if (config.pre_norm) {
    norm_pre_ = add_norm("norm_pre");
  }
  blocks_ = register_module("blocks", Sequential());
  for (int64_t i = 0; i < config.shape.depth; ++i) {
    blocks_->push_back(block(config, drop_path_rate(options.drop_path_rate, i, config.shape.depth)));
  }
  const bool norm_after_pool = config.fc_norm.value_or(pool_.has_value());
  if (config.final_norm && !norm_after_pool) {
    norm_ = add_norm("norm");
  }
  if (config.pool == Config::Pool::Attention && !pool_) {
    attention_pool_ = add("attn_pool", nn::AnyModule(AttentionPool(config)));
  }
  if (config.final_norm && norm_after_pool) {
    fc_norm_ = add_norm("fc_norm");
  }
  init_token_layers(*this);
}

Tensor VisionTransformerImpl::embed(const Tensor& x) {
  const auto patches = patch_embed_.forward(x);
  const auto position =
      resample_position_embedding(position_, embed_prefix_ ? prefix_tokens_ : 0, patches.size(1), patches.size(2));
  auto y = patches.flatten(1, 2);
  if (!embed_prefix_) {
    y = y + position;
  }
  std::vector<Tensor> tokens;
  tokens.reserve(prefix_.size() + 1);
  for (const auto& token : prefix_) {
    tokens.push_back(token.expand({x.size(0), -1, -1}));
  }
  tokens.push_back(y);
  y = at::cat(tokens, 1);
  if (embed_prefix_) {
    y = y + position;
  }
  return norm_pre_.is_empty() ? y : norm_pre_.forward(y);
}

Tensor VisionTransformerImpl::pool(const Tensor& x) {
  if (distilled_) {
    return at::dropout(x.narrow(1, 0, 2), drop_rate_, is_training()).mean(1);
  }
  const auto pooled = [&] {
    const auto tokens = pool_prefix_ ? x : x.slice(1, prefix_tokens_);
    if (!pool_) {
      return attention_pool_.is_empty() ? x.select(1, 0) : attention_pool_.forward(tokens);
    }
    switch (*pool_) {
      case PoolingType::Avg:
        return tokens.mean(1);
      case PoolingType::Max:
        return tokens.amax(1);
      case PoolingType::AvgMax:
        return (tokens.amax(1) + tokens.mean(1)) * 0.5;
      default:
        TORCH_INTERNAL_ASSERT(false, "a pooling that choose_pooling should have refused");
    }
  }();
  return at::dropout(fc_norm_.is_empty() ? pooled : fc_norm_.forward(pooled), drop_rate_, is_training());
}

Tensor VisionTransformerImpl::adapt_weight(const std::string& name, const Tensor& weight) const {
  if (name != "pos_embed" || weight.dim() != 3 || weight.size(2) != position_.size(2)) {
    return weight;
  }
  const int64_t prefix = embed_prefix_ ? prefix_tokens_ : 0;
  const auto side = [&](const Tensor& embedding) {
    return std::lround(std::sqrt(static_cast<double>(std::max<int64_t>(embedding.size(1) - prefix, 0))));
  };
  if (side(weight) < 1 || side(weight) * side(weight) != weight.size(1) - prefix) {
    return weight; // no square grid; load_weights will say that the shape differs
  }
  const auto grid = side(position_);
  return resample_position_embedding(weight, prefix, grid, grid);
}

std::vector<Segment> VisionTransformerImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return embed(x); }}};
  append_segments(parts, "blocks", blocks_);
  parts.push_back({"pool", [this](const Tensor& x) { return pool(norm_.is_empty() ? x : norm_.forward(x)); }});
  return parts;
}

} // namespace barlow
