// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/vgg.h>

#include "../check.h"
#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

constexpr std::array<int64_t, 5> kWidths{64, 128, 256, 512, 512};
constexpr int64_t kHeadWidth = 4096, kHeadKernel = 7;

EncoderInfo info_of(const std::string& name, const VggConfig& config, const EncoderOptions& options) {
  check(
      options.drop_path_rate == 0,
      "create_encoder",
      "'{}' has no residual branches to drop; leave drop_path_rate at 0",
      name);
  auto info = describe_encoder(name, options, kHeadWidth * pooled_width(choose_pooling(options)), config.input);
  info.smallest_size = 32;
  info.first_conv = "features.0";
  info.classifier = "head.fc";
  return info;
}

} // namespace

VggImpl::VggImpl(const std::string& name, const VggConfig& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  const auto features = register_module("features", std::make_shared<nn::Module>());
  int64_t in = options.n_in;
  for (size_t i = 0; i < stages_.size(); ++i) {
    Sequential stage;
    for (int64_t j = 0; j < config.layers[i]; ++j) {
      stage->push_back(conv(in, kWidths[i], 3, {.bias = true}));
      in = kWidths[i];
      if (config.batch_norm) {
        stage->push_back(batch_norm(in));
      }
      stage->push_back(nn::ReLU(nn::ReLUOptions(config.batch_norm))); // a convolution's output may be a view
    }
    stage->push_back(nn::MaxPool2d(2));
    for (const auto& child : stage->children()) {
      features->register_module(std::to_string(features->children().size()), child);
    }
    stages_[i] = stage;
  }
  const auto head = register_module("pre_logits", std::make_shared<nn::Module>());
  fc1_ = head->register_module("fc1", conv(in, kHeadWidth, kHeadKernel, {.padding = 0, .bias = true}));
  fc2_ = head->register_module("fc2", conv(kHeadWidth, kHeadWidth, 1, {.bias = true}));
  init_convolutions_fan_out(*this);
  apply([](nn::Module& m) {
    if (auto* convolution = m.as<nn::Conv2dImpl>()) {
      nn::init::zeros_(convolution->bias);
    }
  });
}

std::vector<Segment> VggImpl::segments() {
  std::vector<Segment> parts;
  parts.reserve(stages_.size() + 2);
  for (size_t i = 0; i < stages_.size(); ++i) {
    parts.push_back(
        {"features.stage" + std::to_string(i + 1), [this, i](const Tensor& x) { return stages_[i]->forward(x); }});
  }
  parts.push_back({"pre_logits", [this](const Tensor& x) {
                     const auto h = std::max(x.size(2), kHeadKernel), w = std::max(x.size(3), kHeadKernel);
                     const bool small = h > x.size(2) || w > x.size(3);
                     const auto y = fc1_->forward(small ? at::adaptive_avg_pool2d(x, {h, w}) : x).relu();
                     return fc2_->forward(at::dropout(y, drop_rate_, is_training())).relu();
                   }});
  parts.push_back({"pool", [this](const Tensor& x) {
                     return at::dropout(global_pool(x, pool_, CatOrder::AvgMax), drop_rate_, is_training());
                   }});
  return parts;
}

void add_vggs(EncoderRegistry& registry) {
  add_family<VggImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<VggConfig>>{
          // clang-format off
          {"vgg11", {.layers = {1, 1, 2, 2, 2}}},
          {"vgg11_bn", {.layers = {1, 1, 2, 2, 2}, .batch_norm = true}},
          {"vgg13", {.layers = {2, 2, 2, 2, 2}}},
          {"vgg13_bn", {.layers = {2, 2, 2, 2, 2}, .batch_norm = true}},
          {"vgg16", {.layers = {2, 2, 3, 3, 3}}},
          {"vgg16_bn", {.layers = {2, 2, 3, 3, 3}, .batch_norm = true}},
          {"vgg19", {.layers = {2, 2, 4, 4, 4}}},
          {"vgg19_bn", {.layers = {2, 2, 4, 4, 4}, .batch_norm = true}},
          // clang-format on
      });
}

} // namespace barlow
