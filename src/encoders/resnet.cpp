// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/resnet.h>

#include <cmath>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Stem = ResNetConfig::Stem;
using Attention = ResNetConfig::Attention;
using AntiAlias = ResNetConfig::AntiAlias;

constexpr std::array<int64_t, 4> kWidths{64, 128, 256, 512};

int64_t expansion(const ResNetConfig& config) {
  return config.bottleneck ? 4 : 1;
}

nn::AnyModule norm(const ResNetConfig& config, int64_t channels) {
  return config.group_norm ? nn::AnyModule(nn::GroupNorm(32, channels)) : nn::AnyModule(batch_norm(channels));
}

// A binomial 3x3 filter at every second pixel, borders reflected. Source: Zhang, 2019.
Tensor blur_pool(const Tensor& x) {
  const auto row = torch::tensor({0.25, 0.5, 0.25}, x.options());
  const auto filter = row.outer(row).expand({x.size(1), 1, 3, 3});
  return barlow::conv2d(at::reflection_pad2d(x, {1, 1, 1, 1}), filter, {}, 2, 0, 1, x.size(1));
}

Tensor shrink(const Tensor& x, AntiAlias how) {
  return how == AntiAlias::Blur ? blur_pool(x) : at::avg_pool2d(x, 2);
}

// Efficient channel attention: a one-dimensional convolution over the channels' means. Source: Wang et al., 2020.
class EcaImpl : public nn::Module {
 public:
  explicit EcaImpl(int64_t channels) {
    const auto t = static_cast<int64_t>((std::log2(static_cast<double>(channels)) + 1) / 2);
    const auto kernel = std::max<int64_t>(t % 2 == 1 ? t : t + 1, 3);
    conv_ = register_module("conv", nn::Conv1d(nn::Conv1dOptions(1, 1, kernel).padding((kernel - 1) / 2).bias(false)));
  }

  Tensor forward(const Tensor& x) {
    return x * conv_->forward(x.mean({2, 3}).unsqueeze(1)).sigmoid().squeeze(1).unsqueeze(-1).unsqueeze(-1);
  }

 private:
  nn::Conv1d conv_{nullptr};
};
TORCH_MODULE(Eca);

Sequential shortcut(const ResNetConfig& config, int64_t in, int64_t out, int64_t stride) {
  Sequential path;
  if (config.avg_down) {
    path->push_back(layer([stride](const Tensor& x) {
      return stride == 1 ? x : at::avg_pool2d(x, 2, stride, 0, /*ceil_mode=*/true, /*count_include_pad=*/false);
    }));
    path->push_back(conv(in, out, 1));
  } else {
    path->push_back(conv(in, out, stride == 1 ? 1 : config.down_kernel, {.stride = stride}));
  }
  path->push_back(norm(config, out));
  return path;
}

class BlockImpl : public nn::Module {
 public:
  BlockImpl(const ResNetConfig& config, int64_t in, int64_t planes, int64_t stride, double drop)
      : shrink_(stride == 1 ? AntiAlias::None : config.anti_alias), drop_(drop) {
    const int64_t out = planes * expansion(config);
    const int64_t conv_stride = shrink_ == AntiAlias::None ? stride : 1;
    const auto add = [&](int64_t from, int64_t to, int64_t kernel, const ConvOptions& options) {
      const auto number = std::to_string(convs_.size() + 1);
      convs_.push_back(register_module("conv" + number, conv(from, to, kernel, options)));
      norms_.push_back(norm(config, to));
      register_module("bn" + number, norms_.back().ptr());
    };
    if (config.bottleneck) {
      const auto width = planes * config.base_width / 64 * config.groups, first = width / config.reduce_first;
      add(in, first, 1, {});
      add(first, width, 3, {.stride = conv_stride, .groups = config.groups});
      add(width, out, 1, {});
    } else {
      add(in, planes, 3, {.stride = conv_stride});
      add(planes, out, 3, {});
    }
    if (config.attention == Attention::SE) {
      const auto squeezed = make_divisible(static_cast<double>(out) * config.se_ratio, 8, 0);
      attention_ = nn::AnyModule(SqueezeExcite(out, squeezed));
    } else if (config.attention == Attention::ECA) {
      attention_ = nn::AnyModule(Eca(out));
    }
    if (!attention_.is_empty()) {
      register_module("se", attention_.ptr());
    }
    if (stride != 1 || in != out) {
      downsample_ = register_module("downsample", shortcut(config, in, out, stride));
    }
  }

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    const size_t last = convs_.size() - 1;
    for (size_t i = 0; i <= last; ++i) {
      y = norms_[i].forward(convs_[i]->forward(y));
      if (i < last) {
        y = y.relu_();
      }
      if (i + 1 == last && shrink_ != AntiAlias::None) {
        y = shrink(y, shrink_);
      }
    }
    if (!attention_.is_empty()) {
      y = attention_.forward(y);
    }
    return drop_path(y, drop_, is_training()).add_(downsample_ ? downsample_->forward(x) : x).relu_();
  }

  void zero_last_norm() {
    nn::init::zeros_(norms_.back().ptr()->named_parameters()["weight"]);
  }

 private:
  AntiAlias shrink_;
  double drop_;
  std::vector<Conv2d> convs_;
  std::vector<nn::AnyModule> norms_;
  nn::AnyModule attention_;
  Sequential downsample_{nullptr};
};
TORCH_MODULE(Block);

// conv1, bn1 for small images
Sequential make_small_stem(const ResNetConfig& config, const EncoderOptions& options, int64_t& out) {
  Sequential stem;
  out = 64;
  const int64_t padding = options.stem == StemType::SmallPadded ? 2 : 1;
  stem->push_back("conv1", conv(options.n_in, out, 3, {.padding = padding}));
  stem->push_back("bn1", norm(config, out));
  if (options.stem != StemType::SmallLinear) {
    stem->push_back("act1", nn::ReLU(nn::ReLUOptions(true)));
  }
  return stem;
}

// conv1, bn1, maxpool
Sequential make_stem(const ResNetConfig& config, const EncoderOptions& options, int64_t& out) {
  if (options.stem != StemType::Network) {
    return make_small_stem(config, options, out);
  }
  const int64_t n_in = options.n_in;
  Sequential stem;
  out = 64;
  if (config.stem == Stem::Plain) {
    stem->push_back("conv1", conv(n_in, out, 7, {.stride = 2}));
  } else {
    const int64_t second = config.stem_width, first = config.stem == Stem::Tiered ? second / 4 * 3 : second;
    out = 2 * second;
    stem->push_back(
        "conv1",
        Sequential(
            conv(n_in, first, 3, {.stride = 2}),
            norm(config, first),
            nn::ReLU(nn::ReLUOptions(true)),
            conv(first, second, 3),
            norm(config, second),
            nn::ReLU(nn::ReLUOptions(true)),
            conv(second, out, 3)));
  }
  stem->push_back("bn1", norm(config, out));
  stem->push_back("act1", nn::ReLU(nn::ReLUOptions(true)));
  if (config.conv_stem_pool) {
    stem->push_back(
        "maxpool", Sequential(conv(out, out, 3, {.stride = 2}), norm(config, out), nn::ReLU(nn::ReLUOptions(true))));
  } else {
    stem->push_back("maxpool", layer([how = config.anti_alias](const Tensor& x) {
                      switch (how) {
                        case AntiAlias::Average:
                          return at::avg_pool2d(x, 2);
                        case AntiAlias::Blur:
                          return blur_pool(at::max_pool2d(x, 3, 1, 1));
                        case AntiAlias::None:
                          break;
                      }
                      return at::max_pool2d(x, 3, 2, 1);
                    }));
  }
  return stem;
}

EncoderInfo info_of(const std::string& name, const ResNetConfig& config, const EncoderOptions& options) {
  const int64_t width = kWidths.back() * expansion(config) * pooled_width(choose_pooling(options));
  auto info = describe_encoder(name, options, width, config.input);
  const bool small = options.stem != StemType::Network;
  info.first_conv = config.stem == Stem::Plain || small ? "conv1" : "conv1.0";
  info.input_size = small ? 32 : info.input_size;
  return info;
}

} // namespace

ResNetImpl::ResNetImpl(const std::string& name, const ResNetConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  int64_t in = 0;
  stem_ = make_stem(config, options, in);
  for (const auto& child : stem_->named_children()) { // ours, so that their names have no prefix
    register_module(child.key(), child.value());
  }
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  int64_t block = 0;
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    Sequential row;
    for (int64_t i = 0; i < config.layers[stage]; ++i) {
      const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
      row->push_back(
          Block(config, in, kWidths[stage], stride, drop_path_rate(options.drop_path_rate, block++, blocks)));
      in = kWidths[stage] * expansion(config);
    }
    stages_[stage] = register_module("layer" + std::to_string(stage + 1), row);
  }
  init_convolutions_fan_out(*this);
  apply([](nn::Module& m) {
    if (auto* b = m.as<BlockImpl>()) {
      b->zero_last_norm();
    }
  });
}

std::vector<Segment> ResNetImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return stem_->forward(x); }}};
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    append_segments(parts, "layer" + std::to_string(stage + 1), stages_[stage]);
  }
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(global_pool(x, pool_, CatOrder::AvgMax), drop_rate_, is_training());
                   }});
  return parts;
}

void add_resnets(EncoderRegistry& registry) {
  using C = ResNetConfig;
  using AntiAlias::Average, AntiAlias::Blur;
  using Attention::ECA, Attention::SE;
  using Stem::Deep, Stem::Tiered;
  constexpr std::array<int64_t, 4> k18{2, 2, 2, 2}, k34{3, 4, 6, 3}, k101{3, 4, 23, 3}, k152{3, 8, 36, 3},
      k200{3, 24, 36, 3}, k269{3, 30, 48, 8};
  add_family<ResNetImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<C>>{
          // clang-format off
          {"ecaresnet26t", {.bottleneck = true, .layers = k18, .stem = Tiered, .avg_down = true, .attention = ECA, .input = {256}}},
          {"ecaresnet50d", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true, .attention = ECA}},
          {"ecaresnet50t", {.bottleneck = true, .layers = k34, .stem = Tiered, .avg_down = true, .attention = ECA, .input = {256}}},
          {"ecaresnet101d", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .attention = ECA}},
          {"ecaresnet200d", {.bottleneck = true, .layers = k200, .stem = Deep, .avg_down = true, .attention = ECA, .input = {256}}},
          {"ecaresnet269d", {.bottleneck = true, .layers = k269, .stem = Deep, .avg_down = true, .attention = ECA, .input = {320}}},
          {"ecaresnetlight", {.bottleneck = true, .layers = {1, 1, 11, 3}, .avg_down = true, .attention = ECA}},
          {"ecaresnext26t_32x4d", {.bottleneck = true, .layers = k18, .stem = Tiered, .avg_down = true, .groups = 32, .base_width = 4, .attention = ECA}},
          {"ecaresnext50t_32x4d", {.bottleneck = true, .layers = k34, .stem = Tiered, .avg_down = true, .groups = 32, .base_width = 4, .attention = ECA}},
          {"resnet10t", {.layers = {1, 1, 1, 1}, .stem = Tiered, .avg_down = true, .input = {176}}},
          {"resnet14t", {.bottleneck = true, .layers = {1, 1, 1, 1}, .stem = Tiered, .avg_down = true, .input = {176}}},
          {"resnet18", {.layers = k18}},
          {"resnet18d", {.layers = k18, .stem = Deep, .avg_down = true}},
          {"resnet26", {.bottleneck = true, .layers = k18}},
          {"resnet26d", {.bottleneck = true, .layers = k18, .stem = Deep, .avg_down = true}},
          {"resnet26t", {.bottleneck = true, .layers = k18, .stem = Tiered, .avg_down = true, .input = {256}}},
          {"resnet34", {.layers = k34}},
          {"resnet34d", {.layers = k34, .stem = Deep, .avg_down = true}},
          {"resnet50", {.bottleneck = true, .layers = k34}},
          {"resnet50_gn", {.bottleneck = true, .layers = k34, .group_norm = true}},
          {"resnet50c", {.bottleneck = true, .layers = k34, .stem = Deep}},
          {"resnet50d", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true}},
          {"resnet50s", {.bottleneck = true, .layers = k34, .stem = Deep, .stem_width = 64}},
          {"resnet50t", {.bottleneck = true, .layers = k34, .stem = Tiered, .avg_down = true}},
          {"resnet101", {.bottleneck = true, .layers = k101}},
          {"resnet101c", {.bottleneck = true, .layers = k101, .stem = Deep}},
          {"resnet101d", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .input = {256}}},
          {"resnet101s", {.bottleneck = true, .layers = k101, .stem = Deep, .stem_width = 64}},
          {"resnet152", {.bottleneck = true, .layers = k152}},
          {"resnet152c", {.bottleneck = true, .layers = k152, .stem = Deep}},
          {"resnet152d", {.bottleneck = true, .layers = k152, .stem = Deep, .avg_down = true, .input = {256}}},
          {"resnet152s", {.bottleneck = true, .layers = k152, .stem = Deep, .stem_width = 64}},
          {"resnet200", {.bottleneck = true, .layers = k200}},
          {"resnet200d", {.bottleneck = true, .layers = k200, .stem = Deep, .avg_down = true, .input = {256}}},
          {"resnetaa34d", {.layers = k34, .stem = Deep, .avg_down = true, .anti_alias = Average}},
          {"resnetaa50", {.bottleneck = true, .layers = k34, .anti_alias = Average}},
          {"resnetaa50d", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true, .anti_alias = Average}},
          {"resnetaa101d", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .anti_alias = Average}},
          {"resnetblur18", {.layers = k18, .anti_alias = Blur}},
          {"resnetblur50", {.bottleneck = true, .layers = k34, .anti_alias = Blur}},
          {"resnetblur50d", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true, .anti_alias = Blur}},
          {"resnetblur101d", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .anti_alias = Blur}},
          {"resnetrs50", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {160}}},
          {"resnetrs101", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {192}}},
          {"resnetrs152", {.bottleneck = true, .layers = k152, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {256}}},
          {"resnetrs200", {.bottleneck = true, .layers = k200, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {256}}},
          {"resnetrs270", {.bottleneck = true, .layers = {4, 29, 53, 4}, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {256}}},
          {"resnetrs350", {.bottleneck = true, .layers = {4, 36, 72, 4}, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {288}}},
          {"resnetrs420", {.bottleneck = true, .layers = {4, 44, 87, 4}, .stem = Deep, .avg_down = true, .attention = SE, .se_ratio = 0.25, .conv_stem_pool = true, .input = {320}}},
          {"resnext50_32x4d", {.bottleneck = true, .layers = k34, .groups = 32, .base_width = 4}},
          {"resnext50d_32x4d", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true, .groups = 32, .base_width = 4}},
          {"resnext101_32x4d", {.bottleneck = true, .layers = k101, .groups = 32, .base_width = 4}},
          {"resnext101_32x8d", {.bottleneck = true, .layers = k101, .groups = 32, .base_width = 8}},
          {"resnext101_32x16d", {.bottleneck = true, .layers = k101, .groups = 32, .base_width = 16}},
          {"resnext101_32x32d", {.bottleneck = true, .layers = k101, .groups = 32, .base_width = 32}},
          {"resnext101_64x4d", {.bottleneck = true, .layers = k101, .groups = 64, .base_width = 4}},
          {"senet154", {.bottleneck = true, .layers = k152, .stem = Deep, .stem_width = 64, .groups = 64, .base_width = 4, .attention = SE, .reduce_first = 2, .down_kernel = 3}},
          {"seresnet18", {.layers = k18, .attention = SE}},
          {"seresnet34", {.layers = k34, .attention = SE}},
          {"seresnet50", {.bottleneck = true, .layers = k34, .attention = SE}},
          {"seresnet50t", {.bottleneck = true, .layers = k34, .stem = Tiered, .avg_down = true, .attention = SE}},
          {"seresnet101", {.bottleneck = true, .layers = k101, .attention = SE}},
          {"seresnet152", {.bottleneck = true, .layers = k152, .attention = SE}},
          {"seresnet152d", {.bottleneck = true, .layers = k152, .stem = Deep, .avg_down = true, .attention = SE, .input = {256}}},
          {"seresnet200d", {.bottleneck = true, .layers = k200, .stem = Deep, .avg_down = true, .attention = SE, .input = {256}}},
          {"seresnet269d", {.bottleneck = true, .layers = k269, .stem = Deep, .avg_down = true, .attention = SE, .input = {256}}},
          {"seresnetaa50d", {.bottleneck = true, .layers = k34, .stem = Deep, .avg_down = true, .attention = SE, .anti_alias = Average}},
          {"seresnext26d_32x4d", {.bottleneck = true, .layers = k18, .stem = Deep, .avg_down = true, .groups = 32, .base_width = 4, .attention = SE}},
          {"seresnext26t_32x4d", {.bottleneck = true, .layers = k18, .stem = Tiered, .avg_down = true, .groups = 32, .base_width = 4, .attention = SE}},
          {"seresnext50_32x4d", {.bottleneck = true, .layers = k34, .groups = 32, .base_width = 4, .attention = SE}},
          {"seresnext101_32x4d", {.bottleneck = true, .layers = k101, .groups = 32, .base_width = 4, .attention = SE}},
          {"seresnext101_32x8d", {.bottleneck = true, .layers = k101, .groups = 32, .base_width = 8, .attention = SE}},
          {"seresnext101_64x4d", {.bottleneck = true, .layers = k101, .groups = 64, .base_width = 4, .attention = SE}},
          {"seresnext101d_32x8d", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .groups = 32, .base_width = 8, .attention = SE}},
          {"seresnextaa101d_32x8d", {.bottleneck = true, .layers = k101, .stem = Deep, .avg_down = true, .groups = 32, .base_width = 8, .attention = SE, .anti_alias = Average, .input = {288}}},
          {"seresnextaa201d_32x8d", {.bottleneck = true, .layers = {3, 24, 36, 4}, .stem = Deep, .stem_width = 64, .avg_down = true, .groups = 32, .base_width = 8, .attention = SE, .anti_alias = Average, .input = {384}}},
          {"wide_resnet50_2", {.bottleneck = true, .layers = k34, .base_width = 128}},
          {"wide_resnet101_2", {.bottleneck = true, .layers = k101, .base_width = 128}},
          // clang-format on
      });
}

} // namespace barlow
