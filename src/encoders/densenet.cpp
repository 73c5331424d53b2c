// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/densenet.h>

#include "../check.h"
#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

constexpr int64_t kBottleneck = 4; // a layer's first convolution is wider than its second by this factor

nn::ReLU relu() {
  return nn::ReLU(nn::ReLUOptions(true));
}

// Adds convolution NAME<number>, norm and ReLU.
void add_conv(Sequential& row, int number, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  row->push_back("conv" + std::to_string(number), conv(in, out, kernel, {.stride = stride}));
  row->push_back("norm" + std::to_string(number), batch_norm(out));
  row->push_back(relu());
}

// A binomial 3x3 filter at every second pixel, borders reflected. Source: Zhang, 2019.
Tensor blur_pool(const Tensor& x) {
  const auto row = torch::tensor({0.25, 0.5, 0.25}, x.options());
  const auto filter = row.outer(row).expand({x.size(1), 1, 3, 3});
  return barlow::conv2d(at::reflection_pad2d(x, {1, 1, 1, 1}), filter, {}, 2, 0, 1, x.size(1));
}

// Appends `growth` channels to its input.
class LayerImpl : public nn::Module {
 public:
  LayerImpl(int64_t in, int64_t growth) {
    const int64_t width = kBottleneck * growth;
    norm1_ = register_module("norm1", batch_norm(in));
    conv1_ = register_module("conv1", conv(in, width, 1));
    norm2_ = register_module("norm2", batch_norm(width));
    conv2_ = register_module("conv2", conv(width, growth, 3));
  }

  Tensor forward(const Tensor& x) {
    const auto y = conv1_->forward(norm1_->forward(x).relu_());
    return at::cat({x, conv2_->forward(norm2_->forward(y).relu_())}, 1);
  }

 private:
  BatchNorm2d norm1_{nullptr}, norm2_{nullptr};
  Conv2d conv1_{nullptr}, conv2_{nullptr};
};
TORCH_MODULE(Layer);

int64_t output_width(const DenseNetConfig& config) {
  int64_t width = 2 * config.growth;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    width = (i == 0 ? width : width / 2) + config.layers[i] * config.growth;
  }
  return width;
}

EncoderInfo info_of(const std::string& name, const DenseNetConfig& config, const EncoderOptions& options) {
  check(
      options.drop_path_rate == 0,
      "create_encoder",
      "'{}' has no residual branches to drop; leave drop_path_rate at 0",
      name);
  auto info =
      describe_encoder(name, options, output_width(config) * pooled_width(choose_pooling(options)), config.input);
  info.smallest_size = 29;
  info.first_conv = "features.conv0";
  info.classifier = "classifier";
  return info;
}

} // namespace

DenseNetImpl::DenseNetImpl(const std::string& name, const DenseNetConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  const auto growth = config.growth;
  int64_t width = 2 * growth;
  Sequential stem;
  if (config.deep_stem) {
    add_conv(stem, 0, options.n_in, growth, 3, 2);
    add_conv(stem, 1, growth, growth, 3, 1);
    add_conv(stem, 2, growth, width, 3, 1);
  } else {
    add_conv(stem, 0, options.n_in, width, 7, 2);
  }
  stem->push_back("pool0", layer([blur = config.blur](const Tensor& x) {
                    return blur ? blur_pool(at::max_pool2d(x, 3, 1, 1)) : at::max_pool2d(x, 3, 2, 1);
                  }));
  stem_ = stem;
  const auto features = register_module("features", std::make_shared<nn::Module>());
  for (const auto& child : stem_->named_children()) {
    features->register_module(child.key(), child.value());
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto number = std::to_string(i + 1);
    Sequential block;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      block->push_back("denselayer" + std::to_string(j + 1), Layer(width, growth));
      width += growth;
    }
    blocks_[i] = features->register_module("denseblock" + number, block);
    if (i < transitions_.size()) {
      Sequential transition;
      transition->push_back("norm", batch_norm(width));
      transition->push_back(relu());
      transition->push_back("conv", conv(width, width / 2, 1));
      transition->push_back("pool", nn::AvgPool2d(2));
      transitions_[i] = features->register_module("transition" + number, transition);
      width /= 2;
    }
  }
  norm_ = Sequential(features->register_module("norm5", batch_norm(width)), relu());
  apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      nn::init::kaiming_normal_(convolution->weight);
    }
  });
}

std::vector<Segment> DenseNetImpl::segments() {
  std::vector<Segment> parts{{"features.stem", [this](const Tensor& x) { return stem_->forward(x); }}};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto number = std::to_string(i + 1);
    append_segments(parts, "features.denseblock" + number, blocks_[i]);
    if (i < transitions_.size()) {
      parts.push_back(
          {"features.transition" + number, [this, i](const Tensor& x) { return transitions_[i]->forward(x); }});
    }
  }
  parts.push_back({"pool", [this](const Tensor& x) {
                     const auto pooled = global_pool(norm_->forward(x), pool_, CatOrder::AvgMax);
                     return at::dropout(pooled, drop_rate_, is_training());
                   }});
  return parts;
}

void add_densenets(EncoderRegistry& registry) {
  add_family<DenseNetImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<DenseNetConfig>>{
          // clang-format off
          {"densenet121", {.layers = {6, 12, 24, 16}}},
          {"densenet161", {.growth = 48, .layers = {6, 12, 36, 24}}},
          {"densenet169", {.layers = {6, 12, 32, 32}}},
          {"densenet201", {.layers = {6, 12, 48, 32}}},
          {"densenet264d", {.growth = 48, .layers = {6, 12, 64, 48}, .deep_stem = true}},
          {"densenetblur121d", {.layers = {6, 12, 24, 16}, .deep_stem = true, .blur = true}},
          // clang-format on
      });
}

} // namespace barlow
