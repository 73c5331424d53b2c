// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace barlow {

struct LrFindOptions {
  double start_lr = 1e-7, end_lr = 10; ///< first and last rate; it grows by a constant factor
  int64_t num_it = 100; ///< steps
  bool stop_div = true; ///< stop when the smoothed loss is four times its least value
  std::filesystem::path plot{}; ///< PNG of the loss against the rate; empty: none
};

/// Losses against rates, without the first tenth of the steps and the last five, and what they advise.
/// Source: Smith, 2015; fastai 2.8.12.
struct LrFindResult {
  std::vector<double> lrs, losses; ///< a step each; losses smoothed
  double valley = 0; ///< the middle of the longest fall of the loss: the one to take
  double steepest = 0; ///< where the loss falls fastest
  double minimum = 0; ///< a tenth of the rate with the least loss
};

/// The rates that such losses advise. Throws Error for fewer than three steps.
LrFindResult suggest_rates(std::vector<double> lrs, std::vector<double> losses);

} // namespace barlow
