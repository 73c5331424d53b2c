// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <barlow/embed.h>

namespace barlow {

/// Classes from features: scores = (features - mean) / std * weight' + bias.
struct LinearClassifier {
  at::Tensor weight, bias; ///< [classes,F], [classes]
  at::Tensor mean, std; ///< [F] of the features it was fitted to

  at::Tensor scores(const at::Tensor& features) const; ///< [N,F] -> [N,classes]
};

struct LogisticOptions {
  double l2 = 1e-3; ///< of the objective: mean cross-entropy + l2 / 2 * |weight|^2
  int64_t max_iterations = 200; ///< of L-BFGS
  double tolerance = 1e-5; ///< largest gradient of the objective that counts as none
};

/// Multinomial logistic regression on features standardised by their own mean and spread, by L-BFGS: the optimum is
/// one, so there is no rate and no number of steps to choose. What a linear probe says of frozen features, in seconds.
/// Throws Error for labels that are missing or of one class, options out of range, NonFiniteError for NaN or infinity.
LinearClassifier fit_logistic(const Embeddings& train, const LogisticOptions& options = {});

struct LinearAccuracy {
  double top1 = 0, top5 = 0; ///< shares of the samples whose label has the best score, or one of the five best
};
LinearAccuracy accuracy(const LinearClassifier& classifier, const Embeddings& samples);

} // namespace barlow
