// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace barlow {

/// A value at each step of a fit: a pure function of the step, 0 <= step < steps, and their number. The functions below
/// throw Error for rates that are not finite and positive and for numbers out of range.
using Schedule = std::function<double(int64_t step, int64_t steps)>;

Schedule constant(double value);

struct OneCycleOptions {
  double div = 25; ///< first rate: lr_max / div
  double div_final = 1e5; ///< last one: lr_max / div_final
  double pct_start = 0.25; ///< share of the steps in which the rate rises
};

/// Rises to lr_max and falls, along cosines. Source: Smith, 2018; fastai 2.8.12, fit_one_cycle.
Schedule one_cycle(double lr_max, const OneCycleOptions& options = {});

/// The momentum beside it: `high`, `low` where the rate is highest, `high`.
Schedule one_cycle_momentum(double high = 0.95, double low = 0.85, double pct_start = 0.25);

struct FlatCosineOptions {
  double div_final = 1e5; ///< last rate: lr / div_final
  double pct_start = 0.75; ///< share of the steps at the full rate
};

/// Constant, then along a cosine to almost nothing. Source: fastai 2.8.12, fit_flat_cos.
Schedule flat_cosine(double lr, const FlatCosineOptions& options = {});

/// Where a warm-up and a cosine have their first and last values. w: warm-up's steps, s: the step, n: all steps.
enum class Ramp {
  Authors, ///< rises by s / w, falls by (s - w) / (n - w): the first rate is warmup_start, the last not quite end
  SoloLearn, ///< rises by s / (w - 1): the warm-up's last rate is the full one
  Lightly, ///< rises by (s + 1) / w, falls by (s - w) / (n - w - 1): the last rate is end
};

struct WarmupCosineOptions {
  int64_t warmup_steps = 0; ///< steps, not epochs
  double warmup_start = 0; ///< rate to rise from, linearly; Lightly: 0
  double end = 0; ///< rate to fall to
  Ramp ramp = Ramp::Authors;
};

/// Linear warm-up, then half a cosine. A fit that is shorter than the warm-up ends in it.
/// Source: facebookresearch/barlowtwins; solo-learn; lightly 1.5.
Schedule warmup_cosine(double lr, const WarmupCosineOptions& options);

/// `lr`, multiplied by gamma at each milestone, given as share of the steps in (0, 1): {0.6, 0.8}.
Schedule step_decay(double lr, std::vector<double> milestones, double gamma = 0.1);

/// The schedule by epochs: the same value for all steps of an epoch. Throws Error for epochs < 1.
Schedule by_epoch(Schedule of_epochs, int64_t epochs);

/// A learning rate and where it comes from.
struct LrAdvice {
  double lr;
  std::string source;
};

/// The authors' base rate for a batch size (Zbontar et al., issue 7 of their program: ResNet-50, LARS, 300 epochs),
/// times batch / 256; between the table's sizes interpolated in their logarithm. Throws Error unless batch_size >= 2.
LrAdvice authors_lr(int64_t batch_size);

/// base_lr * batch_size / base_batch. Source: Goyal et al., 2017.
LrAdvice linear_lr(double base_lr, int64_t batch_size, int64_t base_batch = 256);

} // namespace barlow
