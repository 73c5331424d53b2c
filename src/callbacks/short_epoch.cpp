// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/short_epoch.h>

#include <barlow/learner.h>

#include "../check.h"

namespace barlow {

ShortEpochCallback::ShortEpochCallback(double fraction, bool short_valid)
    : fraction_(fraction), short_valid_(short_valid) {
  check(fraction > 0 && fraction <= 1, "ShortEpochCallback", "fraction must be in (0, 1], received {}", fraction);
}

std::string ShortEpochCallback::name() const {
  return "ShortEpochCallback";
}

int ShortEpochCallback::order() const {
  return -90;
}

// Before the batch, so that a run that is resumed there stops there too.
void ShortEpochCallback::before_batch(Learner& learn) {
  const auto done = static_cast<double>(learn.iter);
  if (learn.iter == 0 || done < fraction_ * static_cast<double>(learn.n_iter)) {
    return;
  }
  if (learn.training) {
    throw CancelTrain();
  }
  if (short_valid_) {
    throw CancelValidate();
  }
}

} // namespace barlow
