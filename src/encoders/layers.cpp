// SPDX-License-Identifier: Apache-2.0
#include "layers.h"

namespace barlow {

int64_t pooled_width(PoolingType type) {
  return type == PoolingType::CatAvgMax ? 2 : 1;
}

torch::Tensor global_pool(const torch::Tensor& x, PoolingType type, CatOrder order) {
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

void init_convolutions_fan_out(torch::nn::Module& module) {
  module.apply([](torch::nn::Module& m) {
    if (auto* convolution = m.as<torch::nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(convolution->weight, 0, torch::kFanOut, torch::kReLU);
    }
  });
}

} // namespace barlow
