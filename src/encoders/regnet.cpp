// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/regnet.h>

#include <cmath>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Shortcut = RegNetConfig::Shortcut;

constexpr int64_t kStemWidth = 32;

Act act_of(const RegNetConfig& config) {
  return config.silu ? Act::SiLU : Act::ReLU;
}

nn::AnyModule norm(const RegNetConfig& config, int64_t channels) {
  return config.group_norm ? nn::AnyModule(nn::GroupNorm(channels / 16, channels))
                           : nn::AnyModule(batch_norm(channels));
}

Sequential conv_norm_act(
    const RegNetConfig& config,
    int64_t in,
    int64_t out,
    int64_t kernel,
    const ConvOptions& options,
    Act act) {
  Sequential row;
  row->push_back("conv", conv(in, out, kernel, options));
  row->push_back("bn", norm(config, out));
  row->push_back(layer([act](const Tensor& x) { return activate(x, act); }));
  return row;
}

// What the two kinds of block share: the path's widths and the way around it.
class BlockImpl : public nn::Module {
 public:
  BlockImpl(const RegNetConfig& config, int64_t in, int64_t out, int64_t stride, double drop)
      : act_(act_of(config)), preact_(config.preact), linear_out_(config.linear_out), drop_(drop) {
    const int64_t width = out * config.expansion, group = std::min(config.group_width, width);
    const ConvOptions middle{.stride = stride, .groups = width / group};
    const auto add = [&](const char* number, int64_t from, int64_t to, int64_t kernel, const ConvOptions& options) {
      if (preact_) {
        auto before = norm(config, from);
        register_module(std::string("norm") + number, before.ptr());
        auto convolution = register_module(std::string("conv") + number, conv(from, to, kernel, options));
        norms_.push_back(std::move(before));
        convs_.emplace_back(convolution);
      } else {
        const auto act = *number == '3' ? Act::None : act_;
        const auto row = conv_norm_act(config, from, to, kernel, options, act);
        convs_.emplace_back(register_module(std::string("conv") + number, row));
      }
    };
    add("1", in, width, 1, {});
    add("2", width, width, 3, middle);
    if (config.se) {
      const auto squeezed = static_cast<int64_t>(std::nearbyint(static_cast<double>(in) * 0.25));
      squeeze_ = register_module("se", SqueezeExcite(width, squeezed, SqueezeExciteImpl::Options{.act = act_}));
    }
    add("3", width, out, 1, {});
    add_shortcut(config, in, out, stride);
  }

  Tensor forward(const Tensor& x) {
    const auto start = preact_ ? before(0, x) : x;
    auto y = convs_[0].forward(start);
    y = convs_[1].forward(preact_ ? before(1, y) : y);
    if (squeeze_) {
      y = squeeze_->forward(y);
    }
    y = convs_[2].forward(preact_ ? before(2, y) : y);
    if (has_shortcut_) {
      const auto around = shortcut_.is_empty() ? start : shortcut_.forward(start);
      y = drop_path(y, drop_, is_training());
      y = preact_ ? y + around : y.add_(around); // a convolution's output may be a view
    }
    return preact_ || linear_out_ ? y : activate(y, act_);
  }

  void zero_last_norm() {
    if (!preact_ && !linear_out_) {
      nn::init::zeros_(convs_[2].ptr()->named_parameters()["bn.weight"]);
    }
  }

 private:
  Tensor before(size_t i, const Tensor& x) {
    return activate(norms_[i].forward(x), act_);
  }

  void add_shortcut(const RegNetConfig& config, int64_t in, int64_t out, int64_t stride) {
    if (stride == 1 && in == out) {
      return;
    }
    if (config.shortcut == Shortcut::None) {
      has_shortcut_ = false;
      return;
    }
    const ConvOptions options{.stride = config.shortcut == Shortcut::Average ? 1 : stride};
    shortcut_ = preact_ ? nn::AnyModule(conv(in, out, 1, options))
                        : nn::AnyModule(conv_norm_act(config, in, out, 1, options, Act::None));
    if (config.shortcut == Shortcut::Average) {
      Sequential row;
      row->push_back(layer([stride](const Tensor& x) {
        return stride == 1 ? x : at::avg_pool2d(x, 2, stride, 0, /*ceil_mode=*/true, /*count_include_pad=*/false);
      }));
      row->push_back(shortcut_);
      shortcut_ = nn::AnyModule(row);
    }
    register_module("downsample", shortcut_.ptr());
  }

  Act act_;
  bool preact_, linear_out_, has_shortcut_ = true;
  double drop_;
  std::vector<nn::AnyModule> norms_, convs_;
  SqueezeExcite squeeze_{nullptr};
  nn::AnyModule shortcut_;
};
TORCH_MODULE(Block);

EncoderInfo info_of(const std::string& name, const RegNetConfig& config, const EncoderOptions& options) {
  const auto width = config.features > 0 ? config.features : config.widths.back();
  auto info = describe_encoder(name, options, width * pooled_width(choose_pooling(options)), config.input);
  info.first_conv = config.preact ? "stem" : "stem.conv";
  info.classifier = "head.fc";
  return info;
}

} // namespace

RegNetImpl::RegNetImpl(const std::string& name, const RegNetConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  const auto act = act_of(config);
  if (config.preact) {
    const auto convolution = register_module("stem", conv(options.n_in, kStemWidth, 3, {.stride = 2}));
    stem_ = Sequential(convolution);
  } else {
    stem_ = register_module("stem", conv_norm_act(config, options.n_in, kStemWidth, 3, {.stride = 2}, act));
  }
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  int64_t in = kStemWidth, block = 0;
  for (size_t i = 0; i < stages_.size(); ++i) {
    Sequential row;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      const auto drop = drop_path_rate(options.drop_path_rate, block++, blocks);
      row->push_back("b" + std::to_string(j + 1), Block(config, in, config.widths[i], j == 0 ? 2 : 1, drop));
      in = config.widths[i];
    }
    stages_[i] = register_module("s" + std::to_string(i + 1), row);
  }
  if (config.features > 0) {
    final_ = register_module("final_conv", conv_norm_act(config, in, config.features, 1, {}, act));
  } else if (config.linear_out || config.preact) {
    final_ = Sequential(layer([act](const Tensor& x) { return activate(x, act); }));
  }

  apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      const auto& weight = convolution->weight;
      const auto fan_out = weight[0][0].numel() * weight.size(0) / convolution->options.groups();
      nn::init::normal_(weight, 0, std::sqrt(2. / static_cast<double>(fan_out)));
      if (convolution->bias.defined()) {
        nn::init::zeros_(convolution->bias);
      }
    } else if (auto* b = m.as<BlockImpl>()) {
      b->zero_last_norm();
    }
  });
}

std::vector<Segment> RegNetImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return stem_->forward(x); }}};
  for (size_t i = 0; i < stages_.size(); ++i) {
    append_segments(parts, "s" + std::to_string(i + 1), stages_[i]);
  }
  if (final_) {
    parts.push_back({"final_conv", [this](const Tensor& x) { return final_->forward(x); }});
  }
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(global_pool(x, pool_, CatOrder::AvgMax), drop_rate_, is_training());
                   }});
  return parts;
}

void add_regnets(EncoderRegistry& registry) {
  add_family<RegNetImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<RegNetConfig>>{
          // clang-format off
          {"regnetv_040", {.layers = {2, 6, 12, 2}, .widths = {128, 192, 512, 1088}, .group_width = 64, .se = true, .silu = true, .preact = true}},
          {"regnetv_064", {.layers = {2, 7, 14, 2}, .widths = {144, 288, 576, 1296}, .group_width = 72, .se = true, .shortcut = Shortcut::Average, .silu = true, .preact = true}},
          {"regnetx_002", {.layers = {1, 1, 4, 7}, .widths = {24, 56, 152, 368}, .group_width = 8}},
          {"regnetx_004", {.layers = {1, 2, 7, 12}, .widths = {32, 64, 160, 384}, .group_width = 16}},
          {"regnetx_004_tv", {.layers = {1, 2, 7, 12}, .widths = {32, 64, 160, 400}, .group_width = 16}},
          {"regnetx_006", {.layers = {1, 3, 5, 7}, .widths = {48, 96, 240, 528}, .group_width = 24}},
          {"regnetx_008", {.layers = {1, 3, 7, 5}, .widths = {64, 128, 288, 672}, .group_width = 16}},
          {"regnetx_016", {.layers = {2, 4, 10, 2}, .widths = {72, 168, 408, 912}, .group_width = 24}},
          {"regnetx_032", {.layers = {2, 6, 15, 2}, .widths = {96, 192, 432, 1008}, .group_width = 48}},
          {"regnetx_040", {.layers = {2, 5, 14, 2}, .widths = {80, 240, 560, 1360}, .group_width = 40}},
          {"regnetx_064", {.layers = {2, 4, 10, 1}, .widths = {168, 392, 784, 1624}, .group_width = 56}},
          {"regnetx_080", {.layers = {2, 5, 15, 1}, .widths = {80, 240, 720, 1920}, .group_width = 120}},
          {"regnetx_120", {.layers = {2, 5, 11, 1}, .widths = {224, 448, 896, 2240}, .group_width = 112}},
          {"regnetx_160", {.layers = {2, 6, 13, 1}, .widths = {256, 512, 896, 2048}, .group_width = 128}},
          {"regnetx_320", {.layers = {2, 7, 13, 1}, .widths = {336, 672, 1344, 2520}, .group_width = 168}},
          {"regnety_002", {.layers = {1, 1, 4, 7}, .widths = {24, 56, 152, 368}, .group_width = 8, .se = true}},
          {"regnety_004", {.layers = {1, 3, 6, 6}, .widths = {48, 104, 208, 440}, .group_width = 8, .se = true}},
          {"regnety_006", {.layers = {1, 3, 7, 4}, .widths = {48, 112, 256, 608}, .group_width = 16, .se = true}},
          {"regnety_008", {.layers = {1, 3, 8, 2}, .widths = {64, 128, 320, 768}, .group_width = 16, .se = true}},
          {"regnety_008_tv", {.layers = {1, 3, 8, 2}, .widths = {64, 144, 320, 784}, .group_width = 16, .se = true}},
          {"regnety_016", {.layers = {2, 6, 17, 2}, .widths = {48, 120, 336, 888}, .group_width = 24, .se = true}},
          {"regnety_032", {.layers = {2, 5, 13, 1}, .widths = {72, 216, 576, 1512}, .group_width = 24, .se = true}},
          {"regnety_040", {.layers = {2, 6, 12, 2}, .widths = {128, 192, 512, 1088}, .group_width = 64, .se = true}},
          {"regnety_040_sgn", {.layers = {2, 6, 12, 2}, .widths = {128, 192, 512, 1088}, .group_width = 64, .se = true, .silu = true, .group_norm = true}},
          {"regnety_064", {.layers = {2, 7, 14, 2}, .widths = {144, 288, 576, 1296}, .group_width = 72, .se = true}},
          {"regnety_080", {.layers = {2, 4, 10, 1}, .widths = {168, 448, 896, 2016}, .group_width = 56, .se = true}},
          {"regnety_080_tv", {.layers = {2, 4, 10, 1}, .widths = {224, 448, 896, 2016}, .group_width = 56, .se = true}},
          {"regnety_120", {.layers = {2, 5, 11, 1}, .widths = {224, 448, 896, 2240}, .group_width = 112, .se = true}},
          {"regnety_160", {.layers = {2, 4, 11, 1}, .widths = {224, 448, 1232, 3024}, .group_width = 112, .se = true}},
          {"regnety_320", {.layers = {2, 5, 12, 1}, .widths = {232, 696, 1392, 3712}, .group_width = 232, .se = true}},
          {"regnety_640", {.layers = {2, 5, 12, 1}, .widths = {328, 984, 1968, 4920}, .group_width = 328, .se = true, .input = {384}}},
          {"regnety_1280", {.layers = {2, 7, 17, 1}, .widths = {528, 1056, 2904, 7392}, .group_width = 264, .se = true, .input = {384}}},
          {"regnety_2560", {.layers = {2, 7, 17, 1}, .widths = {746, 1492, 4103, 10444}, .group_width = 373, .se = true, .input = {384}}},
          {"regnetz_005", {.layers = {1, 4, 9, 7}, .widths = {16, 40, 104, 256}, .group_width = 4, .expansion = 4, .se = true, .shortcut = Shortcut::None, .silu = true, .linear_out = true, .features = 1024}},
          {"regnetz_040", {.layers = {2, 6, 14, 6}, .widths = {48, 104, 240, 528}, .group_width = 8, .expansion = 4, .se = true, .shortcut = Shortcut::None, .silu = true, .linear_out = true, .input = {256}}},
          {"regnetz_040_h", {.layers = {2, 6, 14, 6}, .widths = {48, 104, 240, 528}, .group_width = 8, .expansion = 4, .se = true, .shortcut = Shortcut::None, .silu = true, .linear_out = true, .features = 1536, .input = {256}}},
          // clang-format on
      });
}

} // namespace barlow
