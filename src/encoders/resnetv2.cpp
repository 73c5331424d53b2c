// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/resnetv2.h>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Stem = ResNetV2Config::Stem;
using NormKind = ResNetV2Config::Norm;

// Each output channel's weights are brought to mean 0 and variance 1. Source: Qiao et al., 2019.
class StandardConv2dImpl : public Conv2dImpl {
 public:
  using Conv2dImpl::Conv2dImpl;
  Tensor forward(const Tensor& x) override {
    const auto rows = weight.flatten(1);
    const auto standard = at::layer_norm(rows, {rows.size(1)}, {}, {}, /*eps=*/1e-8).view(weight.sizes());
    return barlow::conv2d(
        x,
        standard,
        bias,
        *options.stride(),
        *std::get<torch::ExpandingArray<2>>(options.padding()),
        *options.dilation(),
        options.groups());
  }
};

Conv2d make_conv(const ResNetV2Config& config, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  if (!config.bit) {
    return conv(in, out, kernel, {.stride = stride});
  }
  const auto options = nn::Conv2dOptions(in, out, kernel).stride(stride).padding((kernel - 1) / 2).bias(false);
  const std::shared_ptr<Conv2dImpl> standard = std::make_shared<StandardConv2dImpl>(options);
  return standard;
}

// --- norms with their activation

class BatchNormReluImpl : public BatchNorm2dImpl {
 public:
  using BatchNorm2dImpl::BatchNorm2dImpl;
  Tensor forward(const Tensor& x) override {
    return BatchNorm2dImpl::forward(x).relu_();
  }
};
TORCH_MODULE(BatchNormRelu);

class GroupNormReluImpl : public nn::GroupNormImpl {
 public:
  using nn::GroupNormImpl::GroupNormImpl;
  Tensor forward(const Tensor& x) {
    return nn::GroupNormImpl::forward(x).relu_();
  }
};
TORCH_MODULE(GroupNormRelu);

// What EvoNorm and filter response normalisation share: weight, bias and a third parameter, all [C]. As in timm, their
// statistics are float32 whatever x is.
class ScaledNormImpl : public nn::Module {
 public:
  ScaledNormImpl(int64_t channels, const char* third_name, double third) {
    weight_ = register_parameter("weight", torch::ones(channels));
    bias_ = register_parameter("bias", torch::zeros(channels));
    third_ = register_parameter(third_name, torch::full(channels, third));
  }

 protected:
  static Tensor column(const Tensor& parameter) {
    return parameter.view({1, -1, 1, 1});
  }
  Tensor scale(const Tensor& x) const {
    return at::addcmul(column(bias_), x, column(weight_));
  }
  Tensor third() const {
    return column(third_);
  }

 private:
  Tensor weight_, bias_, third_;
};

// x * sigmoid(v x) / standard deviation of its group. Source: Liu et al., "Evolving Normalization", 2020.
class EvoNormImpl : public ScaledNormImpl {
 public:
  explicit EvoNormImpl(int64_t channels) : ScaledNormImpl(channels, "v", 1) {}

  Tensor forward(const Tensor& x) {
    const auto groups = x.reshape({x.size(0), 32, x.size(1) / 32, x.size(2), x.size(3)});
    const auto variance = groups.to(torch::kFloat).var({2, 3, 4}, /*unbiased=*/false, /*keepdim=*/true);
    const auto deviation = (variance + 1e-5).sqrt().to(x.scalar_type());
    return scale(x * (x * third()).sigmoid() / deviation.expand_as(groups).reshape(x.sizes()));
  }
};
TORCH_MODULE(EvoNorm);

// max(x / root mean square of its map, threshold). Source: Singh and Krishnan, 2020.
class FilterResponseNormImpl : public ScaledNormImpl {
 public:
  explicit FilterResponseNormImpl(int64_t channels) : ScaledNormImpl(channels, "tau", 0) {}

  Tensor forward(const Tensor& x) {
    const auto power = x.square().to(torch::kFloat).mean({2, 3}, /*keepdim=*/true);
    return at::maximum(scale(x * (power + 1e-5).rsqrt().to(x.scalar_type())), third());
  }
};
TORCH_MODULE(FilterResponseNorm);

nn::AnyModule norm_act(const ResNetV2Config& config, int64_t channels) {
  switch (config.norm) {
    case NormKind::Batch:
      return nn::AnyModule(BatchNormRelu(channels));
    case NormKind::Group:
      return nn::AnyModule(GroupNormRelu(nn::GroupNormOptions(32, channels)));
    case NormKind::Evo:
      return nn::AnyModule(EvoNorm(channels));
    case NormKind::FilterResponse:
      return nn::AnyModule(FilterResponseNorm(channels));
  }
  TORCH_INTERNAL_ASSERT(false, "a Norm without a case");
}

// --- the network

class BlockImpl : public nn::Module {
 public:
  BlockImpl(const ResNetV2Config& config, int64_t in, int64_t out, int64_t stride, bool first, double drop)
      : drop_(drop) {
    if (config.basic ? stride != 1 || in != out : first) {
      shortcut_ = Sequential();
      if (config.avg_down && stride != 1) {
        shortcut_->push_back(layer([stride](const Tensor& x) {
          return at::avg_pool2d(x, 2, stride, 0, /*ceil_mode=*/true, /*count_include_pad=*/false);
        }));
      }
      shortcut_->push_back("conv", make_conv(config, in, out, 1, config.avg_down ? 1 : stride));
      register_module("downsample", shortcut_);
    }
    const auto add = [&](int64_t from, int64_t to, int64_t kernel, int64_t step) {
      const auto number = std::to_string(convs_.size() + 1);
      norms_.push_back(norm_act(config, from));
      register_module("norm" + number, norms_.back().ptr());
      convs_.push_back(register_module("conv" + number, make_conv(config, from, to, kernel, step)));
    };
    if (config.basic) {
      add(in, out, 3, stride);
      add(out, out, 3, 1);
    } else {
      const auto width = out / 4;
      add(in, width, 1, 1);
      add(width, width, 3, stride);
      add(width, out, 1, 1);
    }
  }

  Tensor forward(const Tensor& x) {
    const auto start = norms_[0].forward(x);
    auto y = convs_[0]->forward(start);
    for (size_t i = 1; i < convs_.size(); ++i) {
      y = convs_[i]->forward(norms_[i].forward(y));
    }
    return drop_path(y, drop_, is_training()) + (shortcut_ ? shortcut_->forward(start) : x);
  }

 private:
  double drop_;
  std::vector<nn::AnyModule> norms_;
  std::vector<Conv2d> convs_;
  Sequential shortcut_{nullptr};
};
TORCH_MODULE(Block);

Sequential make_stem(const ResNetV2Config& config, int64_t n_in, int64_t out) {
  Sequential stem;
  if (config.stem == Stem::Plain) {
    stem->push_back("conv", make_conv(config, n_in, out, 7, 2));
  } else {
    const auto second = out / 2, first = config.stem == Stem::Tiered ? 3 * out / 8 : second;
    stem->push_back("conv1", make_conv(config, n_in, first, 3, 2));
    stem->push_back("norm1", norm_act(config, first));
    stem->push_back("conv2", make_conv(config, first, second, 3));
    stem->push_back("norm2", norm_act(config, second));
    stem->push_back("conv3", make_conv(config, second, out, 3));
  }
  stem->push_back("pool", layer([bit = config.bit](const Tensor& x) {
                    return bit ? at::max_pool2d(at::constant_pad_nd(x, {1, 1, 1, 1}), 3, 2)
                               : at::max_pool2d(x, 3, 2, 1);
                  }));
  return stem;
}

int64_t stage_width(const ResNetV2Config& config, size_t stage) {
  return ((config.basic ? 64 : 256) << stage) * config.width_factor;
}

EncoderInfo info_of(const std::string& name, const ResNetV2Config& config, const EncoderOptions& options) {
  const auto width = stage_width(config, config.layers.size() - 1) * pooled_width(choose_pooling(options));
  auto info = describe_encoder(name, options, width, config.input);
  info.first_conv = config.stem == Stem::Plain ? "stem.conv" : "stem.conv1";
  info.classifier = "head.fc";
  return info;
}

} // namespace

ResNetV2Impl::ResNetV2Impl(const std::string& name, const ResNetV2Config& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  int64_t in = 64 * config.width_factor, block = 0;
  stem_ = register_module("stem", make_stem(config, options.n_in, in));
  const auto stages = register_module("stages", std::make_shared<nn::Module>());
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  for (size_t i = 0; i < stages_.size(); ++i) {
    const auto out = stage_width(config, i);
    Sequential row;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      const int64_t stride = i > 0 && j == 0 ? 2 : 1;
      const auto drop = drop_path_rate(options.drop_path_rate, block++, blocks);
      row->push_back(Block(config, in, out, stride, j == 0, drop));
      in = out;
    }
    const auto stage = stages->register_module(std::to_string(i), std::make_shared<nn::Module>());
    stages_[i] = stage->register_module("blocks", row);
  }
  norm_ = norm_act(config, in);
  register_module("norm", norm_.ptr());
  init_convolutions_fan_out(*this);
}

std::vector<Segment> ResNetV2Impl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return stem_->forward(x); }}};
  for (size_t i = 0; i < stages_.size(); ++i) {
    append_segments(parts, "stages." + std::to_string(i) + ".blocks", stages_[i]);
  }
  parts.push_back({"pool", [this](const Tensor& x) {
                     const auto pooled = global_pool(norm_.forward(x), pool_, CatOrder::AvgMax);
                     return at::dropout(pooled, drop_rate_, is_training());
                   }});
  return parts;
}

void add_resnetv2s(EncoderRegistry& registry) {
  using C = ResNetV2Config;
  using NormKind::Evo, NormKind::FilterResponse, NormKind::Group;
  using Stem::Deep, Stem::Tiered;
  constexpr std::array<int64_t, 4> k18{2, 2, 2, 2}, k34{3, 4, 6, 3}, k101{3, 4, 23, 3}, k152{3, 8, 36, 3};
  add_family<ResNetV2Impl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<C>>{
          // clang-format off
          {"resnetv2_18", {.layers = k18, .basic = true}},
          {"resnetv2_18d", {.layers = k18, .basic = true, .stem = Deep, .avg_down = true}},
          {"resnetv2_34", {.layers = k34, .basic = true}},
          {"resnetv2_34d", {.layers = k34, .basic = true, .stem = Deep, .avg_down = true}},
          {"resnetv2_50", {.layers = k34}},
          {"resnetv2_50d", {.layers = k34, .stem = Deep, .avg_down = true}},
          {"resnetv2_50d_evos", {.layers = k34, .stem = Deep, .avg_down = true, .norm = Evo}},
          {"resnetv2_50d_frn", {.layers = k34, .stem = Deep, .avg_down = true, .norm = FilterResponse}},
          {"resnetv2_50d_gn", {.layers = k34, .stem = Deep, .avg_down = true, .norm = Group}},
          {"resnetv2_50t", {.layers = k34, .stem = Tiered, .avg_down = true}},
          {"resnetv2_50x1_bit", {.layers = k34, .norm = Group, .bit = true}},
          {"resnetv2_50x3_bit", {.layers = k34, .norm = Group, .bit = true, .width_factor = 3, .input = {448, PixelStats::Inception}}},
          {"resnetv2_101", {.layers = k101}},
          {"resnetv2_101d", {.layers = k101, .stem = Deep, .avg_down = true}},
          {"resnetv2_101x1_bit", {.layers = k101, .norm = Group, .bit = true, .input = {448, PixelStats::Inception}}},
          {"resnetv2_101x3_bit", {.layers = k101, .norm = Group, .bit = true, .width_factor = 3, .input = {448, PixelStats::Inception}}},
          {"resnetv2_152", {.layers = k152}},
          {"resnetv2_152d", {.layers = k152, .stem = Deep, .avg_down = true}},
          {"resnetv2_152x2_bit", {.layers = k152, .norm = Group, .bit = true, .width_factor = 2}},
          {"resnetv2_152x4_bit", {.layers = k152, .norm = Group, .bit = true, .width_factor = 4, .input = {480, PixelStats::Inception}}},
          // clang-format on
      });
}

} // namespace barlow
