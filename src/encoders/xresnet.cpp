// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/xresnet.h>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

using Kind = XResNetConfig::Block;

// fastai's ConvLayer: convolution, batch norm, and ReLU unless it ends a path.
Sequential conv_layer(int64_t in, int64_t out, int64_t kernel, const ConvOptions& options = {}, bool relu = true) {
  Sequential layer(conv(in, out, kernel, options), batch_norm(out));
  if (relu) {
    layer->push_back(nn::ReLU(nn::ReLUOptions(true)));
  }
  return layer;
}

// fastai's SEModule: a pooling (0), two convolutions with their activations (1, 2), a product (3).
class SqueezeImpl : public nn::Module {
 public:
  SqueezeImpl(int64_t channels, int64_t reduction) {
    const int64_t squeezed = (channels / reduction + 7) / 8 * 8;
    squeeze_ = Sequential(conv(channels, squeezed, 1, {.bias = true}), nn::ReLU(nn::ReLUOptions(true)));
    excite_ = Sequential(conv(squeezed, channels, 1, {.bias = true}), nn::Sigmoid());
    const auto layers = register_module("layers", std::make_shared<nn::Module>());
    layers->register_module("1", squeeze_);
    layers->register_module("2", excite_);
  }

  Tensor forward(const Tensor& x) {
    return x * excite_->forward(squeeze_->forward(x.mean({2, 3}, /*keepdim=*/true)));
  }

 private:
  Sequential squeeze_{nullptr}, excite_{nullptr};
};
TORCH_MODULE(Squeeze);

class BlockImpl : public nn::Module {
 public:
  BlockImpl(const XResNetConfig& config, int64_t in, int64_t width, int64_t stride, double drop) : drop_(drop) {
    const int64_t out = width * config.expansion;
    in *= config.expansion;
    int64_t first = width, second = width, groups = 1; // channels inside the block
    if (config.block == Kind::SE) {
      first = 2 * width;
      second = out;
    } else if (config.block == Kind::NeXt) {
      groups = 32;
      first = second = width * 4 / 64 * groups;
    }
    Sequential path;
    if (config.expansion == 1) {
      path->push_back(conv_layer(in, second, 3, {.stride = stride, .groups = groups}));
      path->push_back(conv_layer(second, out, 3, {}, false));
    } else {
      path->push_back(conv_layer(in, first, 1));
      path->push_back(conv_layer(first, second, 3, {.stride = stride, .groups = groups}));
      path->push_back(conv_layer(second, out, 1, {}, false));
    }
    last_norm_ = path->children().back()->children()[1];
    if (config.reduction > 0) {
      path->push_back(Squeeze(out, config.reduction));
    }
    convpath_ = register_module("convpath", path);
    Sequential shortcut;
    if (stride != 1) {
      shortcut->push_back(nn::AvgPool2d(nn::AvgPool2dOptions(stride).ceil_mode(true)));
    }
    if (in != out) {
      shortcut->push_back(conv_layer(in, out, 1, {}, false));
    }
    idpath_ = register_module("idpath", shortcut);
  }

  Tensor forward(const Tensor& x) {
    return drop_path(convpath_->forward(x), drop_, is_training())
        .add_(idpath_->is_empty() ? x : idpath_->forward(x))
        .relu_();
  }

  void zero_last_norm() {
    nn::init::zeros_(last_norm_->as<BatchNorm2d>()->weight);
  }

 private:
  double drop_;
  std::shared_ptr<nn::Module> last_norm_;
  Sequential convpath_{nullptr}, idpath_{nullptr};
};
TORCH_MODULE(Block);

int64_t stage_width(size_t stage) { // 64, 128, 256, 512, then 256 for the deep variants' extra stages
  return stage < 4 ? int64_t{64} << stage : 256;
}

EncoderInfo info_of(const std::string& name, const XResNetConfig& config, const EncoderOptions& options) {
  const int64_t width = stage_width(config.layers.size() - 1) * config.expansion;
  auto info = describe_encoder(name, options, width * pooled_width(choose_pooling(options)), {});
  info.first_conv = "0.0";
  return info;
}

} // namespace

XResNetImpl::XResNetImpl(const std::string& name, const XResNetConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  Sequential body(
      conv_layer(options.n_in, 32, 3, {.stride = 2}),
      conv_layer(32, 32, 3),
      conv_layer(32, 64, 3),
      nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2).padding(1)));
  const auto blocks = std::accumulate(config.layers.begin(), config.layers.end(), int64_t{0});
  int64_t in = 64 / config.expansion, block = 0;
  for (size_t stage = 0; stage < config.layers.size(); ++stage) {
    const int64_t width = stage_width(stage);
    Sequential row;
    for (int64_t i = 0; i < config.layers[stage]; ++i) {
      const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
      row->push_back(Block(config, in, width, stride, drop_path_rate(options.drop_path_rate, block++, blocks)));
      in = width;
    }
    body->push_back(row);
  }
  for (const auto& child : body->named_children()) {
    register_module(child.key(), child.value());
  }
  body_ = std::move(body); // its children are ours, so that their names have no prefix

  apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      nn::init::kaiming_normal_(convolution->weight);
      if (convolution->bias.defined()) {
        nn::init::zeros_(convolution->bias);
      }
    } else if (auto* b = m.as<BlockImpl>()) {
      b->zero_last_norm();
    }
  });
  if (options.n_in != 3) {
    body_->children()[0]->children()[0]->as<nn::Conv2dImpl>()->reset_parameters();
  }
}

std::vector<Segment> XResNetImpl::segments() {
  std::vector<Segment> parts;
  append_segments(parts, "body", body_);
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(global_pool(x, pool_, CatOrder::MaxAvg), drop_rate_, is_training());
                   }});
  return parts;
}

// fastai's xsenet154 is left out: there it cannot be built (its arguments are short of one).
void add_xresnets(EncoderRegistry& registry) {
  add_family<XResNetImpl>(
      registry,
      EncoderRegistry::Library::Fastai,
      std::vector<Variant<XResNetConfig>>{
          // clang-format off
          {"xresnet18", {.expansion = 1, .layers = {2, 2, 2, 2}}},
          {"xresnet34", {.expansion = 1, .layers = {3, 4, 6, 3}}},
          {"xresnet50", {.expansion = 4, .layers = {3, 4, 6, 3}}},
          {"xresnet101", {.expansion = 4, .layers = {3, 4, 23, 3}}},
          {"xresnet152", {.expansion = 4, .layers = {3, 8, 36, 3}}},
          {"xresnet18_deep", {.expansion = 1, .layers = {2, 2, 2, 2, 1, 1}}},
          {"xresnet34_deep", {.expansion = 1, .layers = {3, 4, 6, 3, 1, 1}}},
          {"xresnet50_deep", {.expansion = 4, .layers = {3, 4, 6, 3, 1, 1}}},
          {"xresnet18_deeper", {.expansion = 1, .layers = {2, 2, 1, 1, 1, 1, 1, 1}}},
          {"xresnet34_deeper", {.expansion = 1, .layers = {3, 4, 6, 3, 1, 1, 1, 1}}},
          {"xresnet50_deeper", {.expansion = 4, .layers = {3, 4, 6, 3, 1, 1, 1, 1}}},
          {"xse_resnet18", {.expansion = 1, .layers = {2, 2, 2, 2}, .block = Kind::SE, .reduction = 16}},
          {"xse_resnet34", {.expansion = 1, .layers = {3, 4, 6, 3}, .block = Kind::SE, .reduction = 16}},
          {"xse_resnet50", {.expansion = 4, .layers = {3, 4, 6, 3}, .block = Kind::SE, .reduction = 16}},
          {"xse_resnet101", {.expansion = 4, .layers = {3, 4, 23, 3}, .block = Kind::SE, .reduction = 16}},
          {"xse_resnet152", {.expansion = 4, .layers = {3, 8, 36, 3}, .block = Kind::SE, .reduction = 16}},
          {"xresnext18", {.expansion = 1, .layers = {2, 2, 2, 2}, .block = Kind::NeXt}},
          {"xresnext34", {.expansion = 1, .layers = {3, 4, 6, 3}, .block = Kind::NeXt}},
          {"xresnext50", {.expansion = 4, .layers = {3, 4, 6, 3}, .block = Kind::NeXt}},
          {"xresnext101", {.expansion = 4, .layers = {3, 4, 23, 3}, .block = Kind::NeXt}},
          {"xse_resnext18", {.expansion = 1, .layers = {2, 2, 2, 2}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext34", {.expansion = 1, .layers = {3, 4, 6, 3}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext50", {.expansion = 4, .layers = {3, 4, 6, 3}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext101", {.expansion = 4, .layers = {3, 4, 23, 3}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext18_deep", {.expansion = 1, .layers = {2, 2, 2, 2, 1, 1}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext34_deep", {.expansion = 1, .layers = {3, 4, 6, 3, 1, 1}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext50_deep", {.expansion = 4, .layers = {3, 4, 6, 3, 1, 1}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext18_deeper", {.expansion = 1, .layers = {2, 2, 1, 1, 1, 1, 1, 1}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext34_deeper", {.expansion = 1, .layers = {3, 4, 4, 2, 2, 1, 1, 1}, .block = Kind::NeXt, .reduction = 16}},
          {"xse_resnext50_deeper", {.expansion = 4, .layers = {3, 4, 4, 2, 2, 1, 1, 1}, .block = Kind::NeXt, .reduction = 16}},
          // clang-format on
      });
}

} // namespace barlow
