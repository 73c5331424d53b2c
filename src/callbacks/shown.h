// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/data.h>
#include <barlow/embed.h>

namespace barlow {

/// At most `count` of 0..n-1, evenly spread: data sets are often sorted by class.
at::Tensor spread(int64_t n, int64_t count);

/// Some of a data set's samples, evenly spread: their features and small pictures of them.
struct Shown {
  at::Tensor features; ///< [M,F]
  at::Tensor labels; ///< [M]; undefined if no sample has one
  at::Tensor tiles; ///< [M,C,S,S] in 0..1, C 1 or 3, S at most 64

  /// `all`: of the loader, whose order is always the same.
  Shown(const Embeddings& all, const DataLoader& loader, int64_t most);
};

} // namespace barlow
