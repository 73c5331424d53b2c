// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/xresnet.h>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

// fastai's ConvLayer: convolution, batch norm, and ReLU unless it ends a path.
Sequential conv_layer(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, bool relu = true) {
  Sequential layer(conv(in, out, kernel, {.stride = stride}), nn::BatchNorm2d(out));
  if (relu) {
    layer->push_back(nn::ReLU(nn::ReLUOptions(true)));
  }
  return layer;
}

class BlockImpl : public nn::Module {
 public:
  BlockImpl(int64_t expansion, int64_t in, int64_t width, int64_t stride) {
    const int64_t out = width * expansion;
    in *= expansion;
    Sequential path;
    if (expansion == 1) {
      path->push_back(conv_layer(in, width, 3, stride));
      path->push_back(conv_layer(width, out, 3, 1, false));
    } else {
      path->push_back(conv_layer(in, width, 1));
      path->push_back(conv_layer(width, width, 3, stride));
      path->push_back(conv_layer(width, out, 1, 1, false));
    }
    convpath_ = register_module("convpath", path);
    Sequential shortcut;
    if (stride != 1) {
      shortcut->push_back(nn::AvgPool2d(nn::AvgPool2dOptions(stride).ceil_mode(true)));
    }
    if (in != out) {
      shortcut->push_back(conv_layer(in, out, 1, 1, false));
    }
    idpath_ = register_module("idpath", shortcut);
  }

  Tensor forward(const Tensor& x) {
    return convpath_->forward(x).add_(idpath_->is_empty() ? x : idpath_->forward(x)).relu_();
  }

  void zero_last_norm() {
    auto last = std::dynamic_pointer_cast<SequentialImpl>(convpath_->children().back());
    nn::init::zeros_(last->children()[1]->as<nn::BatchNorm2d>()->weight);
  }

 private:
  Sequential convpath_{nullptr}, idpath_{nullptr};
};
TORCH_MODULE(Block);

int64_t stage_width(size_t stage) { // 64, 128, 256, 512, then 256 for the deep variants' extra stages
  return stage < 4 ? int64_t{64} << stage : 256;
}

EncoderInfo describe_xresnet(const std::string& name, const XResNetConfig& config, const EncoderOptions& options) {
  const auto pool = options.pool_type.value_or(PoolingType::Avg);
  return {
      .name = name,
      .n_in = options.n_in,
      .num_features = stage_width(config.layers.size() - 1) * config.expansion * pooled_width(pool)};
}

} // namespace

XResNetImpl::XResNetImpl(const std::string& name, const XResNetConfig& config, const EncoderOptions& options)
    : EncoderImpl(describe_xresnet(name, config, options)), pool_(options.pool_type.value_or(PoolingType::Avg)) {
  Sequential body(
      conv_layer(options.n_in, 32, 3, 2),
      conv_layer(32, 32, 3),
      conv_layer(32, 64, 3),
      nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2).padding(1)));
  int64_t in = 64 / config.expansion;
  for (size_t stage = 0; stage < config.layers.size(); ++stage) {
    const int64_t width = stage_width(stage);
    Sequential blocks;
    for (int64_t i = 0; i < config.layers[stage]; ++i) {
      blocks->push_back(Block(config.expansion, in, width, i == 0 && stage > 0 ? 2 : 1));
      in = width;
    }
    body->push_back(blocks);
  }
  for (const auto& child : body->named_children()) {
    register_module(child.key(), child.value());
  }
  body_ = std::move(body); // its children are ours, so that their names have no prefix

  apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      nn::init::kaiming_normal_(convolution->weight);
    } else if (auto* block = m.as<BlockImpl>()) {
      block->zero_last_norm();
    }
  });
  if (options.n_in != 3) {
    body_->children()[0]->as<Sequential>()->children()[0]->as<nn::Conv2dImpl>()->reset_parameters();
  }
}

Tensor XResNetImpl::forward(const Tensor& x) {
  return global_pool(body_->forward(x), pool_, CatOrder::MaxAvg);
}

void add_xresnets(EncoderRegistry& registry) {
  const auto variant = [&](const char* name, const XResNetConfig& config) {
    registry.add(name, [config](const std::string& key, const EncoderOptions& options) {
      return Encoder(std::make_shared<XResNetImpl>(key, config, options));
    });
  };
  variant("xresnet18", {.expansion = 1, .layers = {2, 2, 2, 2}});
  variant("xresnet34", {.expansion = 1, .layers = {3, 4, 6, 3}});
  variant("xresnet50", {.expansion = 4, .layers = {3, 4, 6, 3}});
  variant("xresnet101", {.expansion = 4, .layers = {3, 4, 23, 3}});
  variant("xresnet152", {.expansion = 4, .layers = {3, 8, 36, 3}});
}

} // namespace barlow
