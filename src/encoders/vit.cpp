// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/vit.h>

#include <cmath>

#include "registry.h"
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

EncoderInfo describe(const std::string& name, const Config& config, const EncoderOptions& options) {
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
    : SegmentedEncoderImpl(describe(name, config, options)),
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

void add_vits(EncoderRegistry& registry) {
  using enum Config::Act;
  using enum Config::Pool;
  using Config::Block::Parallel, Config::Block::PostNorm, Config::Block::Twin;
  using Config::Gate::Packed, Config::Gate::Split;
  using PixelStats::Clip, PixelStats::Inception, PixelStats::Unit;
  constexpr Config::Shape kTiny{192, 12, 3}, kLittle{320, 14, 5, 1792}, kSmall{384, 12, 6}, kMedium{512, 12, 8},
      kMediumd{512, 20, 8}, kBetwixt{640, 12, 10}, kBase{768, 12, 12}, kSo150m2{832, 21, 13, 2176},
      kBase896{896, 12, 14}, kSo150m{896, 18, 14, 2304}, kAimv2Large{1024, 24, 8, 2816}, kLarge{1024, 24, 16},
      kSo400m{1152, 27, 16, 4304}, kHuge{1280, 32, 16}, kGiant{1408, 40, 16, 6144}, kAimv2Huge{1536, 24, 12, 4096},
      kGiantopt{1536, 40, 16}, kGiant1536{1536, 40, 24, 8192}, kGigantic{1664, 48, 16, 8192},
      kAimv21b{2048, 24, 16, 5632}, kAimv23b{3072, 24, 24, 8192};
  // Source: Fini et al., "Multimodal Autoregressive Pre-training of Large Vision Encoders", 2024.
  const auto aim = [](const Config::Shape& shape, int64_t size) {
    return Config{
        .shape = shape,
        .patch = 14,
        .pool = Mean,
        .class_token = false,
        .fc_norm = false,
        .embed_norm = true,
        .rms_norm = true,
        .eps = 1e-5,
        .gate = Split,
        .act = SiLU,
        .qkv_bias = false,
        .proj_bias = false,
        .input = {size, Clip}};
  };
  add_family<VisionTransformerImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<Config>>{
          // clang-format off
          {"aimv2_1b_patch14_224", aim(kAimv21b, 224)},
          {"aimv2_1b_patch14_336", aim(kAimv21b, 336)},
          {"aimv2_1b_patch14_448", aim(kAimv21b, 448)},
          {"aimv2_3b_patch14_224", aim(kAimv23b, 224)},
          {"aimv2_3b_patch14_336", aim(kAimv23b, 336)},
          {"aimv2_3b_patch14_448", aim(kAimv23b, 448)},
          {"aimv2_huge_patch14_224", aim(kAimv2Huge, 224)},
          {"aimv2_huge_patch14_336", aim(kAimv2Huge, 336)},
          {"aimv2_huge_patch14_448", aim(kAimv2Huge, 448)},
          {"aimv2_large_patch14_224", aim(kAimv2Large, 224)},
          {"aimv2_large_patch14_336", aim(kAimv2Large, 336)},
          {"aimv2_large_patch14_448", aim(kAimv2Large, 448)},
          {"beit3_base_patch16_224", {.shape = kBase, .pool = Mean, .eps = 1e-5, .inner_norm = true}},
          {"beit3_giant_patch14_224", {.shape = kGiant, .patch = 14, .pool = Mean, .eps = 1e-5, .inner_norm = true}},
          {"beit3_giant_patch14_336", {.shape = kGiant, .patch = 14, .pool = Mean, .eps = 1e-5, .inner_norm = true, .input = {336}}},
          {"beit3_large_patch16_224", {.shape = kLarge, .pool = Mean, .eps = 1e-5, .inner_norm = true}},
          {"eva_large_patch14_196", {.shape = kLarge, .patch = 14, .pool = Mean, .input = {196, Clip}}},
          {"eva_large_patch14_336", {.shape = kLarge, .patch = 14, .pool = Mean, .input = {336, Clip}}},
          {"flexivit_base", {.shape = kBase, .embed_prefix = false, .input = {240, Inception}}},
          {"flexivit_large", {.shape = kLarge, .embed_prefix = false, .input = {240, Inception}}},
          {"flexivit_small", {.shape = kSmall, .embed_prefix = false, .input = {240, Inception}}},
          {"test_vit", {.shape = {64, 6, 2, 192}, .input = {160, Inception}}},
          {"test_vit2", {.shape = {64, 8, 2, 192}, .pool = Mean, .class_token = false, .registers = 1, .layer_scale = 1e-5, .input = {160, Inception}}},
          {"test_vit3", {.shape = {96, 9, 3, 192}, .pool = Attention, .class_token = false, .registers = 1, .pool_prefix = true, .layer_scale = 1e-5, .input = {160, Inception}}},
          {"test_vit4", {.shape = {96, 9, 3, 288}, .pool = Mean, .class_token = false, .registers = 1, .rms_norm = true, .layer_scale = 1e-5, .input = {160, Inception}}},
          {"vit_base_patch8_224", {.shape = kBase, .patch = 8, .input = {224, Inception}}},
          {"vit_base_patch14_dinov2", {.shape = kBase, .patch = 14, .layer_scale = 1e-5, .input = {518}}},
          {"vit_base_patch14_reg1_tipsv2", {.shape = kBase, .patch = 14, .registers = 1, .embed_prefix = false, .layer_scale = 1, .input = {448, Unit}}},
          {"vit_base_patch14_reg4_dinov2", {.shape = kBase, .patch = 14, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {518}}},
          {"vit_base_patch16_18x2_224", {.shape = {768, 18, 12}, .block = Twin, .layer_scale = 1e-5, .input = {224, Inception}}},
          {"vit_base_patch16_224", {.shape = kBase, .input = {224, Inception}}},
          {"vit_base_patch16_224_miil", {.shape = kBase, .qkv_bias = false, .input = {224, Unit}}},
          {"vit_base_patch16_384", {.shape = kBase, .input = {384, Inception}}},
          {"vit_base_patch16_clip_224", {.shape = kBase, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_base_patch16_clip_384", {.shape = kBase, .pre_norm = true, .eps = 1e-5, .input = {384, Clip}}},
          {"vit_base_patch16_clip_quickgelu_224", {.shape = kBase, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {224, Clip}}},
          {"vit_base_patch16_gap_224", {.shape = {768, 12, 16}, .pool = Mean, .class_token = false, .fc_norm = false, .input = {224, Inception}}},
          {"vit_base_patch16_plus_240", {.shape = kBase896, .layer_scale = 1e-5, .input = {240, Inception}}},
          {"vit_base_patch16_plus_clip_240", {.shape = kBase896, .pre_norm = true, .eps = 1e-5, .input = {240, Clip}}},
          {"vit_base_patch16_radio_v3", {.shape = kBase, .registers = 7, .embed_prefix = false, .final_norm = false, .layer_scale = 1e-5, .input = {512, Clip}}},
          {"vit_base_patch16_reg4_gap_256", {.shape = kBase, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .input = {256, Inception}}},
          {"vit_base_patch16_rpn_224", {.shape = kBase, .pool = Mean, .class_token = false, .block = PostNorm, .qkv_bias = false, .layer_scale = 1e-5, .input = {224, Inception}}},
          {"vit_base_patch16_siglip_224", {.shape = kBase, .pool = Attention, .class_token = false, .input = {224, Inception}}},
          {"vit_base_patch16_siglip_256", {.shape = kBase, .pool = Attention, .class_token = false, .input = {256, Inception}}},
          {"vit_base_patch16_siglip_384", {.shape = kBase, .pool = Attention, .class_token = false, .input = {384, Inception}}},
          {"vit_base_patch16_siglip_512", {.shape = kBase, .pool = Attention, .class_token = false, .input = {512, Inception}}},
          {"vit_base_patch16_siglip_gap_224", {.shape = kBase, .pool = Mean, .class_token = false, .fc_norm = false, .input = {224, Inception}}},
          {"vit_base_patch16_siglip_gap_256", {.shape = kBase, .pool = Mean, .class_token = false, .fc_norm = false, .input = {256, Inception}}},
          {"vit_base_patch16_siglip_gap_384", {.shape = kBase, .pool = Mean, .class_token = false, .fc_norm = false, .input = {384, Inception}}},
          {"vit_base_patch16_siglip_gap_512", {.shape = kBase, .pool = Mean, .class_token = false, .fc_norm = false, .input = {512, Inception}}},
          {"vit_base_patch16_xp_224", {.shape = kBase, .embed_prefix = false, .pre_norm = true, .rms_norm = true, .block = Parallel, .qkv_bias = false, .qk_norm = true, .input = {224, Inception}}},
          {"vit_base_patch32_224", {.shape = kBase, .patch = 32, .input = {224, Inception}}},
          {"vit_base_patch32_384", {.shape = kBase, .patch = 32, .input = {384, Inception}}},
          {"vit_base_patch32_clip_224", {.shape = kBase, .patch = 32, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_base_patch32_clip_256", {.shape = kBase, .patch = 32, .pre_norm = true, .eps = 1e-5, .input = {256, Clip}}},
          {"vit_base_patch32_clip_384", {.shape = kBase, .patch = 32, .pre_norm = true, .eps = 1e-5, .input = {384, Clip}}},
          {"vit_base_patch32_clip_448", {.shape = kBase, .patch = 32, .pre_norm = true, .eps = 1e-5, .input = {448, Clip}}},
          {"vit_base_patch32_clip_quickgelu_224", {.shape = kBase, .patch = 32, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {224, Clip}}},
          {"vit_base_patch32_plus_256", {.shape = kBase896, .patch = 32, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_base_patch32_siglip_256", {.shape = kBase, .patch = 32, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {256, Inception}}},
          {"vit_base_patch32_siglip_gap_256", {.shape = kBase, .patch = 32, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {256, Inception}}},
          {"vit_betwixt_patch16_gap_256", {.shape = kBetwixt, .pool = Mean, .class_token = false, .fc_norm = false, .qkv_bias = false, .layer_scale = 1e-6, .input = {256, Inception}}},
          {"vit_betwixt_patch16_reg1_gap_256", {.shape = kBetwixt, .pool = Mean, .class_token = false, .registers = 1, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_betwixt_patch16_reg4_gap_256", {.shape = kBetwixt, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_betwixt_patch16_reg4_gap_384", {.shape = kBetwixt, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {384, Inception}}},
          {"vit_betwixt_patch32_clip_224", {.shape = kBetwixt, .patch = 32, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_giant_patch14_224", {.shape = kGiant, .patch = 14, .input = {224, Inception}}},
          {"vit_giant_patch14_clip_224", {.shape = kGiant, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_giant_patch14_dinov2", {.shape = kGiant1536, .patch = 14, .gate = Packed, .act = SiLU, .layer_scale = 1e-5, .input = {518}}},
          {"vit_giant_patch14_reg1_tipsv2", {.shape = kGiant1536, .patch = 14, .registers = 1, .embed_prefix = false, .gate = Packed, .act = SiLU, .layer_scale = 1, .input = {448, Unit}}},
          {"vit_giant_patch14_reg4_dinov2", {.shape = kGiant1536, .patch = 14, .registers = 4, .embed_prefix = false, .gate = Packed, .act = SiLU, .layer_scale = 1e-5, .input = {518}}},
          {"vit_giant_patch16_gap_224", {.shape = kGiant, .pool = Mean, .class_token = false, .fc_norm = false}},
          {"vit_giant_patch16_radio_v3", {.shape = {1536, 40, 24}, .registers = 7, .embed_prefix = false, .final_norm = false, .input = {512, Clip}}},
          {"vit_giantopt_patch16_siglip_256", {.shape = kGiantopt, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {256, Inception}}},
          {"vit_giantopt_patch16_siglip_384", {.shape = kGiantopt, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {384, Inception}}},
          {"vit_giantopt_patch16_siglip_gap_256", {.shape = kGiantopt, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {256, Inception}}},
          {"vit_giantopt_patch16_siglip_gap_384", {.shape = kGiantopt, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {384, Inception}}},
          {"vit_gigantic_patch14_224", {.shape = kGigantic, .patch = 14, .input = {224, Inception}}},
          {"vit_gigantic_patch14_clip_224", {.shape = kGigantic, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_gigantic_patch14_clip_378", {.shape = kGigantic, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {378, Clip}}},
          {"vit_gigantic_patch14_clip_quickgelu_224", {.shape = kGigantic, .patch = 14, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {224, Clip}}},
          {"vit_huge_patch14_224", {.shape = kHuge, .patch = 14, .input = {224, Inception}}},
          {"vit_huge_patch14_clip_224", {.shape = kHuge, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_huge_patch14_clip_336", {.shape = kHuge, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {336, Clip}}},
          {"vit_huge_patch14_clip_378", {.shape = kHuge, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {378, Clip}}},
          {"vit_huge_patch14_clip_quickgelu_224", {.shape = kHuge, .patch = 14, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {224, Clip}}},
          {"vit_huge_patch14_clip_quickgelu_378", {.shape = kHuge, .patch = 14, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {378, Clip}}},
          {"vit_huge_patch14_gap_224", {.shape = kHuge, .patch = 14, .pool = Mean, .class_token = false, .fc_norm = false}},
          {"vit_huge_patch14_xp_224", {.shape = kHuge, .patch = 14, .embed_prefix = false, .pre_norm = true, .rms_norm = true, .block = Parallel, .qkv_bias = false, .qk_norm = true, .input = {224, Inception}}},
          {"vit_huge_patch16_gap_448", {.shape = kHuge, .pool = Mean, .class_token = false, .fc_norm = false, .input = {448}}},
          {"vit_huge_patch16_radio_v3", {.shape = kHuge, .registers = 7, .embed_prefix = false, .final_norm = false, .input = {512, Clip}}},
          {"vit_huge_patch16_radio_v4", {.shape = kHuge, .registers = 9, .embed_prefix = false, .final_norm = false, .input = {512, Clip}}},
          {"vit_intern300m_patch14_448", {.shape = kLarge, .patch = 14, .final_norm = false, .layer_scale = 0.1, .input = {448}}},
          {"vit_large_patch14_224", {.shape = kLarge, .patch = 14, .input = {224, Inception}}},
          {"vit_large_patch14_clip_224", {.shape = kLarge, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {224, Inception}}},
          {"vit_large_patch14_clip_336", {.shape = kLarge, .patch = 14, .pre_norm = true, .eps = 1e-5, .input = {336, Inception}}},
          {"vit_large_patch14_clip_quickgelu_224", {.shape = kLarge, .patch = 14, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {224, Clip}}},
          {"vit_large_patch14_clip_quickgelu_336", {.shape = kLarge, .patch = 14, .pre_norm = true, .eps = 1e-5, .act = QuickGELU, .input = {336, Clip}}},
          {"vit_large_patch14_dinov2", {.shape = kLarge, .patch = 14, .layer_scale = 1e-5, .input = {518}}},
          {"vit_large_patch14_reg1_tipsv2", {.shape = kLarge, .patch = 14, .registers = 1, .embed_prefix = false, .layer_scale = 1, .input = {448, Unit}}},
          {"vit_large_patch14_reg4_dinov2", {.shape = kLarge, .patch = 14, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {518}}},
          {"vit_large_patch14_xp_224", {.shape = kLarge, .patch = 14, .embed_prefix = false, .pre_norm = true, .rms_norm = true, .block = Parallel, .qkv_bias = false, .qk_norm = true, .input = {224, Inception}}},
          {"vit_large_patch16_224", {.shape = kLarge, .input = {224, Inception}}},
          {"vit_large_patch16_384", {.shape = kLarge, .input = {384, Inception}}},
          {"vit_large_patch16_radio_v3", {.shape = kLarge, .registers = 7, .embed_prefix = false, .final_norm = false, .layer_scale = 1e-5, .input = {512, Clip}}},
          {"vit_large_patch16_siglip_256", {.shape = kLarge, .pool = Attention, .class_token = false, .input = {256, Inception}}},
          {"vit_large_patch16_siglip_384", {.shape = kLarge, .pool = Attention, .class_token = false, .input = {384, Inception}}},
          {"vit_large_patch16_siglip_512", {.shape = kLarge, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {512, Inception}}},
          {"vit_large_patch16_siglip_gap_256", {.shape = kLarge, .pool = Mean, .class_token = false, .fc_norm = false, .input = {256, Inception}}},
          {"vit_large_patch16_siglip_gap_384", {.shape = kLarge, .pool = Mean, .class_token = false, .fc_norm = false, .input = {384, Inception}}},
          {"vit_large_patch16_siglip_gap_512", {.shape = kLarge, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {512, Inception}}},
          {"vit_large_patch32_224", {.shape = kLarge, .patch = 32, .input = {224, Inception}}},
          {"vit_large_patch32_384", {.shape = kLarge, .patch = 32, .input = {384, Inception}}},
          {"vit_little_patch16_reg1_gap_256", {.shape = kLittle, .pool = Mean, .class_token = false, .registers = 1, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_little_patch16_reg4_gap_256", {.shape = kLittle, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_medium_patch16_clip_224", {.shape = kMedium, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_medium_patch16_gap_240", {.shape = kMedium, .pool = Mean, .class_token = false, .fc_norm = false, .qkv_bias = false, .layer_scale = 1e-6, .input = {240, Inception}}},
          {"vit_medium_patch16_gap_256", {.shape = kMedium, .pool = Mean, .class_token = false, .fc_norm = false, .qkv_bias = false, .layer_scale = 1e-6, .input = {256, Inception}}},
          {"vit_medium_patch16_gap_384", {.shape = kMedium, .pool = Mean, .class_token = false, .fc_norm = false, .qkv_bias = false, .layer_scale = 1e-6, .input = {384, Inception}}},
          {"vit_medium_patch16_reg1_gap_256", {.shape = kMedium, .pool = Mean, .class_token = false, .registers = 1, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_medium_patch16_reg4_gap_256", {.shape = kMedium, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_medium_patch32_clip_224", {.shape = kMedium, .patch = 32, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"vit_mediumd_patch16_reg4_gap_256", {.shape = kMediumd, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_mediumd_patch16_reg4_gap_384", {.shape = kMediumd, .pool = Mean, .class_token = false, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {384, Inception}}},
          {"vit_pwee_patch16_reg1_gap_256", {.shape = {256, 16, 4, 1280}, .pool = Mean, .class_token = false, .registers = 1, .embed_prefix = false, .block = Parallel, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_small_patch8_224", {.shape = kSmall, .patch = 8}},
          {"vit_small_patch14_dinov2", {.shape = kSmall, .patch = 14, .layer_scale = 1e-5, .input = {518}}},
          {"vit_small_patch14_reg4_dinov2", {.shape = kSmall, .patch = 14, .registers = 4, .embed_prefix = false, .layer_scale = 1e-5, .input = {518}}},
          {"vit_small_patch16_18x2_224", {.shape = {384, 18, 6}, .block = Twin, .layer_scale = 1e-5, .input = {224, Inception}}},
          {"vit_small_patch16_36x1_224", {.shape = {384, 36, 6}, .layer_scale = 1e-5, .input = {224, Inception}}},
          {"vit_small_patch16_224", {.shape = kSmall, .input = {224, Inception}}},
          {"vit_small_patch16_384", {.shape = kSmall, .input = {384, Inception}}},
          {"vit_small_patch32_224", {.shape = kSmall, .patch = 32, .input = {224, Inception}}},
          {"vit_small_patch32_384", {.shape = kSmall, .patch = 32, .input = {384, Inception}}},
          {"vit_so150m2_patch16_reg1_gap_256", {.shape = kSo150m2, .pool = Mean, .class_token = false, .registers = 1, .qkv_bias = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_so150m2_patch16_reg1_gap_384", {.shape = kSo150m2, .pool = Mean, .class_token = false, .registers = 1, .qkv_bias = false, .layer_scale = 1e-5, .input = {384, Inception}}},
          {"vit_so150m2_patch16_reg1_gap_448", {.shape = kSo150m2, .pool = Mean, .class_token = false, .registers = 1, .qkv_bias = false, .layer_scale = 1e-5, .input = {448, Inception}}},
          {"vit_so150m_patch16_reg4_gap_256", {.shape = kSo150m, .pool = Mean, .class_token = false, .registers = 4, .fc_norm = false, .input = {256, Inception}}},
          {"vit_so150m_patch16_reg4_gap_384", {.shape = kSo150m, .pool = Mean, .class_token = false, .registers = 4, .fc_norm = false, .input = {384, Inception}}},
          {"vit_so150m_patch16_reg4_map_256", {.shape = kSo150m, .pool = Attention, .class_token = false, .registers = 4, .input = {256, Inception}}},
          {"vit_so400m_patch14_reg1_tipsv2", {.shape = kSo400m, .patch = 14, .registers = 1, .embed_prefix = false, .layer_scale = 1, .input = {448, Unit}}},
          {"vit_so400m_patch14_siglip_224", {.shape = kSo400m, .patch = 14, .pool = Attention, .class_token = false, .input = {224, Inception}}},
          {"vit_so400m_patch14_siglip_378", {.shape = kSo400m, .patch = 14, .pool = Attention, .class_token = false, .input = {378, Inception}}},
          {"vit_so400m_patch14_siglip_384", {.shape = kSo400m, .patch = 14, .pool = Attention, .class_token = false, .input = {384, Inception}}},
          {"vit_so400m_patch14_siglip_gap_224", {.shape = kSo400m, .patch = 14, .pool = Mean, .class_token = false, .fc_norm = false, .input = {224, Inception}}},
          {"vit_so400m_patch14_siglip_gap_378", {.shape = kSo400m, .patch = 14, .pool = Mean, .class_token = false, .fc_norm = false, .input = {378, Inception}}},
          {"vit_so400m_patch14_siglip_gap_384", {.shape = kSo400m, .patch = 14, .pool = Mean, .class_token = false, .fc_norm = false, .input = {384, Inception}}},
          {"vit_so400m_patch14_siglip_gap_448", {.shape = kSo400m, .patch = 14, .pool = Mean, .class_token = false, .fc_norm = false, .input = {448, Inception}}},
          {"vit_so400m_patch14_siglip_gap_896", {.shape = kSo400m, .patch = 14, .pool = Mean, .class_token = false, .fc_norm = false, .input = {896, Inception}}},
          {"vit_so400m_patch16_radio_v4", {.shape = kSo400m, .registers = 9, .embed_prefix = false, .final_norm = false, .input = {512, Clip}}},
          {"vit_so400m_patch16_siglip_256", {.shape = kSo400m, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {256, Inception}}},
          {"vit_so400m_patch16_siglip_384", {.shape = kSo400m, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {384, Inception}}},
          {"vit_so400m_patch16_siglip_512", {.shape = kSo400m, .pool = Attention, .class_token = false, .act = GELUTanh, .input = {512, Inception}}},
          {"vit_so400m_patch16_siglip_gap_256", {.shape = kSo400m, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {256, Inception}}},
          {"vit_so400m_patch16_siglip_gap_384", {.shape = kSo400m, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {384, Inception}}},
          {"vit_so400m_patch16_siglip_gap_512", {.shape = kSo400m, .pool = Mean, .class_token = false, .fc_norm = false, .act = GELUTanh, .input = {512, Inception}}},
          {"vit_tiny_patch16_224", {.shape = kTiny, .input = {224, Inception}}},
          {"vit_tiny_patch16_384", {.shape = kTiny, .input = {384, Inception}}},
          {"vit_wee_patch16_reg1_gap_256", {.shape = {256, 14, 4, 1280}, .pool = Mean, .class_token = false, .registers = 1, .embed_prefix = false, .layer_scale = 1e-5, .input = {256, Inception}}},
          {"vit_xsmall_patch16_clip_224", {.shape = {256, 10, 4}, .pre_norm = true, .eps = 1e-5, .input = {224, Clip}}},
          {"deit3_base_patch16_224", {.shape = kBase, .embed_prefix = false, .layer_scale = 1e-6}},
          {"deit3_base_patch16_384", {.shape = kBase, .embed_prefix = false, .layer_scale = 1e-6, .input = {384}}},
          {"deit3_huge_patch14_224", {.shape = kHuge, .patch = 14, .embed_prefix = false, .layer_scale = 1e-6}},
          {"deit3_large_patch16_224", {.shape = kLarge, .embed_prefix = false, .layer_scale = 1e-6}},
          {"deit3_large_patch16_384", {.shape = kLarge, .embed_prefix = false, .layer_scale = 1e-6, .input = {384}}},
          {"deit3_medium_patch16_224", {.shape = kMedium, .embed_prefix = false, .layer_scale = 1e-6}},
          {"deit3_small_patch16_224", {.shape = kSmall, .embed_prefix = false, .layer_scale = 1e-6}},
          {"deit3_small_patch16_384", {.shape = kSmall, .embed_prefix = false, .layer_scale = 1e-6, .input = {384}}},
          {"deit_base_distilled_patch16_224", {.shape = kBase, .distilled = true}},
          {"deit_base_distilled_patch16_384", {.shape = kBase, .distilled = true, .input = {384}}},
          {"deit_base_patch16_224", {.shape = kBase}},
          {"deit_base_patch16_384", {.shape = kBase, .input = {384}}},
          {"deit_small_distilled_patch16_224", {.shape = kSmall, .distilled = true}},
          {"deit_small_patch16_224", {.shape = kSmall}},
          {"deit_tiny_distilled_patch16_224", {.shape = kTiny, .distilled = true}},
          {"deit_tiny_patch16_224", {.shape = kTiny}},
          // clang-format on
      });
}

} // namespace barlow
