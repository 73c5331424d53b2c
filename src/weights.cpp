// SPDX-License-Identifier: Apache-2.0
#include <barlow/weights.h>

#include <torch/torch.h>

#include <barlow/nn.h>

#include "check.h"
#include "file.h"
#include "safetensors.h"

namespace barlow {

namespace fs = std::filesystem;

NamedTensors load_safetensors(const fs::path& path, std::map<std::string, std::string>* metadata) {
  return parse_safetensors(read_file(path, "load_safetensors"), path.string(), metadata);
}

void save_safetensors(
    const fs::path& path,
    const NamedTensors& tensors,
    const std::map<std::string, std::string>& metadata) {
  write_file(path, pack_safetensors(tensors, metadata).parts(), "save_safetensors");
}

void load_weights(torch::nn::Module& module, const fs::path& path) {
  load_weights(module, load_safetensors(path), path.string());
}

void check_weights(const torch::nn::Module& module, const NamedTensors& given, const std::string& source) {
  const std::map<std::string, torch::Tensor> by_name(given.begin(), given.end());
  std::string problems;
  const auto wanted = state_dict(module);
  for (const auto& [name, tensor] : wanted) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      problems += fmt::format("\n  missing: {}", name);
    } else if (found->second.sizes() != tensor.sizes()) {
      problems += fmt::format(
          "\n  mis-shaped: {} is {} in the file, {} in the module",
          name,
          barlow::describe(found->second),
          barlow::describe(tensor));
    }
  }
  for (const auto& [name, tensor] : by_name) {
    const bool known = std::any_of(wanted.begin(), wanted.end(), [&](const auto& w) { return w.first == name; });
    if (!known) {
      problems += fmt::format("\n  unexpected: {}", name);
    }
  }
  check(problems.empty(), "load_weights", "'{}' does not fit the module; nothing was loaded{}", source, problems);
}

void load_weights(torch::nn::Module& module, const NamedTensors& given, const std::string& source) {
  check_weights(module, given, source);
  const std::map<std::string, torch::Tensor> by_name(given.begin(), given.end());
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state_dict(module)) {
    torch::Tensor(tensor).copy_(by_name.at(name));
  }
}

void save_weights(
    const torch::nn::Module& module,
    const fs::path& path,
    const std::map<std::string, std::string>& metadata) {
  save_safetensors(path, state_dict(module), metadata);
}

} // namespace barlow
