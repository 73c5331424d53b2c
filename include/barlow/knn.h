// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/embed.h>

namespace barlow {

/// Cosine similarities [Q,k] of each query [Q,F] to its k nearest rows of the bank [N,F], falling, and the rows'
/// numbers [Q,k]. Beyond the result it takes memory for some thousand rows of the bank at a time, whatever N is. Throws
/// Error for shapes, types and 1 <= k <= N, NonFiniteError for NaN or infinity.
std::pair<at::Tensor, at::Tensor> nearest(const at::Tensor& query, const at::Tensor& bank, int64_t k);

/// Votes of the k nearest: scores [Q,classes], for each class the sum of exp(similarity / temperature) over its rows.
/// bank_labels [N] int64 in 0..classes-1; temperature at least 0.0125, for the exponential. Source: Wu et al., 2018;
/// lightly's knn_predict, with rows of any length.
at::Tensor knn_scores(
    const at::Tensor& query,
    const at::Tensor& bank,
    const at::Tensor& bank_labels,
    int64_t classes,
    int64_t k = 200,
    double temperature = 0.1);

struct KnnAccuracy {
  int64_t k = 0;
  double top1 = 0, top5 = 0; ///< shares of the queries whose label has the best score, or one of the five best
};

/// Accuracy for each k, from one search. Labels of both must be there; throws Error for a k larger than the bank, a
/// query label that the bank does not have, or a single class.
std::vector<KnnAccuracy> knn_accuracy(
    const Embeddings& bank,
    const Embeddings& queries,
    const std::vector<int64_t>& ks = {20, 200},
    double temperature = 0.1);

} // namespace barlow
