// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/distributed.h>

namespace barlow {

/// How the off-diagonal sum is computed. With A, B the standardised embeddings [N,D] and C = A'B/N,
/// sum_ij C_ij^2 = <AA', BB'> / N^2, so one of two sizes of product is enough.
enum class LossRoute {
  Auto, ///< Samples if N < D, else Features: that is also what costs less memory and sends fewer bytes
  Features, ///< D x D products; needs C
  Samples, ///< N x N products; nothing of size D x D exists
};

struct LossOptions {
  double lmb = 0.005; ///< weight of the off-diagonal part, lambda (Zbontar et al., 2021: 0.0051)
  double eps = 0; ///< added to each variance; 0 as the documented library, 1e-5 as the authors' batch norm
  bool unbiased = false; ///< standard deviations with N - 1, as lightly's: C shrinks by (N - 1) / N
  LossRoute route = LossRoute::Auto;
  ProcessGroup process_group{}; ///< the batch is that of all its processes, N their rows together
  std::vector<int64_t> rows{}; ///< of each process, by rank; empty: they ask each other
  bool check_finite = true; ///< throw NonFiniteError; reads the loss, which on CUDA waits for the device
};

/// Scalars, float32 (float64 for float64 embeddings). Only `loss` has a gradient.
struct LossTerms {
  at::Tensor loss; ///< on_diagonal + lmb * off_diagonal
  at::Tensor on_diagonal; ///< sum_i (C_ii - 1)^2
  at::Tensor off_diagonal; ///< sum_{i != j} C_ij^2
};

/// Loss of two views' embeddings z1, z2 [N,D], N >= 2, any floating type, any device.
///
///     C = A'B / N,  A = (z1 - mean) / std over the batch (biased, per view), B likewise
///     loss = sum_i (1 - C_ii)^2 + lmb * sum_{i != j} C_ij^2
///
/// Standardisation, products and sums are at least float32 under any autocast, final sums float64. A constant column
/// (no spread beyond rounding) counts as zero and gets no gradient. The gradient is computed with the loss; it cannot
/// be differentiated again. Throws Error for shapes and types, NonFiniteError for NaN or infinity.
/// Source: Zbontar et al., "Barlow Twins", ICML 2021, eq. 1-2.
at::Tensor barlow_twins_loss(const at::Tensor& z1, const at::Tensor& z2, double lmb = 0.005);

/// The same with options, and the two parts for logs.
LossTerms barlow_twins_loss_terms(const at::Tensor& z1, const at::Tensor& z2, const LossOptions& options = {});

/// The loss to expect of uncorrelated embeddings, n samples of d features: d + lmb * d * (d - 1) / n.
double expected_initial_loss(int64_t n, int64_t d, double lmb = 0.005);

} // namespace barlow
