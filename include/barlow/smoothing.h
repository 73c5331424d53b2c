// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

namespace barlow {

/// Exponential average of the values so far, debiased so that it begins at the first: fastai's AvgSmoothLoss.
class Smoothing {
 public:
  explicit Smoothing(double beta = 0.98) : beta_(beta) {} ///< 0 <= beta < 1: how much of the average stays

  /// Takes a value in; the average.
  double add(double value) {
    sum_ = beta_ * sum_ + (1 - beta_) * value;
    ++count_;
    return sum_ / (1 - std::pow(beta_, static_cast<double>(count_)));
  }

  // To save and to go on from.
  double sum() const {
    return sum_;
  } ///< before the debiasing
  int64_t count() const {
    return count_;
  }
  void restore(double sum, int64_t count) {
    sum_ = sum;
    count_ = count;
  }

 private:
  double beta_, sum_ = 0;
  int64_t count_ = 0;
};

} // namespace barlow
