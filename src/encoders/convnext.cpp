// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/convnext.h>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Stem = ConvNeXtConfig::Stem;
using NormKind = ConvNeXtConfig::Norm;

// Over the channels: of [N,C,H,W] by forward, of [...,C] by last_axis.
class NormImpl : public nn::Module {
 public:
  NormImpl(const ConvNeXtConfig& config, int64_t channels) : kind_(config.norm), eps_(config.norm_eps) {
    weight_ = register_parameter("weight", torch::ones(channels));
    if (kind_ == NormKind::Layer) {
      bias_ = register_parameter("bias", torch::zeros(channels));
    }
  }

  Tensor forward(const Tensor& x) {
    return last_axis(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
  }

  Tensor last_axis(const Tensor& x) {
    if (kind_ == NormKind::Layer) {
      return at::layer_norm(x, weight_.sizes(), weight_, bias_, eps_);
    }
    const auto power = kind_ == NormKind::Rms ? x.square().mean(-1, true) : x.var(-1, /*unbiased=*/true, true);
    return x * (power + eps_).rsqrt() * weight_;
  }

 private:
  NormKind kind_;
  double eps_;
  Tensor weight_, bias_;
};
TORCH_MODULE(Norm);

// A dense layer over the last axis; its weight may have the shape of a 1x1 convolution's.
class DenseImpl : public nn::Module {
 public:
  DenseImpl(int64_t in, int64_t out, bool as_convolution) {
    weight_ = register_parameter("weight", as_convolution ? torch::empty({out, in, 1, 1}) : torch::empty({out, in}));
    bias_ = register_parameter("bias", torch::zeros(out));
    trunc_normal_(weight_);
  }

  Tensor forward(const Tensor& x) {
    return at::linear(x, weight_.flatten(1), bias_);
  }

 private:
  Tensor weight_, bias_;
};
TORCH_MODULE(Dense);

// x [N,H,W,C] -> x + (x * g / mean of g) * weight + bias, where g is the norm of a channel's map.
class ResponseNormImpl : public nn::Module {
 public:
  explicit ResponseNormImpl(int64_t channels) {
    weight_ = register_parameter("weight", torch::zeros(channels));
    bias_ = register_parameter("bias", torch::zeros(channels));
  }

  Tensor forward(const Tensor& x) {
    const auto g = at::linalg_vector_norm(x, 2, at::IntArrayRef{1, 2}, /*keepdim=*/true);
    const auto relative = g / (g.mean(-1, true) + 1e-6);
    return x + at::addcmul(bias_, weight_, x * relative);
  }

 private:
  Tensor weight_, bias_;
};
TORCH_MODULE(ResponseNorm);

class BlockImpl : public nn::Module {
 public:
  BlockImpl(const ConvNeXtConfig& config, int64_t channels, double drop) : drop_(drop) {
    const int64_t hidden = 4 * channels;
    if (!config.v2) {
      scale_ = register_parameter("gamma", torch::full(channels, 1e-6));
    }
    depthwise_ = register_module("conv_dw", conv(channels, channels, 7, {.groups = channels, .bias = true}));
    norm_ = register_module("norm", Norm(config, channels));
    const auto mlp = register_module("mlp", std::make_shared<nn::Module>());
    widen_ = mlp->register_module("fc1", Dense(channels, hidden, config.conv_mlp));
    if (config.v2) {
      response_ = mlp->register_module("grn", ResponseNorm(hidden));
    }
    narrow_ = mlp->register_module("fc2", Dense(hidden, channels, config.conv_mlp));
  }

  Tensor forward(const Tensor& x) {
    auto y = norm_->last_axis(depthwise_->forward(x).permute({0, 2, 3, 1})); // [N,H,W,C] from here
    y = at::gelu(widen_->forward(y));
    if (response_) {
      y = response_->forward(y);
    }
    y = drop_path(narrow_->forward(y), drop_, is_training());
    const auto shortcut = x.permute({0, 2, 3, 1});
    y = scale_.defined() ? at::addcmul(shortcut, y, scale_) : shortcut + y;
    return y.permute({0, 3, 1, 2});
  }

 private:
  double drop_;
  Tensor scale_;
  Conv2d depthwise_{nullptr};
  Norm norm_{nullptr};
  Dense widen_{nullptr}, narrow_{nullptr};
  ResponseNorm response_{nullptr};
};
TORCH_MODULE(Block);

Sequential make_stem(const ConvNeXtConfig& config, int64_t n_in) {
  const auto width = config.widths[0];
  Sequential stem;
  if (config.stem == Stem::Patch) {
    stem->push_back(conv(n_in, width, 4, {.stride = 4, .padding = 0, .bias = true}));
  } else {
    const int64_t half = width / 2;
    const auto first = config.stem == Stem::Tiered ? make_divisible(static_cast<double>(half)) : width;
    stem->push_back(conv(n_in, first, 3, {.stride = 2, .bias = true}));
    if (config.stem == Stem::Act) {
      stem->push_back(nn::GELU());
    }
    stem->push_back(conv(first, width, 3, {.stride = 2, .bias = true}));
  }
  stem->push_back(Norm(config, width));
  return stem;
}

PoolingType pooling(const std::string& name, const ConvNeXtConfig& config, const EncoderOptions& options) {
  using enum PoolingType;
  return config.norm_first ? choose_pooling(options) : *choose_pooling(options, name, Avg, {Fast, Avg, AvgMax, Max});
}

EncoderInfo info_of(const std::string& name, const ConvNeXtConfig& config, const EncoderOptions& options) {
  const auto width = config.head_width > 0 ? config.head_width : config.widths.back();
  auto info = describe_encoder(name, options, width * pooled_width(pooling(name, config, options)), config.input);
  info.smallest_size = config.stem == Stem::Patch ? 32 : 29;
  info.first_conv = "stem.0";
  info.classifier = "head.fc";
  return info;
}

} // namespace

ConvNeXtImpl::ConvNeXtImpl(const std::string& name, const ConvNeXtConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)) {
  stem_ = register_module("stem", make_stem(config, options.n_in));
  const auto stages = register_module("stages", std::make_shared<nn::Module>());
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  int64_t block = 0;
  for (size_t i = 0; i < stages_.size(); ++i) {
    const auto width = config.widths[i];
    const auto stage = stages->register_module(std::to_string(i), std::make_shared<nn::Module>());
    if (i > 0) {
      const auto in = config.widths[i - 1];
      downsamples_[i] = stage->register_module(
          "downsample", Sequential(Norm(config, in), conv(in, width, 2, {.stride = 2, .padding = 0, .bias = true})));
    }
    Sequential row;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      row->push_back(Block(config, width, drop_path_rate(options.drop_path_rate, block++, blocks)));
    }
    stages_[i] = stage->register_module("blocks", row);
  }

  // The head is a row whose members have names elsewhere.
  const auto width = config.widths.back();
  const auto pool = pooling(name, config, options);
  const auto head = std::make_shared<nn::Module>();
  Norm norm(config, width);
  const auto pooled =
      layer([pool](const Tensor& x) { return global_pool(x, pool, CatOrder::AvgMax).unsqueeze(-1).unsqueeze(-1); });
  if (config.norm_first) {
    register_module("norm_pre", norm);
    head_ = Sequential(norm, pooled, nn::Flatten());
  } else {
    head->register_module("norm", norm);
    head_ = Sequential(pooled, norm, nn::Flatten());
  }
  if (config.head_width > 0) {
    Dense dense(width, config.head_width, false);
    head->register_module("pre_logits", std::make_shared<nn::Module>())->register_module("fc", dense);
    head_->push_back(dense);
    head_->push_back(nn::GELU());
  }
  head_->push_back(
      layer([this, rate = options.drop_rate](const Tensor& x) { return at::dropout(x, rate, is_training()); }));
  register_module("head", head);

  apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      trunc_normal_(convolution->weight);
      nn::init::zeros_(convolution->bias);
    }
  });
}

std::vector<Segment> ConvNeXtImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return stem_->forward(x); }}};
  for (size_t i = 0; i < stages_.size(); ++i) {
    const auto prefix = "stages." + std::to_string(i);
    if (downsamples_[i]) {
      parts.push_back({prefix + ".downsample", [this, i](const Tensor& x) { return downsamples_[i]->forward(x); }});
    }
    append_segments(parts, prefix + ".blocks", stages_[i]);
  }
  parts.push_back({"head", [this](const Tensor& x) { return head_->forward(x); }});
  return parts;
}

// timm's test_convnext* are left out.
void add_convnexts(EncoderRegistry& registry) {
  using enum ConvNeXtConfig::Stem;
  using enum ConvNeXtConfig::Norm;
  constexpr std::array<int64_t, 4> k2262{2, 2, 6, 2}, k2282{2, 2, 8, 2}, k3393{3, 3, 9, 3}, k33273{3, 3, 27, 3};
  add_family<ConvNeXtImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<ConvNeXtConfig>>{
          // clang-format off
          {"convnext_atto", {.layers = k2262, .widths = {40, 80, 160, 320}, .conv_mlp = true}},
          {"convnext_atto_ols", {.layers = k2262, .widths = {40, 80, 160, 320}, .stem = Tiered, .conv_mlp = true}},
          {"convnext_atto_rms", {.layers = k2262, .widths = {40, 80, 160, 320}, .conv_mlp = true, .norm = Rms}},
          {"convnext_base", {.layers = k33273, .widths = {128, 256, 512, 1024}}},
          {"convnext_femto", {.layers = k2262, .widths = {48, 96, 192, 384}, .conv_mlp = true}},
          {"convnext_femto_ols", {.layers = k2262, .widths = {48, 96, 192, 384}, .stem = Tiered, .conv_mlp = true}},
          {"convnext_large", {.layers = k33273, .widths = {192, 384, 768, 1536}}},
          {"convnext_large_mlp", {.layers = k33273, .widths = {192, 384, 768, 1536}, .head_width = 1536, .input = {320, PixelStats::Clip}}},
          {"convnext_nano", {.layers = k2282, .widths = {80, 160, 320, 640}, .conv_mlp = true}},
          {"convnext_nano_ols", {.layers = k2282, .widths = {80, 160, 320, 640}, .stem = Overlap, .conv_mlp = true}},
          {"convnext_pico", {.layers = k2262, .widths = {64, 128, 256, 512}, .conv_mlp = true}},
          {"convnext_pico_ols", {.layers = k2262, .widths = {64, 128, 256, 512}, .stem = Tiered, .conv_mlp = true}},
          {"convnext_small", {.layers = k33273, .widths = {96, 192, 384, 768}}},
          {"convnext_tiny", {.layers = k3393, .widths = {96, 192, 384, 768}}},
          {"convnext_tiny_hnf", {.layers = k3393, .widths = {96, 192, 384, 768}, .conv_mlp = true, .norm_first = true}},
          {"convnext_xlarge", {.layers = k33273, .widths = {256, 512, 1024, 2048}}},
          {"convnext_xxlarge", {.layers = {3, 4, 30, 3}, .widths = {384, 768, 1536, 3072}, .norm_eps = 1e-05, .input = {256, PixelStats::Clip}}},
          {"convnext_zepto_rms", {.layers = {2, 2, 4, 2}, .widths = {32, 64, 128, 256}, .conv_mlp = true, .norm = Simple, .input = {224, PixelStats::Inception}}},
          {"convnext_zepto_rms_ols", {.layers = {2, 2, 4, 2}, .widths = {32, 64, 128, 256}, .stem = Stem::Act, .conv_mlp = true, .norm = Simple, .input = {224, PixelStats::Inception}}},
          {"convnextv2_atto", {.layers = k2262, .widths = {40, 80, 160, 320}, .conv_mlp = true, .v2 = true}},
          {"convnextv2_base", {.layers = k33273, .widths = {128, 256, 512, 1024}, .v2 = true}},
          {"convnextv2_femto", {.layers = k2262, .widths = {48, 96, 192, 384}, .conv_mlp = true, .v2 = true}},
          {"convnextv2_huge", {.layers = k33273, .widths = {352, 704, 1408, 2816}, .v2 = true, .input = {384}}},
          {"convnextv2_large", {.layers = k33273, .widths = {192, 384, 768, 1536}, .v2 = true}},
          {"convnextv2_nano", {.layers = k2282, .widths = {80, 160, 320, 640}, .conv_mlp = true, .v2 = true}},
          {"convnextv2_pico", {.layers = k2262, .widths = {64, 128, 256, 512}, .conv_mlp = true, .v2 = true}},
          {"convnextv2_small", {.layers = k33273, .widths = {96, 192, 384, 768}, .v2 = true}},
          {"convnextv2_tiny", {.layers = k3393, .widths = {96, 192, 384, 768}, .v2 = true}},
          // clang-format on
      });
}

} // namespace barlow
