// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/senet.h>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Kind = SENetConfig::Block;

constexpr std::array<int64_t, 4> kPlanes{64, 128, 256, 512};

int64_t expansion(const SENetConfig& config) {
  return config.block == Kind::Plain ? 1 : 4;
}

class BlockImpl : public nn::Module {
 public:
  BlockImpl(const SENetConfig& config, int64_t in, int64_t planes, int64_t stride, int64_t down_kernel, double drop)
      : last_relu_(config.block == Kind::Plain), drop_(drop) {
    const int64_t out = planes * expansion(config);
    const auto add = [&](int64_t from, int64_t to, int64_t kernel, const ConvOptions& options) {
      const auto number = std::to_string(convs_.size() + 1);
      convs_.push_back(register_module("conv" + number, conv(from, to, kernel, options)));
      norms_.push_back(register_module("bn" + number, batch_norm(to)));
    };
    switch (config.block) {
      case Kind::Plain:
        add(in, planes, 3, {.stride = stride});
        add(planes, out, 3, {});
        break;
      case Kind::Bottleneck:
        add(in, planes, 1, {.stride = stride});
        add(planes, planes, 3, {});
        add(planes, out, 1, {});
        break;
      case Kind::NeXt: {
        const auto width = planes * 4 / 64 * config.groups;
        add(in, width, 1, {});
        add(width, width, 3, {.stride = stride, .groups = config.groups});
        add(width, out, 1, {});
        break;
      }
      case Kind::Wide:
        add(in, 2 * planes, 1, {});
        add(2 * planes, 4 * planes, 3, {.stride = stride, .groups = config.groups});
        add(4 * planes, out, 1, {});
        break;
    }
    squeeze_ = register_module("se_module", SqueezeExcite(out, out / 16));
    if (stride != 1 || in != out) {
      downsample_ =
          register_module("downsample", Sequential(conv(in, out, down_kernel, {.stride = stride}), batch_norm(out)));
    }
  }

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    for (size_t i = 0; i < convs_.size(); ++i) {
      y = norms_[i]->forward(convs_[i]->forward(y));
      if (last_relu_ || i + 1 < convs_.size()) {
        y = y.relu_();
      }
    }
    y = drop_path(squeeze_->forward(y), drop_, is_training());
    return y.add_(downsample_ ? downsample_->forward(x) : x).relu_();
  }

 private:
  bool last_relu_;
  double drop_;
  std::vector<Conv2d> convs_;
  std::vector<BatchNorm2d> norms_;
  SqueezeExcite squeeze_{nullptr};
  Sequential downsample_{nullptr};
};
TORCH_MODULE(Block);

Sequential make_stem(const SENetConfig& config, int64_t n_in, int64_t& out) {
  Sequential stem;
  const auto add = [&](int64_t number, int64_t from, int64_t to, int64_t kernel, int64_t stride) {
    stem->push_back("conv" + std::to_string(number), conv(from, to, kernel, {.stride = stride}));
    stem->push_back("bn" + std::to_string(number), batch_norm(to));
    stem->push_back("relu" + std::to_string(number), nn::ReLU(nn::ReLUOptions(true)));
    out = to;
  };
  if (config.block == Kind::Wide) {
    add(1, n_in, 64, 3, 2);
    add(2, 64, 64, 3, 1);
    add(3, 64, 128, 3, 1);
  } else {
    add(1, n_in, 64, 7, 2);
  }
  return stem;
}

EncoderInfo info_of(const std::string& name, const SENetConfig& config, const EncoderOptions& options) {
  const int64_t width = kPlanes.back() * expansion(config) * pooled_width(choose_pooling(options));
  auto info = describe_encoder(name, options, width, config.input);
  info.smallest_size = 3;
  info.first_conv = "layer0.conv1";
  info.classifier = "last_linear";
  return info;
}

} // namespace

SENetImpl::SENetImpl(const std::string& name, const SENetConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  int64_t in = 0, block = 0;
  stem_ = register_module("layer0", make_stem(config, options.n_in, in));
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  for (size_t i = 0; i < stages_.size(); ++i) {
    const int64_t down_kernel = config.block == Kind::Wide && i > 0 ? 3 : 1;
    Sequential row;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      const int64_t stride = i > 0 && j == 0 ? 2 : 1;
      const auto drop = drop_path_rate(options.drop_path_rate, block++, blocks);
      row->push_back(Block(config, in, kPlanes[i], stride, down_kernel, drop));
      in = kPlanes[i] * expansion(config);
    }
    stages_[i] = register_module("layer" + std::to_string(i + 1), row);
  }
  init_convolutions_fan_out(*this);
}

std::vector<Segment> SENetImpl::segments() {
  std::vector<Segment> parts{{"layer0", [this](const Tensor& x) {
                                return at::max_pool2d(stem_->forward(x), 3, 2, 0, 1, /*ceil_mode=*/true);
                              }}};
  for (size_t i = 0; i < stages_.size(); ++i) {
    append_segments(parts, "layer" + std::to_string(i + 1), stages_[i]);
  }
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(global_pool(x, pool_, CatOrder::AvgMax), drop_rate_, is_training());
                   }});
  return parts;
}

void add_senets(EncoderRegistry& registry) {
  using C = SENetConfig;
  constexpr std::array<int64_t, 4> k18{2, 2, 2, 2}, k34{3, 4, 6, 3}, k101{3, 4, 23, 3}, k152{3, 8, 36, 3};
  add_family<SENetImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<C>>{
          // clang-format off
          {"legacy_senet154", {.block = Kind::Wide, .layers = k152, .groups = 64}},
          {"legacy_seresnet18", {.block = Kind::Plain, .layers = k18}},
          {"legacy_seresnet34", {.block = Kind::Plain, .layers = k34}},
          {"legacy_seresnet50", {.block = Kind::Bottleneck, .layers = k34}},
          {"legacy_seresnet101", {.block = Kind::Bottleneck, .layers = k101}},
          {"legacy_seresnet152", {.block = Kind::Bottleneck, .layers = k152}},
          {"legacy_seresnext26_32x4d", {.block = Kind::NeXt, .layers = k18, .groups = 32}},
          {"legacy_seresnext50_32x4d", {.block = Kind::NeXt, .layers = k34, .groups = 32}},
          {"legacy_seresnext101_32x4d", {.block = Kind::NeXt, .layers = k101, .groups = 32}},
          // clang-format on
      });
}

} // namespace barlow
