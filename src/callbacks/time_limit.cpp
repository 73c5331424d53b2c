// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/time_limit.h>

#include <barlow/learner.h>

#include "../check.h"

namespace barlow {

TimeLimit::TimeLimit(double seconds) : limit_(seconds) {
  check(seconds > 0, "TimeLimit", "seconds must be positive, received {}", seconds);
}

std::string TimeLimit::name() const {
  return "TimeLimit";
}

int TimeLimit::order() const {
  return 70;
}

void TimeLimit::before_fit(Learner&) {
  start_ = std::chrono::steady_clock::now();
}

void TimeLimit::after_batch(Learner& learn) {
  if (!learn.training) {
    return;
  }
  if (learn.options.process_group.any(std::chrono::steady_clock::now() - start_ >= limit_)) { // clocks differ
    throw CancelFit();
  }
}

} // namespace barlow
