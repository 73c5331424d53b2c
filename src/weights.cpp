// SPDX-License-Identifier: Apache-2.0
#include <barlow/weights.h>

#include <set>

#include <caffe2/serialize/file_adapter.h>
#include <torch/torch.h>

#include <barlow/nn.h>

#include "check.h"
#include "file.h"
#include "pytorch_file.h"
#include "safetensors.h"

namespace barlow {

namespace fs = std::filesystem;

NamedTensors load_safetensors(const fs::path& path, std::map<std::string, std::string>* metadata) {
  return parse_safetensors(read_file(path, "load_safetensors"), path.string(), metadata);
}

NamedTensors load_tensors(const fs::path& path) {
  constexpr auto here = "load_tensors";
  constexpr std::string_view kZip = "PK\x03\x04";
  constexpr std::string_view kBeforeZip("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", 8); // torch.save's magic number till 1.5
  const auto begins = read_start(path, "load_safetensors", kBeforeZip.size());
  check<FileError>(
      begins != kBeforeZip,
      here,
      "'{}' is in PyTorch's format before 1.6; write it anew, in Python: torch.save(torch.load(FILE), FILE)",
      path.string());
  if (begins.starts_with(kZip)) {
    return read_pytorch(std::make_shared<caffe2::serialize::FileAdapter>(path.string()), path.string());
  }
  return load_safetensors(path);
}

void save_safetensors(
    const fs::path& path,
    const NamedTensors& tensors,
    const std::map<std::string, std::string>& metadata) {
  constexpr auto here = "save_safetensors";
  write_file(path, pack_safetensors(tensors, metadata, here).parts(), here);
}

void load_weights(torch::nn::Module& module, const fs::path& path) {
  load_weights(module, load_tensors(path), path.string());
}

void check_weights(const torch::nn::Module& module, const NamedTensors& given, const std::string& source) {
  const std::map<std::string, torch::Tensor> by_name(given.begin(), given.end());
  constexpr size_t kMostToTell = 10'000; // characters, of a file with many names or long ones
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
    } else if (found->second.is_floating_point() != tensor.is_floating_point()) {
      problems += fmt::format(
          "\n  mis-typed: {} is {} in the file, {} in the module",
          name,
          barlow::describe(found->second),
          barlow::describe(tensor));
    } else if (found->second.is_meta()) {
      problems += fmt::format("\n  without data: {}", name);
    }
  }
  for (const auto& [name, tensor] : by_name) {
    const bool known = std::any_of(wanted.begin(), wanted.end(), [&](const auto& w) { return w.first == name; });
    if (!known) {
      problems += fmt::format("\n  unexpected: {}", name);
    }
  }
  if (problems.size() > kMostToTell) {
    problems.resize(kMostToTell);
    problems += "\n  ...";
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

NamedTensors under_common_prefix(const NamedTensors& tensors, const std::vector<std::string>& names) {
  const std::set<std::string> wanted(names.begin(), names.end());
  size_t longest = 0;
  for (const auto& name : names) {
    longest = std::max(longest, name.size());
  }
  std::map<std::string, size_t> hits;
  const auto count = [&](const std::string& name, size_t begin) {
    if (name.size() - begin <= longest && wanted.count(name.substr(begin)) > 0) {
      ++hits[name.substr(0, begin)];
    }
  };
  for (const auto& [name, tensor] : tensors) {
    count(name, 0);
    for (size_t point = name.find('.'); point != std::string::npos; point = name.find('.', point + 1)) {
      count(name, point + 1);
    }
  }
  const auto best =
      std::max_element(hits.begin(), hits.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  NamedTensors part;
  for (const auto& [name, tensor] : tensors) {
    if (best != hits.end() && name.rfind(best->first, 0) == 0) {
      part.emplace_back(name.substr(best->first.size()), tensor);
    }
  }
  return part;
}

void save_weights(
    const torch::nn::Module& module,
    const fs::path& path,
    const std::map<std::string, std::string>& metadata) {
  save_safetensors(path, state_dict(module), metadata);
}

} // namespace barlow
