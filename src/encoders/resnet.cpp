// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/resnet.h>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

constexpr std::array<int64_t, 4> kWidths{64, 128, 256, 512};

int64_t expansion(const ResNetConfig& config) {
  return config.bottleneck ? 4 : 1;
}

class BlockImpl : public nn::Module {
 public:
  BlockImpl(bool bottleneck, int64_t in, int64_t width, int64_t out, int64_t stride) {
    const auto add = [this](int64_t number, int64_t from, int64_t to, int64_t kernel, int64_t step) {
      convs_.push_back(register_module("conv" + std::to_string(number), conv(from, to, kernel, {.stride = step})));
      norms_.push_back(register_module("bn" + std::to_string(number), nn::BatchNorm2d(to)));
    };
    if (bottleneck) {
      add(1, in, width, 1, 1);
      add(2, width, width, 3, stride);
      add(3, width, out, 1, 1);
    } else {
      add(1, in, width, 3, stride);
      add(2, width, out, 3, 1);
    }
    if (stride != 1 || in != out) {
      downsample_ =
          register_module("downsample", Sequential(conv(in, out, 1, {.stride = stride}), nn::BatchNorm2d(out)));
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
    return y.add_(downsample_ ? downsample_->forward(x) : x).relu_();
  }

  void zero_last_norm() {
    nn::init::zeros_(norms_.back()->weight);
  }

 private:
  std::vector<Conv2d> convs_;
  std::vector<nn::BatchNorm2d> norms_;
  Sequential downsample_{nullptr};
};
TORCH_MODULE(Block);

EncoderInfo describe_resnet(const std::string& name, const ResNetConfig& config, const EncoderOptions& options) {
  const auto pool = options.pool_type.value_or(PoolingType::Avg);
  return {.name = name, .n_in = options.n_in, .num_features = kWidths.back() * expansion(config) * pooled_width(pool)};
}

} // namespace

ResNetImpl::ResNetImpl(const std::string& name, const ResNetConfig& config, const EncoderOptions& options)
    : EncoderImpl(describe_resnet(name, config, options)), pool_(options.pool_type.value_or(PoolingType::Avg)) {
  conv1_ = register_module("conv1", conv(options.n_in, 64, 7, {.stride = 2}));
  bn1_ = register_module("bn1", nn::BatchNorm2d(64));
  int64_t in = 64;
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    const int64_t width = kWidths[stage], out = width * expansion(config);
    Sequential blocks;
    for (int64_t i = 0; i < config.layers[stage]; ++i) {
      const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
      blocks->push_back(Block(config.bottleneck, in, width, out, stride));
      in = out;
    }
    stages_[stage] = register_module("layer" + std::to_string(stage + 1), blocks);
  }
  init_convolutions_fan_out(*this);
  apply([](nn::Module& m) {
    if (auto* block = m.as<BlockImpl>()) {
      block->zero_last_norm();
    }
  });
}

Tensor ResNetImpl::forward(const Tensor& x) {
  auto y = bn1_->forward(conv1_->forward(x)).relu_();
  y = at::max_pool2d(y, 3, 2, 1);
  for (auto& stage : stages_) {
    y = stage->forward(y);
  }
  return global_pool(y, pool_, CatOrder::AvgMax);
}

void add_resnets(EncoderRegistry& registry) {
  const auto variant = [&](const char* name, ResNetConfig config) {
    registry.add(name, [config](const std::string& key, const EncoderOptions& options) {
      return Encoder(std::make_shared<ResNetImpl>(key, config, options));
    });
  };
  variant("resnet18", {.layers = {2, 2, 2, 2}});
  variant("resnet34", {.layers = {3, 4, 6, 3}});
  variant("resnet50", {.bottleneck = true, .layers = {3, 4, 6, 3}});
  variant("resnet101", {.bottleneck = true, .layers = {3, 4, 23, 3}});
  variant("resnet152", {.bottleneck = true, .layers = {3, 8, 36, 3}});
}

} // namespace barlow
