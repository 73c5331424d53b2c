// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <torch/nn/modules/container/sequential.h>

#include <barlow/conv.h>

namespace barlow {

/// torch::nn::Sequential from tensor to tensor, which unlike torch's can stand in another one.
class SequentialImpl : public torch::nn::SequentialImpl {
 public:
  using torch::nn::SequentialImpl::SequentialImpl;
  at::Tensor forward(const at::Tensor& x) {
    return torch::nn::SequentialImpl::forward(x);
  }
};
TORCH_MODULE(Sequential);

/// Parameters and buffers by name, in the order of Python's state_dict.
std::vector<std::pair<std::string, at::Tensor>> state_dict(const torch::nn::Module& module);

/// Parameters (without buffers) of a module, counted.
int64_t count_parameters(const torch::nn::Module& module);

} // namespace barlow
