// SPDX-License-Identifier: Apache-2.0
#include <barlow/nn.h>

#include <torch/torch.h>

namespace barlow {
namespace {

using torch::Tensor;

void collect(
    const torch::nn::Module& module,
    const std::string& prefix,
    std::vector<std::pair<std::string, Tensor>>& entries) {
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    entries.emplace_back(prefix + item.key(), item.value());
  }
  for (const auto& item : module.named_buffers(/*recurse=*/false)) {
    entries.emplace_back(prefix + item.key(), item.value());
  }
  for (const auto& child : module.named_children()) {
    collect(*child.value(), prefix + child.key() + ".", entries);
  }
}

} // namespace

std::vector<std::pair<std::string, Tensor>> state_dict(const torch::nn::Module& module) {
  std::vector<std::pair<std::string, Tensor>> entries;
  collect(module, "", entries);
  return entries;
}

int64_t count_parameters(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& p : module.parameters()) {
    count += p.numel();
  }
  return count;
}

} // namespace barlow
