// SPDX-License-Identifier: Apache-2.0
// Numbers of a callback's state as tensors and back.
#pragma once

#include <string>
#include <vector>

#include <torch/torch.h>

#include <barlow/weights.h>

#include "../check.h"

namespace barlow {

template <class T>
std::pair<std::string, at::Tensor> numbers(const std::string& name, const std::vector<T>& values) {
  return {name, torch::tensor(values, c10::CppTypeToScalarType<T>::value)};
}

/// The numbers of this name. Throws FileError if they are missing, fewer than `least` or of another type.
template <class T>
std::vector<T> numbers_of(const NamedTensors& state, const std::string& name, int64_t least = 0) {
  for (const auto& [key, x] : state) {
    if (key == name && x.scalar_type() == c10::CppTypeToScalarType<T>::value && x.dim() == 1 && x.numel() >= least &&
        !x.is_meta()) {
      const auto on_host = x.cpu().contiguous();
      const auto* first = on_host.template const_data_ptr<T>();
      return std::vector<T>(first, first + on_host.numel());
    }
  }
  throw FileError(fmt::format("[load_checkpoint] the checkpoint lacks '{}' of a callback; start a new run", name));
}

} // namespace barlow
