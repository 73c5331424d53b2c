// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/torchvision_nets.h>

#include <cmath>

#include "../check.h"
#include "layers.h"
#include "registry.h"

namespace barlow {

// A network without its head.
struct TorchvisionBody {
  Sequential row;
  int64_t width; // channels of the output
  InputSpec input;
  bool nested = true; // the row is one child of the network, "0", else its members are the children
  std::string first_conv = "0.0"; // within the network
  int64_t smallest_size = 1;
  bool residual = true;
};

namespace {

namespace nn = torch::nn;
using torch::Tensor;

// Convolution (0), norm (1) and activation (2).
struct ConvNormAct {
  double eps = 1e-5, momentum = 0.1;

  Sequential operator()(int64_t in, int64_t out, int64_t kernel, const ConvOptions& options, Act act) const {
    Sequential row(conv(in, out, kernel, options), batch_norm(out, eps, momentum));
    if (act != Act::None) {
      row->push_back(layer([act](const Tensor& x) { return activate(x, act); }));
    }
    return row;
  }
};

// Not in place: its input may be a view, and that of a segment.
nn::ReLU relu() {
  return nn::ReLU();
}

void zero_biases(nn::Module& module) {
  module.apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>(); convolution != nullptr && convolution->bias.defined()) {
      nn::init::zeros_(convolution->bias);
    }
  });
}

// --- ResNet

class ResidualBlockImpl : public nn::Module {
 public:
  ResidualBlockImpl(const TvResNetConfig& config, int64_t in, int64_t planes, int64_t stride, double drop)
      : drop_(drop) {
    const int64_t out = config.bottleneck ? 4 * planes : planes;
    const auto add = [&](int64_t from, int64_t to, int64_t kernel, const ConvOptions& options) {
      const auto number = std::to_string(convs_.size() + 1);
      convs_.push_back(register_module("conv" + number, conv(from, to, kernel, options)));
      norms_.push_back(register_module("bn" + number, batch_norm(to)));
    };
    if (config.bottleneck) {
      const auto width = planes * config.base_width / 64 * config.groups;
      add(in, width, 1, {});
      add(width, width, 3, {.stride = stride, .groups = config.groups});
      add(width, out, 1, {});
    } else {
      add(in, planes, 3, {.stride = stride});
      add(planes, out, 3, {});
    }
    if (stride != 1 || in != out) {
      downsample_ = register_module("downsample", Sequential(conv(in, out, 1, {.stride = stride}), batch_norm(out)));
    }
  }

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    for (size_t i = 0; i < convs_.size(); ++i) {
      y = norms_[i]->forward(convs_[i]->forward(y));
      if (i + 1 < convs_.size()) {
        y = y.relu_();
      }
    }
    return drop_path(y, drop_, is_training()).add_(downsample_ ? downsample_->forward(x) : x).relu_();
  }

 private:
  double drop_;
  std::vector<Conv2d> convs_;
  std::vector<BatchNorm2d> norms_;
  Sequential downsample_{nullptr};
};
TORCH_MODULE(ResidualBlock);

// --- ConvNeXt

class ConvNeXtBlockImpl : public nn::Module {
 public:
  ConvNeXtBlockImpl(int64_t channels, double drop) : drop_(drop) {
    scale_ = register_parameter("layer_scale", torch::full({channels, 1, 1}, 1e-6));
    path_ = register_module(
        "block",
        Sequential(
            conv(channels, channels, 7, {.groups = channels, .bias = true}),
            layer([](const Tensor& x) { return x.permute({0, 2, 3, 1}); }),
            nn::LayerNorm(nn::LayerNormOptions({channels}).eps(1e-6)),
            nn::Linear(channels, 4 * channels),
            nn::GELU(),
            nn::Linear(4 * channels, channels),
            layer([](const Tensor& x) { return x.permute({0, 3, 1, 2}); })));
  }

  Tensor forward(const Tensor& x) {
    return at::addcmul(x, drop_path(path_->forward(x), drop_, is_training()), scale_);
  }

 private:
  double drop_;
  Tensor scale_;
  Sequential path_{nullptr};
};
TORCH_MODULE(ConvNeXtBlock);

// --- EfficientNet and MobileNetV3

struct InvertedBlockOptions {
  int64_t in, expanded, out, kernel, stride;
  int64_t squeezed = 0; // of the squeeze-and-excitation; 0: none
  Act act = Act::SiLU, gate = Act::Sigmoid;
  bool fused = false;
  double drop = 0;
};

// 1x1 that widens, depthwise, squeeze-and-excitation, 1x1 that narrows; where the first two are fused, one convolution.
class InvertedBlockImpl : public nn::Module {
 public:
  InvertedBlockImpl(const InvertedBlockOptions& o, const ConvNormAct& conv_norm_act)
      : residual_(o.stride == 1 && o.in == o.out), drop_(o.drop) {
    Sequential path;
    const bool widens = o.expanded != o.in;
    if (o.fused) {
      const auto width = widens ? o.expanded : o.out;
      path->push_back(conv_norm_act(o.in, width, o.kernel, {.stride = o.stride}, o.act));
    } else {
      if (widens) {
        path->push_back(conv_norm_act(o.in, o.expanded, 1, {}, o.act));
      }
      path->push_back(
          conv_norm_act(o.expanded, o.expanded, o.kernel, {.stride = o.stride, .groups = o.expanded}, o.act));
      if (o.squeezed > 0) {
        const auto act = o.act == Act::SiLU ? Act::SiLU : Act::ReLU;
        path->push_back(SqueezeExcite(o.expanded, o.squeezed, SqueezeExciteImpl::Options{.act = act, .gate = o.gate}));
      }
    }
    if (widens || !o.fused) {
      path->push_back(conv_norm_act(o.expanded, o.out, 1, {}, Act::None));
    }
    path_ = register_module("block", path);
  }

  Tensor forward(const Tensor& x) {
    const auto y = path_->forward(x);
    return residual_ ? drop_path(y, drop_, is_training()).add_(x) : y;
  }

 private:
  bool residual_;
  double drop_;
  Sequential path_{nullptr};
};
TORCH_MODULE(InvertedBlock);

// --- SqueezeNet

class FireImpl : public nn::Module {
 public:
  FireImpl(int64_t in, int64_t squeezed, int64_t each) {
    squeeze_ = register_module("squeeze", conv(in, squeezed, 1, {.bias = true}));
    expand1x1_ = register_module("expand1x1", conv(squeezed, each, 1, {.bias = true}));
    expand3x3_ = register_module("expand3x3", conv(squeezed, each, 3, {.bias = true}));
  }

  Tensor forward(const Tensor& x) {
    const auto y = squeeze_->forward(x).relu();
    return at::cat({expand1x1_->forward(y), expand3x3_->forward(y)}, 1).relu_();
  }

 private:
  Conv2d squeeze_{nullptr}, expand1x1_{nullptr}, expand3x3_{nullptr};
};
TORCH_MODULE(Fire);

// --- the bodies

TorchvisionBody make_body(const TvResNetConfig& config, const EncoderOptions& options) {
  Sequential row(
      conv(options.n_in, 64, 7, {.stride = 2}),
      batch_norm(64),
      relu(),
      nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2).padding(1)));
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  int64_t in = 64, block = 0;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const auto planes = int64_t{64} << i;
    Sequential stage;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      const auto drop = drop_path_rate(options.drop_path_rate, block++, blocks);
      stage->push_back(ResidualBlock(config, in, planes, i > 0 && j == 0 ? 2 : 1, drop));
      in = config.bottleneck ? 4 * planes : planes;
    }
    row->push_back(stage);
  }
  init_convolutions_fan_out(*row);
  return {.row = row, .width = in, .input = config.input, .nested = false, .first_conv = "0"};
}

TorchvisionBody make_body(const TvVggConfig& config, const EncoderOptions& options) {
  constexpr std::array<int64_t, 5> widths{64, 128, 256, 512, 512};
  Sequential row;
  int64_t in = options.n_in;
  for (size_t i = 0; i < widths.size(); ++i) {
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      row->push_back(conv(in, widths[i], 3, {.bias = true}));
      in = widths[i];
      if (config.batch_norm) {
        row->push_back(batch_norm(in));
      }
      row->push_back(relu());
    }
    row->push_back(nn::MaxPool2d(2));
  }
  init_convolutions_fan_out(*row);
  zero_biases(*row);
  return {.row = row, .width = in, .input = config.input, .smallest_size = 32, .residual = false};
}

TorchvisionBody make_body(const TvConvNeXtConfig& config, const EncoderOptions& options) {
  int64_t in = config.widths[0], block = 0;
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  Sequential row;
  row->push_back(Sequential(conv(options.n_in, in, 4, {.stride = 4, .padding = 0, .bias = true}), LayerNorm2d(in)));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const auto out = config.widths[i];
    if (i > 0) {
      row->push_back(Sequential(LayerNorm2d(in), conv(in, out, 2, {.stride = 2, .padding = 0, .bias = true})));
    }
    Sequential stage;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      stage->push_back(ConvNeXtBlock(out, drop_path_rate(options.drop_path_rate, block++, blocks)));
    }
    row->push_back(stage);
    in = out;
  }
  row->apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      trunc_normal_(convolution->weight);
    } else if (auto* dense = m.as<nn::LinearImpl>()) {
      trunc_normal_(dense->weight);
      nn::init::zeros_(dense->bias);
    }
  });
  zero_biases(*row);
  return {.row = row, .width = in, .input = config.input, .first_conv = "0.0.0", .smallest_size = 32};
}

TorchvisionBody make_body(const TvEfficientNetConfig& config, const EncoderOptions& options) {
  const auto channels = [&](int64_t c) { return make_divisible(static_cast<double>(c) * config.width); };
  const auto layers = [&](const TvEfficientNetConfig::Stage& stage) {
    return static_cast<int64_t>(std::ceil(static_cast<double>(stage.layers) * config.depth));
  };
  int64_t blocks = 0, block = 0;
  for (const auto& stage : config.stages) {
    blocks += layers(stage);
  }
  const ConvNormAct conv_norm_act{config.norm_eps, config.norm_momentum};
  int64_t in = channels(config.stem);
  Sequential row;
  row->push_back(conv_norm_act(options.n_in, in, 3, {.stride = 2}, Act::SiLU));
  for (const auto& stage : config.stages) {
    const auto out = channels(stage.out);
    Sequential members;
    for (int64_t j = 0; j < layers(stage); ++j) {
      const InvertedBlockOptions o{
          .in = in,
          .expanded = in * stage.expand,
          .out = out,
          .kernel = stage.kernel,
          .stride = j == 0 ? stage.stride : 1,
          .squeezed = stage.fused ? 0 : in / 4,
          .fused = stage.fused,
          .drop = drop_path_rate(options.drop_path_rate, block++, blocks)};
      members->push_back(InvertedBlock(o, conv_norm_act));
      in = out;
    }
    row->push_back(members);
  }
  const auto width = config.features > 0 ? config.features : 4 * in;
  row->push_back(conv_norm_act(in, width, 1, {}, Act::SiLU));
  init_convolutions_fan_out(*row);
  zero_biases(*row);
  return {.row = row, .width = width, .input = config.input, .first_conv = "0.0.0"};
}

TorchvisionBody make_body(const TvMobileNetV3Config& config, const EncoderOptions& options) {
  const ConvNormAct conv_norm_act{.eps = 1e-3, .momentum = 0.01};
  const auto blocks = static_cast<int64_t>(config.blocks.size());
  int64_t in = 16, block = 0;
  Sequential row;
  row->push_back(conv_norm_act(options.n_in, in, 3, {.stride = 2}, Act::HardSwish));
  for (const auto& b : config.blocks) {
    const int64_t quarter = b.expanded / 4, squeezed = make_divisible(static_cast<double>(quarter));
    const InvertedBlockOptions o{
        .in = in,
        .expanded = b.expanded,
        .out = b.out,
        .kernel = b.kernel,
        .stride = b.stride,
        .squeezed = b.squeeze ? squeezed : 0,
        .act = b.hard_swish ? Act::HardSwish : Act::ReLU,
        .gate = Act::HardSigmoid,
        .drop = drop_path_rate(options.drop_path_rate, block++, blocks)};
    row->push_back(InvertedBlock(o, conv_norm_act));
    in = b.out;
  }
  row->push_back(conv_norm_act(in, 6 * in, 1, {}, Act::HardSwish));
  init_convolutions_fan_out(*row);
  zero_biases(*row);
  return {.row = row, .width = 6 * in, .input = config.input, .first_conv = "0.0.0"};
}

TorchvisionBody make_body(const TvSqueezeNetConfig& config, const EncoderOptions& options) {
  struct Step {
    int64_t squeezed, each; // 0: a pooling
  };
  constexpr Step pool{0, 0};
  const std::vector<Step> v1_0{
      pool, {16, 64}, {16, 64}, {32, 128}, pool, {32, 128}, {48, 192}, {48, 192}, {64, 256}, pool, {64, 256}};
  const std::vector<Step> v1_1{
      pool, {16, 64}, {16, 64}, pool, {32, 128}, {32, 128}, pool, {48, 192}, {48, 192}, {64, 256}, {64, 256}};
  int64_t in = config.v1_1 ? 64 : 96;
  Sequential row(conv(options.n_in, in, config.v1_1 ? 3 : 7, {.stride = 2, .padding = 0, .bias = true}), relu());
  for (const auto& step : config.v1_1 ? v1_1 : v1_0) {
    if (step.each == 0) {
      row->push_back(nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2).ceil_mode(true)));
    } else {
      row->push_back(Fire(in, step.squeezed, step.each));
      in = 2 * step.each;
    }
  }
  row->apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      nn::init::kaiming_uniform_(convolution->weight);
    }
  });
  zero_biases(*row);
  const int64_t smallest = config.v1_1 ? 17 : 21;
  return {.row = row, .width = in, .input = config.input, .smallest_size = smallest, .residual = false};
}

TorchvisionBody make_body(const TvAlexNetConfig& config, const EncoderOptions& options) {
  const auto pool = [] { return nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2)); };
  const Sequential row(
      conv(options.n_in, 64, 11, {.stride = 4, .padding = 2, .bias = true}),
      relu(),
      pool(),
      conv(64, 192, 5, {.bias = true}),
      relu(),
      pool(),
      conv(192, 384, 3, {.bias = true}),
      relu(),
      conv(384, 256, 3, {.bias = true}),
      relu(),
      conv(256, 256, 3, {.bias = true}),
      relu(),
      pool());
  return {.row = row, .width = 256, .input = config.input, .smallest_size = 63, .residual = false};
}

EncoderInfo info_of(const std::string& name, const TorchvisionBody& body, const EncoderOptions& options) {
  check(
      body.residual || options.drop_path_rate == 0,
      "create_encoder",
      "'{}' has no residual branches to drop; leave drop_path_rate at 0",
      name);
  auto info = describe_encoder(name, options, body.width * pooled_width(choose_pooling(options)), body.input);
  info.first_conv = body.first_conv;
  info.smallest_size = body.smallest_size;
  return info;
}

} // namespace

TorchvisionImpl::TorchvisionImpl(
    const std::string& name,
    const TorchvisionConfig& config,
    const EncoderOptions& options)
    : TorchvisionImpl(name, std::visit([&](const auto& c) { return make_body(c, options); }, config), options) {}

TorchvisionImpl::TorchvisionImpl(const std::string& name, const TorchvisionBody& body, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, body, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate),
      prefix_(body.nested ? "0" : "body"),
      body_(body.row) {
  if (body.nested) {
    register_module("0", body_);
  } else { // its members are ours, so that their names have no prefix
    for (const auto& child : body_->named_children()) {
      register_module(child.key(), child.value());
    }
  }
  if (options.n_in != 3) {
    for (auto& m : modules(/*include_self=*/false)) {
      if (auto* convolution = m->as<nn::Conv2dImpl>()) {
        convolution->reset_parameters();
        break;
      }
    }
  }
}

std::vector<Segment> TorchvisionImpl::segments() {
  std::vector<Segment> parts;
  append_segments(parts, prefix_, body_);
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(global_pool(x, pool_, CatOrder::MaxAvg), drop_rate_, is_training());
                   }});
  return parts;
}

// Left out: networks that create_body cannot cut (MobileNetV2, MNASNet, ViT) or cuts to nothing or to the stem
// (DenseNet, ShuffleNet), and GoogLeNet, Inception, RegNet, Swin and MaxViT.
void add_torchvision_nets(EncoderRegistry& registry) {
  using C = TorchvisionConfig;
  const std::vector<TvEfficientNetConfig::Stage> kB0{
      {1, 3, 1, 16, 1},
      {6, 3, 2, 24, 2},
      {6, 5, 2, 40, 2},
      {6, 3, 2, 80, 3},
      {6, 5, 1, 112, 3},
      {6, 5, 2, 192, 4},
      {6, 3, 1, 320, 1}};
  constexpr std::array<int64_t, 4> k18{2, 2, 2, 2}, k34{3, 4, 6, 3}, k101{3, 4, 23, 3}, k152{3, 8, 36, 3};
  add_family<TorchvisionImpl>(
      registry,
      EncoderRegistry::Library::Fastai,
      std::vector<Variant<C>>{
          // clang-format off
          {"fastai:alexnet", TvAlexNetConfig{}},
          {"fastai:convnext_base", TvConvNeXtConfig{.layers = {3, 3, 27, 3}, .widths = {128, 256, 512, 1024}}},
          {"fastai:convnext_large", TvConvNeXtConfig{.layers = {3, 3, 27, 3}, .widths = {192, 384, 768, 1536}}},
          {"fastai:convnext_small", TvConvNeXtConfig{.layers = {3, 3, 27, 3}, .widths = {96, 192, 384, 768}}},
          {"fastai:convnext_tiny", TvConvNeXtConfig{.layers = {3, 3, 9, 3}, .widths = {96, 192, 384, 768}}},
          {"fastai:efficientnet_b0", TvEfficientNetConfig{.stages = kB0}},
          {"fastai:efficientnet_b1", TvEfficientNetConfig{.stages = kB0, .depth = 1.1, .input = {240}}},
          {"fastai:efficientnet_b2", TvEfficientNetConfig{.stages = kB0, .width = 1.1, .depth = 1.2, .input = {288}}},
          {"fastai:efficientnet_b3", TvEfficientNetConfig{.stages = kB0, .width = 1.2, .depth = 1.4, .input = {300}}},
          {"fastai:efficientnet_b4", TvEfficientNetConfig{.stages = kB0, .width = 1.4, .depth = 1.8, .input = {380}}},
          {"fastai:efficientnet_b5", TvEfficientNetConfig{.stages = kB0, .width = 1.6, .depth = 2.2, .norm_eps = 0.001, .norm_momentum = 0.01, .input = {456}}},
          {"fastai:efficientnet_b6", TvEfficientNetConfig{.stages = kB0, .width = 1.8, .depth = 2.6, .norm_eps = 0.001, .norm_momentum = 0.01, .input = {528}}},
          {"fastai:efficientnet_b7", TvEfficientNetConfig{.stages = kB0, .width = 2, .depth = 3.1, .norm_eps = 0.001, .norm_momentum = 0.01, .input = {600}}},
          {"fastai:efficientnet_v2_l", TvEfficientNetConfig{.stages = {{1, 3, 1, 32, 4, true}, {4, 3, 2, 64, 7, true}, {4, 3, 2, 96, 7, true}, {4, 3, 2, 192, 10}, {6, 3, 1, 224, 19}, {6, 3, 2, 384, 25}, {6, 3, 1, 640, 7}}, .features = 1280, .norm_eps = 0.001, .input = {480, PixelStats::Inception}}},
          {"fastai:efficientnet_v2_m", TvEfficientNetConfig{.stages = {{1, 3, 1, 24, 3, true}, {4, 3, 2, 48, 5, true}, {4, 3, 2, 80, 5, true}, {4, 3, 2, 160, 7}, {6, 3, 1, 176, 14}, {6, 3, 2, 304, 18}, {6, 3, 1, 512, 5}}, .stem = 24, .features = 1280, .norm_eps = 0.001, .input = {480}}},
          {"fastai:efficientnet_v2_s", TvEfficientNetConfig{.stages = {{1, 3, 1, 24, 2, true}, {4, 3, 2, 48, 4, true}, {4, 3, 2, 64, 4, true}, {4, 3, 2, 128, 6}, {6, 3, 1, 160, 9}, {6, 3, 2, 256, 15}}, .stem = 24, .features = 1280, .norm_eps = 0.001, .input = {384}}},
          {"fastai:mobilenet_v3_large", TvMobileNetV3Config{.blocks = {{3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1}, {5, 72, 40, true, false, 2}, {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1}, {3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1}, {3, 184, 80, false, true, 1}, {3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1}, {5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1}}}},
          {"fastai:mobilenet_v3_small", TvMobileNetV3Config{.blocks = {{3, 16, 16, true, false, 2}, {3, 72, 24, false, false, 2}, {3, 88, 24, false, false, 1}, {5, 96, 40, true, true, 2}, {5, 240, 40, true, true, 1}, {5, 240, 40, true, true, 1}, {5, 120, 48, true, true, 1}, {5, 144, 48, true, true, 1}, {5, 288, 96, true, true, 2}, {5, 576, 96, true, true, 1}, {5, 576, 96, true, true, 1}}}},
          {"fastai:resnet18", TvResNetConfig{.layers = k18}},
          {"fastai:resnet34", TvResNetConfig{.layers = k34}},
          {"fastai:resnet50", TvResNetConfig{.bottleneck = true, .layers = k34}},
          {"fastai:resnet101", TvResNetConfig{.bottleneck = true, .layers = k101}},
          {"fastai:resnet152", TvResNetConfig{.bottleneck = true, .layers = k152}},
          {"fastai:resnext50_32x4d", TvResNetConfig{.bottleneck = true, .layers = k34, .groups = 32, .base_width = 4}},
          {"fastai:resnext101_32x8d", TvResNetConfig{.bottleneck = true, .layers = k101, .groups = 32, .base_width = 8}},
          {"fastai:resnext101_64x4d", TvResNetConfig{.bottleneck = true, .layers = k101, .groups = 64, .base_width = 4}},
          {"fastai:squeezenet1_0", TvSqueezeNetConfig{}},
          {"fastai:squeezenet1_1", TvSqueezeNetConfig{.v1_1 = true}},
          {"fastai:vgg11", TvVggConfig{.layers = {1, 1, 2, 2, 2}}},
          {"fastai:vgg11_bn", TvVggConfig{.layers = {1, 1, 2, 2, 2}, .batch_norm = true}},
          {"fastai:vgg13", TvVggConfig{.layers = {2, 2, 2, 2, 2}}},
          {"fastai:vgg13_bn", TvVggConfig{.layers = {2, 2, 2, 2, 2}, .batch_norm = true}},
          {"fastai:vgg16", TvVggConfig{.layers = {2, 2, 3, 3, 3}}},
          {"fastai:vgg16_bn", TvVggConfig{.layers = {2, 2, 3, 3, 3}, .batch_norm = true}},
          {"fastai:vgg19", TvVggConfig{.layers = {2, 2, 4, 4, 4}}},
          {"fastai:vgg19_bn", TvVggConfig{.layers = {2, 2, 4, 4, 4}, .batch_norm = true}},
          {"fastai:wide_resnet50_2", TvResNetConfig{.bottleneck = true, .layers = k34, .base_width = 128}},
          {"fastai:wide_resnet101_2", TvResNetConfig{.bottleneck = true, .layers = k101, .base_width = 128}},
          // clang-format on
      });
}

} // namespace barlow
