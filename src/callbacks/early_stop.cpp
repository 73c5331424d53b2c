// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/early_stop.h>

#include <barlow/learner.h>

#include "../check.h"
#include "numbers.h"

namespace barlow {

EarlyStop::EarlyStop(const EarlyStopOptions& options) : options_(options) {
  check(options.patience >= 1, "EarlyStop", "patience must be at least 1 epoch, received {}", options.patience);
  check(options.min_delta >= 0, "EarlyStop", "min_delta must not be negative, received {}", options.min_delta);
}

std::string EarlyStop::name() const {
  return "EarlyStop";
}

int EarlyStop::order() const {
  return 75;
}

void EarlyStop::before_fit(Learner&) {
  best_ = std::numeric_limits<double>::infinity();
  waited_ = 0;
}

void EarlyStop::before_epoch(Learner&) { // of a run that is resumed after it was stopped
  if (waited_ >= options_.patience) {
    throw CancelFit();
  }
}

void EarlyStop::after_epoch(Learner& learn) {
  const auto loss = learn.recorder.values.back().monitored();
  if (loss && *loss < best_ - options_.min_delta) {
    best_ = *loss;
    waited_ = 0;
  } else if (++waited_ >= options_.patience) {
    throw CancelFit();
  }
}

NamedTensors EarlyStop::state() const {
  return {numbers<double>("best", {best_}), numbers<int64_t>("waited", {waited_})};
}

void EarlyStop::load_state(const NamedTensors& state) {
  best_ = numbers_of<double>(state, "best", 1)[0];
  waited_ = numbers_of<int64_t>(state, "waited", 1)[0];
}

} // namespace barlow
