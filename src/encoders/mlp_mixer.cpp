// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/mlp_mixer.h>

#include <cmath>

#include "registry.h"
#include "tokens.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Config = MlpMixerConfig;

int64_t token_count(const Config& config) {
  const int64_t side = config.input.size / config.patch;
  return side * side;
}

int64_t times_width(const Config& config, double ratio) {
  return static_cast<int64_t>(static_cast<double>(config.width) * ratio);
}

TokenNorm norm(const Config& config) {
  using Kind = TokenNormImpl::Kind;
  const auto kind = config.block == Config::Block::ResMlp ? Kind::Affine : Kind::Layer;
  return TokenNorm(config.width, TokenNormImpl::Options{.kind = kind});
}

Mlp mlp(const Config& config, int64_t width, double ratio) {
  MlpImpl::Options options;
  if (config.glu) {
    options.gate = MlpImpl::Gate::Last;
    options.act = [](const Tensor& x) { return at::silu(x); };
  }
  return Mlp(width, times_width(config, ratio), options);
}

// An MLP over the tokens of each channel, then one over the channels of each token.
class MixerBlockImpl : public nn::Module {
 public:
  MixerBlockImpl(const Config& config, double drop) : drop_(drop) {
    norm1_ = register_module("norm1", norm(config));
    tokens_ = register_module("mlp_tokens", mlp(config, token_count(config), config.token_ratio));
    norm2_ = register_module("norm2", norm(config));
    channels_ = register_module("mlp_channels", mlp(config, config.width, config.channel_ratio));
  }

  Tensor forward(const Tensor& x) {
    const auto mixed = tokens_->forward(norm1_->forward(x).transpose(1, 2)).transpose(1, 2);
    const auto y = x + drop_path(mixed, drop_, is_training());
    return y + drop_path(channels_->forward(norm2_->forward(y)), drop_, is_training());
  }

 private:
  double drop_;
  TokenNorm norm1_{nullptr}, norm2_{nullptr};
  Mlp tokens_{nullptr}, channels_{nullptr};
};
TORCH_MODULE(MixerBlock);

// A linear layer over the tokens, then an MLP over the channels, both scaled.
class ResMlpBlockImpl : public nn::Module {
 public:
  ResMlpBlockImpl(const Config& config, double drop) : drop_(drop) {
    scale1_ = register_parameter("ls1", torch::full({config.width}, config.layer_scale));
    scale2_ = register_parameter("ls2", torch::full({config.width}, config.layer_scale));
    norm1_ = register_module("norm1", norm(config));
    tokens_ = register_module("linear_tokens", linear(token_count(config), token_count(config)));
    norm2_ = register_module("norm2", norm(config));
    channels_ = register_module("mlp_channels", mlp(config, config.width, config.channel_ratio));
  }

  Tensor forward(const Tensor& x) {
    const auto mixed = tokens_->forward(norm1_->forward(x).transpose(1, 2)).transpose(1, 2);
    const auto y = x + drop_path(scale1_ * mixed, drop_, is_training());
    return y + drop_path(scale2_ * channels_->forward(norm2_->forward(y)), drop_, is_training());
  }

 private:
  double drop_;
  Tensor scale1_, scale2_;
  TokenNorm norm1_{nullptr}, norm2_{nullptr};
  nn::Linear tokens_{nullptr};
  Mlp channels_{nullptr};
};
TORCH_MODULE(ResMlpBlock);

// First half of the channels times a linear mixture of the tokens of the second.
class SpatialGateImpl : public nn::Module {
 public:
  SpatialGateImpl(int64_t width, int64_t tokens) {
    norm_ = register_module("norm", TokenNorm(width / 2, TokenNormImpl::Options{.eps = 1e-5}));
    proj_ = register_module("proj", linear(tokens, tokens));
  }

  Tensor forward(const Tensor& x) {
    const auto halves = x.chunk(2, -1);
    return halves[0] * proj_->forward(norm_->forward(halves[1]).transpose(1, 2)).transpose(1, 2);
  }

  void init() {
    nn::init::normal_(proj_->weight, 0, 1e-6);
    nn::init::ones_(proj_->bias);
  }

 private:
  TokenNorm norm_{nullptr};
  nn::Linear proj_{nullptr};
};
TORCH_MODULE(SpatialGate);

// An MLP over the channels with a spatial gate in its middle.
class GatedMlpBlockImpl : public nn::Module {
 public:
  GatedMlpBlockImpl(const Config& config, double drop) : drop_(drop) {
    const int64_t hidden = times_width(config, config.channel_ratio);
    norm_ = register_module("norm", norm(config));
    channels_->push_back("fc1", linear(config.width, hidden));
    channels_->push_back("act", nn::GELU());
    channels_->push_back("gate", SpatialGate(hidden, token_count(config)));
    channels_->push_back("fc2", linear(hidden / 2, config.width));
    register_module("mlp_channels", channels_);
  }

  Tensor forward(const Tensor& x) {
    return x + drop_path(channels_->forward(norm_->forward(x)), drop_, is_training());
  }

 private:
  double drop_;
  TokenNorm norm_{nullptr};
  Sequential channels_;
};
TORCH_MODULE(GatedMlpBlock);

nn::AnyModule block(const Config& config, double drop) {
  switch (config.block) {
    case Config::Block::Mixer:
      return nn::AnyModule(MixerBlock(config, drop));
    case Config::Block::ResMlp:
      return nn::AnyModule(ResMlpBlock(config, drop));
    case Config::Block::GatedMlp:
      return nn::AnyModule(GatedMlpBlock(config, drop));
  }
  TORCH_INTERNAL_ASSERT(false, "a kind of block without a case");
}

// Biases of the MLPs are normal with std 1e-6, every other zero.
void init_weights(nn::Module& module) {
  for (const auto& child : module.named_modules("", /*include_self=*/false)) {
    if (auto* layer = child.value()->as<nn::LinearImpl>()) {
      nn::init::xavier_uniform_(layer->weight);
      nn::init::normal_(layer->bias, 0, child.key().find("mlp") == std::string::npos ? 0 : 1e-6);
    } else if (auto* convolution = child.value()->as<nn::Conv2dImpl>()) {
      const auto fan_in = static_cast<double>(convolution->weight[0].numel());
      trunc_normal_tf_(convolution->weight, 1 / std::sqrt(fan_in) / 0.87962566103423978); // std after the cut
      nn::init::zeros_(convolution->bias);
    }
  }
  module.apply([](nn::Module& m) {
    if (auto* gated = m.as<MlpImpl>()) {
      gated->init_gate();
    } else if (auto* gate = m.as<SpatialGateImpl>()) {
      gate->init();
    }
  });
}

EncoderInfo info_of(const std::string& name, const Config& config, const EncoderOptions& options) {
  auto info = describe_encoder(name, options, config.width, config.input);
  info.smallest_size = config.input.size;
  info.fixed_size = true;
  info.first_conv = "stem.proj";
  info.classifier = "head";
  return info;
}

} // namespace

MlpMixerImpl::MlpMixerImpl(const std::string& name, const MlpMixerConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)), drop_rate_(options.drop_rate) {
  choose_pooling(options, name, PoolingType::Avg, {PoolingType::Avg}); // for its notice or error
  stem_ = nn::AnyModule(PatchEmbed(options.n_in, config.width, config.patch));
  register_module("stem", stem_.ptr());
  blocks_ = register_module("blocks", Sequential());
  for (int64_t i = 0; i < config.depth; ++i) {
    blocks_->push_back(block(config, options.drop_path_rate));
  }
  norm_ = nn::AnyModule(norm(config));
  register_module("norm", norm_.ptr());
  init_weights(*this);
}

std::vector<Segment> MlpMixerImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return stem_.forward<Tensor>(x).flatten(1, 2); }}};
  append_segments(parts, "blocks", blocks_);
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(norm_.forward<Tensor>(x).mean(1), drop_rate_, is_training());
                   }});
  return parts;
}

void add_mlp_mixers(EncoderRegistry& registry) {
  using Config::Block::GatedMlp, Config::Block::ResMlp;
  using PixelStats::Inception;
  add_family<MlpMixerImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<Config>>{
          // clang-format off
          {"gmixer_12_224", {.width = 384, .depth = 12, .token_ratio = 1, .glu = true}},
          {"gmixer_24_224", {.width = 384, .depth = 24, .token_ratio = 1, .glu = true}},
          {"gmlp_b16_224", {.block = GatedMlp, .depth = 30, .channel_ratio = 6, .input = {224, Inception}}},
          {"gmlp_s16_224", {.block = GatedMlp, .width = 256, .depth = 30, .channel_ratio = 6, .input = {224, Inception}}},
          {"gmlp_ti16_224", {.block = GatedMlp, .width = 128, .depth = 30, .channel_ratio = 6, .input = {224, Inception}}},
          {"mixer_b16_224", {.width = 768, .depth = 12, .input = {224, Inception}}},
          {"mixer_b32_224", {.width = 768, .depth = 12, .patch = 32, .input = {224, Inception}}},
          {"mixer_l16_224", {.width = 1024, .depth = 24, .input = {224, Inception}}},
          {"mixer_l32_224", {.width = 1024, .depth = 24, .patch = 32, .input = {224, Inception}}},
          {"mixer_s16_224", {.input = {224, Inception}}},
          {"mixer_s32_224", {.patch = 32, .input = {224, Inception}}},
          {"resmlp_12_224", {.block = ResMlp, .width = 384, .depth = 12}},
          {"resmlp_24_224", {.block = ResMlp, .width = 384, .depth = 24, .layer_scale = 1e-5}},
          {"resmlp_36_224", {.block = ResMlp, .width = 384, .depth = 36, .layer_scale = 1e-6}},
          {"resmlp_big_24_224", {.block = ResMlp, .width = 768, .depth = 24, .patch = 8, .layer_scale = 1e-6}},
          // clang-format on
      });
}

} // namespace barlow
