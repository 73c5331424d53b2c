// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/PhiloxRNGEngine.h>

namespace barlow {

/// What the random numbers of one view of a batch are keyed by. A sample gets the same view whatever batch it is in,
/// and whatever the number of worker threads or processes.
struct ViewKeys {
  uint64_t seed = 0;
  int64_t epoch = 0;
  int64_t view = 0;
  std::vector<int64_t> index; ///< [N] index of each sample in its data set
  std::optional<int64_t> first{}; ///< index of the sample that draws for the whole batch; nullopt: index[0]
};

/// A stream of random numbers that is a pure function of its key. Source: Philox-4x32-10 (Salmon et al., 2011).
class KeyedRandom {
 public:
  /// `operation` separates the transforms of a pipeline: its position there.
  KeyedRandom(uint64_t seed, int64_t epoch, int64_t index, int64_t view, int64_t operation);

  double uniform(); ///< in [0, 1), 53 bits
  double uniform(double low, double high);
  int64_t below(int64_t n); ///< uniform integer in [0, n), n >= 1
  bool bernoulli(double p);

 private:
  uint64_t bits();
  at::Philox4_32 engine_;
};

/// A permutation of 0..n-1 for an epoch of shuffled samples.
std::vector<int64_t> random_permutation(int64_t n, uint64_t seed, int64_t epoch);

} // namespace barlow
