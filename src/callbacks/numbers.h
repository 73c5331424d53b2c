// SPDX-License-Identifier: Apache-2.0
// Numbers of a callback's state as tensors and back.
#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include <barlow/weights.h>

#include "../check.h"

namespace barlow {

template <class T>
std::pair<std::string, at::Tensor> numbers(const std::string& name, const std::vector<T>& values) {
  return {name, torch::tensor(values, c10::CppTypeToScalarType<T>::value)};
}

/// Whether a run counts so far; sums of two such numbers do not overflow.
constexpr bool is_count(double value) {
  constexpr double kMost = int64_t{1} << 53;
  return value >= -kMost && value <= kMost && value == static_cast<double>(static_cast<int64_t>(value));
}

/// A number of a state as an integer. Throws FileError if it is none.
inline int64_t count_of(double value) {
  check<FileError>(is_count(value), "load_checkpoint", "the checkpoint has {} where a count must be", value);
  return static_cast<int64_t>(value);
}

/// The numbers of this name. Throws FileError if they are missing, fewer than `least`, of another type, or beyond what
/// can be counted.
template <class T>
std::vector<T> numbers_of(const NamedTensors& state, const std::string& name, int64_t least = 0) {
  for (const auto& [key, x] : state) {
    if (key == name && x.scalar_type() == c10::CppTypeToScalarType<T>::value && x.dim() == 1 && x.numel() >= least &&
        !x.is_meta()) {
      const auto on_host = x.cpu().contiguous();
      const auto* first = on_host.template const_data_ptr<T>();
      std::vector<T> all(first, first + on_host.numel());
      if constexpr (std::is_same_v<T, int64_t>) {
        std::for_each(all.begin(), all.end(), [](int64_t value) { count_of(static_cast<double>(value)); });
      }
      return all;
    }
  }
  throw FileError(fmt::format("[load_checkpoint] the checkpoint lacks '{}' of a callback; start a new run", name));
}

} // namespace barlow
