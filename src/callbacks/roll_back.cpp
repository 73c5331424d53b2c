// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/roll_back.h>

#include <cmath>
#include <iostream>

#include <barlow/learner.h>

#include "../check.h"
#include "../snapshot.h"

namespace barlow {

RollBack::RollBack(const RollBackOptions& options) : options_(options) {
  check(
      options.after >= 1 && options.keep_every >= 1 && options.most >= 1,
      "RollBack",
      "after, keep_every and most must be at least 1, received {}, {} and {}",
      options.after,
      options.keep_every,
      options.most);
}

std::string RollBack::name() const {
  return "RollBack";
}

int RollBack::order() const {
  return 65;
}

void RollBack::keep(Learner& learn) {
  good_ = snapshot(learn);
  kept_at_ = learn.train_iter;
}

void RollBack::before_fit(Learner& learn) {
  check(
      learn.options.non_finite == NonFinite::Skip,
      "RollBack",
      "a non-finite loss must be skipped for a run to go on; set LearnerOptions::non_finite = NonFinite::Skip");
  bad_ = times_ = 0;
  keep(learn);
}

void RollBack::after_read(Learner& learn) {
  if (learn.values.training) {
    bad_ = std::isfinite(learn.values.loss) ? 0 : bad_ + 1;
  }
}

void RollBack::after_batch(Learner& learn) {
  if (bad_ >= options_.after) {
    ++times_;
    check<NonFiniteError>(
        times_ <= options_.most,
        "RollBack",
        "{} losses in a row were not finite for the {}th time; lower the learning rate or look at the images",
        bad_,
        times_);
    std::cerr << fmt::format(
        "RollBack: {} losses in a row were not finite; back to the state of step {}\n", bad_, kept_at_);
    learn.load(good_);
    bad_ = 0;
  } else if (learn.training && bad_ == 0 && learn.train_iter - kept_at_ >= options_.keep_every) {
    keep(learn);
  }
}

void RollBack::after_fit(Learner&) {
  good_ = {};
}

} // namespace barlow
