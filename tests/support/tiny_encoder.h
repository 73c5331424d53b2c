// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <barlow/batch_norm.h>
#include <barlow/encoder.h>

namespace barlow::testing {

/// A convolution, batch norm and dropout, for one channel: so small that what surrounds it takes much of the time.
class TinyEncoder : public EncoderImpl {
 public:
  explicit TinyEncoder(double dropout = 0)
      : EncoderImpl({.name = "tiny", .n_in = 1, .num_features = 8}), dropout_(dropout) {
    conv_ = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3)));
    norm_ = register_module("norm", BatchNorm2d(8));
  }
  torch::Tensor forward(const torch::Tensor& x) override {
    const auto features = norm_->forward(conv_->forward(x)).relu().mean({2, 3});
    return dropout_ > 0 ? at::dropout(features, dropout_, is_training()) : features;
  }

 private:
  double dropout_;
  torch::nn::Conv2d conv_{nullptr};
  BatchNorm2d norm_{nullptr};
};

} // namespace barlow::testing
