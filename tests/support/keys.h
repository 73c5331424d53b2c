// SPDX-License-Identifier: Apache-2.0
// Keys for the views of a batch.
#pragma once

#include <numeric>
#include <vector>

#include <barlow/random.h>

namespace barlow::testing {

inline ViewKeys keys(std::vector<int64_t> index, int64_t view = 0, int64_t epoch = 0, uint64_t seed = 7) {
  return {.seed = seed, .epoch = epoch, .view = view, .index = std::move(index)};
}

/// 0..n-1
inline std::vector<int64_t> first(int64_t n) {
  std::vector<int64_t> index(static_cast<size_t>(n));
  std::iota(index.begin(), index.end(), 0);
  return index;
}

} // namespace barlow::testing
