// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/init.h>
#include <torch/nn/modules/linear.h>

namespace barlow {

/// As fastai's apply_init for what is added to an encoder: weights normal with variance 2 / fan_in, biases zero.
inline void init_linears(torch::nn::Module& module) {
  module.apply([](torch::nn::Module& part) {
    if (auto* linear = part.as<torch::nn::LinearImpl>()) {
      torch::nn::init::kaiming_normal_(linear->weight);
      if (linear->bias.defined()) {
        torch::nn::init::zeros_(linear->bias);
      }
    }
  });
}

} // namespace barlow
