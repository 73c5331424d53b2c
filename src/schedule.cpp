// SPDX-License-Identifier: Apache-2.0
#include <barlow/schedule.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "check.h"

namespace barlow {
namespace {

double cosine(double from, double to, double share) { // 0 <= share <= 1
  return from + (to - from) * (1 - std::cos(std::numbers::pi * share)) / 2;
}

double share(int64_t part, int64_t whole) {
  return std::min(1., static_cast<double>(part) / static_cast<double>(std::max<int64_t>(whole, 1)));
}

void check_rate(const char* name, double lr) {
  check(std::isfinite(lr) && lr > 0, name, "the rate must be finite and positive, received {}", lr);
}

void check_share(const char* name, double pct) {
  check(pct >= 0 && pct <= 1, name, "pct_start must be in [0, 1], received {}", pct);
}

void check_divisor(const char* name, double div) {
  check(std::isfinite(div) && div > 0, name, "divisors must be finite and positive, received {}", div);
}

// Two cosines that meet at pct_start.
Schedule up_and_down(double first, double middle, double last, double pct_start) {
  return [=](int64_t step, int64_t steps) {
    const double at = share(step, steps);
    return at < pct_start ? cosine(first, middle, at / pct_start)
                          : cosine(middle, last, pct_start < 1 ? (at - pct_start) / (1 - pct_start) : 0);
  };
}

} // namespace

Schedule constant(double value) {
  check(
      std::isfinite(value) && value >= 0, "constant", "the value must be finite and not negative, received {}", value);
  return [value](int64_t, int64_t) { return value; };
}

Schedule one_cycle(double lr_max, const OneCycleOptions& o) {
  constexpr auto here = "one_cycle";
  check_rate(here, lr_max);
  check_divisor(here, o.div);
  check_divisor(here, o.div_final);
  check_share(here, o.pct_start);
  return up_and_down(lr_max / o.div, lr_max, lr_max / o.div_final, o.pct_start);
}

Schedule one_cycle_momentum(double high, double low, double pct_start) {
  constexpr auto here = "one_cycle_momentum";
  check(low >= 0 && low <= high && high < 1, here, "0 <= low <= high < 1 must hold, received {} and {}", low, high);
  check_share(here, pct_start);
  return up_and_down(high, low, high, pct_start);
}

Schedule flat_cosine(double lr, const FlatCosineOptions& o) {
  constexpr auto here = "flat_cosine";
  check_rate(here, lr);
  check_divisor(here, o.div_final);
  check_share(here, o.pct_start);
  return up_and_down(lr, lr, lr / o.div_final, o.pct_start);
}

Schedule warmup_cosine(double lr, const WarmupCosineOptions& o) {
  constexpr auto here = "warmup_cosine";
  check_rate(here, lr);
  check(o.warmup_steps >= 0, here, "warmup_steps must not be negative, received {}", o.warmup_steps);
  check(
      o.warmup_start >= 0 && std::isfinite(o.warmup_start),
      here,
      "warmup_start must be finite and not negative, received {}",
      o.warmup_start);
  check(o.end >= 0 && o.end <= lr, here, "end must be between 0 and the rate {}, received {}", lr, o.end);
  check(
      o.ramp != Ramp::Lightly || o.warmup_start == 0,
      here,
      "lightly's ramp begins at 0, received warmup_start = {}",
      o.warmup_start);
  return [lr, o](int64_t step, int64_t steps) {
    const auto w = o.warmup_steps;
    if (step < w) {
      const auto done = o.ramp == Ramp::Lightly ? step + 1 : step;
      const auto all = o.ramp == Ramp::SoloLearn ? w - 1 : w;
      return o.warmup_start + (lr - o.warmup_start) * share(done, all);
    }
    return cosine(lr, o.end, share(step - w, steps - w - (o.ramp == Ramp::Lightly ? 1 : 0)));
  };
}

Schedule step_decay(double lr, std::vector<double> milestones, double gamma) {
  constexpr auto here = "step_decay";
  check_rate(here, lr);
  check(gamma > 0 && gamma <= 1, here, "gamma must be in (0, 1], received {}", gamma);
  for (const double m : milestones) {
    check(m > 0 && m < 1, here, "milestones are shares of the steps in (0, 1), received {}", m);
  }
  return [lr, milestones = std::move(milestones), gamma](int64_t step, int64_t steps) {
    // A milestone lies between two steps: of 100 steps, 0.6 is before step 60.
    const auto passed = std::count_if(milestones.begin(), milestones.end(), [&](double m) {
      return step >= std::llround(m * static_cast<double>(steps));
    });
    return lr * std::pow(gamma, static_cast<double>(passed));
  };
}

Schedule by_epoch(Schedule of_epochs, int64_t epochs) {
  check(
      of_epochs != nullptr && epochs >= 1,
      "by_epoch",
      "there must be a schedule and at least 1 epoch, received {}",
      epochs);
  return [of_epochs = std::move(of_epochs), epochs](int64_t step, int64_t steps) {
    return of_epochs(step / std::max<int64_t>(steps / epochs, 1), epochs);
  };
}

LrAdvice authors_lr(int64_t batch_size) {
  struct Row {
    double batch, base_lr;
  };
  constexpr std::array<Row, 6> kTable{{{128, 0.7}, {256, 0.4}, {512, 0.3}, {1024, 0.25}, {2048, 0.2}, {4096, 0.2}}};
  check(batch_size >= 2, "authors_lr", "batch_size must be at least 2, received {}", batch_size);
  const auto batch = static_cast<double>(batch_size);
  double base = kTable.back().base_lr;
  if (batch <= kTable.front().batch) {
    base = kTable.front().base_lr;
  }
  for (size_t i = 1; i < kTable.size(); ++i) {
    const auto &low = kTable[i - 1], &high = kTable[i];
    if (batch > low.batch && batch <= high.batch) {
      const double t = std::log2(batch / low.batch) / std::log2(high.batch / low.batch);
      base = low.base_lr + t * (high.base_lr - low.base_lr);
    }
  }
  return {
      base * batch / 256,
      fmt::format(
          "base rate {:.4g} of the authors' table for batch {} (ResNet-50, LARS), times {} / 256",
          base,
          batch_size,
          batch_size)};
}

LrAdvice linear_lr(double base_lr, int64_t batch_size, int64_t base_batch) {
  constexpr auto here = "linear_lr";
  check_rate(here, base_lr);
  check(
      batch_size >= 1 && base_batch >= 1,
      here,
      "batch sizes must be positive, received {} and {}",
      batch_size,
      base_batch);
  return {
      base_lr * static_cast<double>(batch_size) / static_cast<double>(base_batch),
      fmt::format("linear rule: {} times batch {} / {}", base_lr, batch_size, base_batch)};
}

} // namespace barlow
