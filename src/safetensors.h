// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <barlow/weights.h>

namespace barlow {

/// A file of the safetensors format, to be written in parts.
struct SafetensorsFile {
  std::string length, header;
  std::vector<at::Tensor> tensors; // on the CPU, contiguous

  std::vector<std::string_view> parts() const;
};

SafetensorsFile pack_safetensors(
    const NamedTensors& tensors,
    const std::map<std::string, std::string>& metadata,
    std::string_view name);

/// `file` is what errors call it.
NamedTensors parse_safetensors(
    const std::vector<char>& bytes,
    const std::string& file,
    std::map<std::string, std::string>* metadata);

} // namespace barlow
