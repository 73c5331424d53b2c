// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

namespace barlow {

/// What embeddings tell of themselves, without labels.
struct Diagnostics {
  double rank = 0; ///< RankMe of both views, 1 to min(2N, D): how many directions they use (Garrido et al., 2023)
  double std =
      0; ///< of L2-normalised embeddings, mean over features; 1 / sqrt(D) if they are spread evenly, 0: collapsed
  double mean_diagonal = 0; ///< of the cross-correlation matrix; 1: the views agree
  double rms_off_diagonal = 0; ///< of the same; 0: no redundancy
  int64_t dead_units = 0; ///< features without spread
  std::string warning{}; ///< what looks like a collapse, and what to do; empty if nothing does
};

/// Of two views' embeddings z1, z2 [N,D], N >= 2. Throws Error for shapes, NonFiniteError for NaN or infinity.
Diagnostics diagnose(const at::Tensor& z1, const at::Tensor& z2);

/// exp of the entropy of the singular values of z [N,D], as shares of their sum: 1 to min(N, D). Throws Error for N <
/// 2, NonFiniteError for NaN or infinity.
double rank_me(const at::Tensor& z);

} // namespace barlow
