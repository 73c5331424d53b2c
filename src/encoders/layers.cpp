// SPDX-License-Identifier: Apache-2.0
#include "layers.h"

#include <iostream>
#include <mutex>
#include <set>

#include <fmt/ranges.h>

#include "../check.h"

namespace barlow {

using torch::Tensor;

EncoderInfo
describe_encoder(const std::string& name, const EncoderOptions& options, int64_t num_features, const InputSpec& input) {
  EncoderInfo info{.name = name, .n_in = options.n_in, .num_features = num_features, .input_size = input.size};
  switch (input.stats) {
    case PixelStats::Imagenet:
      info.mean = {0.485, 0.456, 0.406};
      info.std = {0.229, 0.224, 0.225};
      break;
    case PixelStats::Inception:
      info.mean = info.std = {0.5, 0.5, 0.5};
      break;
    case PixelStats::Clip:
      info.mean = {0.48145466, 0.4578275, 0.40821073};
      info.std = {0.26862954, 0.26130258, 0.27577711};
      break;
    case PixelStats::Unit:
      info.mean = {0, 0, 0};
      info.std = {1, 1, 1};
      break;
  }
  return info;
}

Tensor activate(const Tensor& x, Act act) {
  Tensor y = x;
  switch (act) {
    case Act::None:
      return x;
    case Act::ReLU:
      return y.relu_();
    case Act::ReLU6:
      return at::hardtanh_(y, 0, 6);
    case Act::LeakyReLU:
      return at::leaky_relu_(y, 0.01);
    case Act::SiLU:
      return at::silu(x);
    case Act::GELU:
      return at::gelu(x);
    case Act::GELUTanh:
      return at::gelu(x, "tanh");
    case Act::HardSwish:
      return at::hardswish(x);
    case Act::HardSigmoid:
      return at::hardsigmoid(x);
    case Act::Sigmoid:
      return at::sigmoid(x);
  }
  TORCH_INTERNAL_ASSERT(false, "an Act without a case");
}

namespace {

class TfSameConv2dImpl : public Conv2dImpl {
 public:
  using Conv2dImpl::Conv2dImpl;
  Tensor forward(const Tensor& x) override {
    return Conv2dImpl::forward(pad_tf_same(x, options.kernel_size()->at(0), options.stride()->at(0)));
  }
};

} // namespace

Conv2d conv(int64_t in, int64_t out, int64_t kernel, const ConvOptions& o) {
  const bool dynamic = o.tf_same && (o.stride != 1 || kernel % 2 == 0);
  const int64_t padding = dynamic ? 0 : o.padding < 0 ? (kernel - 1) / 2 : o.padding;
  const auto options =
      torch::nn::Conv2dOptions(in, out, kernel).stride(o.stride).padding(padding).groups(o.groups).bias(o.bias);
  if (dynamic) {
    const std::shared_ptr<Conv2dImpl> convolution = std::make_shared<TfSameConv2dImpl>(options);
    return convolution;
  }
  return Conv2d(options);
}

Tensor pad_tf_same(const Tensor& x, int64_t kernel, int64_t stride, double value) {
  const auto total = [&](int64_t side) {
    return std::max<int64_t>(((side + stride - 1) / stride - 1) * stride + kernel - side, 0);
  };
  const int64_t h = total(x.size(2)), w = total(x.size(3));
  return h > 0 || w > 0 ? at::constant_pad_nd(x, {w / 2, w - w / 2, h / 2, h - h / 2}, value) : x;
}

BatchNorm2d batch_norm(int64_t channels, double eps, double momentum) {
  return BatchNorm2d(torch::nn::BatchNorm2dOptions(channels).eps(eps).momentum(momentum));
}

LayerNorm2dImpl::LayerNorm2dImpl(int64_t channels, double eps)
    : torch::nn::LayerNormImpl(torch::nn::LayerNormOptions({channels}).eps(eps)) {}

Tensor LayerNorm2dImpl::forward(const Tensor& x) {
  return torch::nn::LayerNormImpl::forward(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
}

int64_t make_divisible(double value, int64_t divisor, double round_limit) {
  const auto d = static_cast<double>(divisor);
  const auto rounded = std::max(divisor, static_cast<int64_t>(value + d / 2) / divisor * divisor);
  return static_cast<double>(rounded) < round_limit * value ? rounded + divisor : rounded;
}

SqueezeExciteImpl::SqueezeExciteImpl(int64_t channels, int64_t reduced, const Options& options)
    : act_(options.act), gate_(options.gate) {
  fc1_ = register_module(options.fc1, conv(channels, reduced, 1, {.bias = true}));
  fc2_ = register_module(options.fc2, conv(reduced, channels, 1, {.bias = true}));
}

Tensor SqueezeExciteImpl::forward(const Tensor& x) {
  const auto squeezed = activate(fc1_->forward(x.mean({2, 3}, /*keepdim=*/true)), act_);
  return x * activate(fc2_->forward(squeezed), gate_);
}

Tensor drop_path(const Tensor& x, double rate, bool training) {
  if (!training || rate == 0) {
    return x;
  }
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  const double keep = 1 - rate;
  return x * torch::empty(shape, x.options()).bernoulli_(keep).div_(keep);
}

double drop_path_rate(double last, int64_t index, int64_t count) {
  return count > 1 ? last * static_cast<double>(index) / static_cast<double>(count - 1) : 0;
}

const char* pooling_name(PoolingType type) {
  switch (type) {
    case PoolingType::Fast:
      return "Fast";
    case PoolingType::Avg:
      return "Avg";
    case PoolingType::AvgMax:
      return "AvgMax";
    case PoolingType::CatAvgMax:
      return "CatAvgMax";
    case PoolingType::Max:
      return "Max";
  }
  TORCH_INTERNAL_ASSERT(false, "a PoolingType without a name");
}

std::optional<PoolingType> choose_pooling(
    const EncoderOptions& options,
    const std::string& name,
    std::optional<PoolingType> own,
    std::initializer_list<PoolingType> possible) {
  if (!options.pool_type) {
    return own;
  }
  const auto asked = *options.pool_type;
  if (std::find(possible.begin(), possible.end(), asked) != possible.end()) {
    return asked;
  }
  std::vector<const char*> names;
  for (const auto type : possible) {
    names.push_back(pooling_name(type));
  }
  check(
      options.pool_type.is_default(),
      "create_encoder",
      "'{}' cannot pool by {}; use {}nullopt for its own",
      name,
      pooling_name(asked),
      names.empty() ? "" : fmt::format("{}, or ", fmt::join(names, ", ")));
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (told.insert(name).second) {
    std::cerr << "create_encoder: '" << name << "' cannot pool by " << pooling_name(asked) << " and pools by "
              << (own ? pooling_name(*own) : "its own way") << " instead\n";
  }
  return own;
}

PoolingType choose_pooling(const EncoderOptions& options) {
  return options.pool_type.value_or(PoolingType::Avg);
}

int64_t pooled_width(PoolingType type) {
  return type == PoolingType::CatAvgMax ? 2 : 1;
}

Tensor global_pool(const Tensor& x, PoolingType type, CatOrder order) {
  const auto average = [&] { return at::adaptive_avg_pool2d(x, {1, 1}).flatten(1); };
  const auto maximum = [&] { return std::get<0>(at::adaptive_max_pool2d(x, {1, 1})).flatten(1); };
  switch (type) {
    case PoolingType::Fast:
      return x.mean({2, 3});
    case PoolingType::Avg:
      return average();
    case PoolingType::Max:
      return maximum();
    case PoolingType::AvgMax:
      return (average() + maximum()) * 0.5;
    case PoolingType::CatAvgMax:
      return order == CatOrder::AvgMax ? at::cat({average(), maximum()}, 1) : at::cat({maximum(), average()}, 1);
  }
  TORCH_INTERNAL_ASSERT(false, "a PoolingType without a case");
}

void append_segments(std::vector<Segment>& segments, const std::string& prefix, Sequential& row) {
  const auto children = row->named_children();
  auto module = row->begin();
  for (const auto& child : children) {
    auto& any = *module++;
    segments.push_back({prefix + "." + child.key(), [&any](const Tensor& x) { return any.forward(x); }});
  }
}

void init_convolutions_fan_out(torch::nn::Module& module) {
  module.apply([](torch::nn::Module& m) {
    if (auto* convolution = m.as<torch::nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(convolution->weight, 0, torch::kFanOut, torch::kReLU);
    }
  });
}

void trunc_normal_(const Tensor& weight, double std) {
  const torch::NoGradGuard no_grad;
  weight.normal_(0, std).clamp_(-2, 2); // clamped is truncated as far as anybody can tell at std 0.02
}

} // namespace barlow
