// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/roll_back.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include <ATen/core/Tensor.h>

#include <barlow/callbacks/ema.h>
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
  averages_.clear();
  if (const auto* ema = learn.find<Ema>()) {
    for (const auto& [name, average] : ema->state()) {
      averages_.emplace_back(name, average.clone());
    }
  }
  kept_at_ = learn.train_iter;
}

void RollBack::before_fit(Learner& learn) {
  check(
      learn.options.non_finite == NonFinite::Skip,
      "RollBack",
      "a non-finite loss must be skipped for a run to go on; set LearnerOptions::non_finite = NonFinite::Skip");
  bad_ = worst_ = times_ = 0;
  good_ = {};
}

void RollBack::before_train(Learner& learn) {
  if (good_.tensors.empty()) { // not in before_fit: a checkpoint comes after it
    keep(learn);
  }
}

void RollBack::after_read(Learner& learn) {
  if (learn.values.training) {
    bad_ = std::isfinite(learn.values.loss) ? 0 : bad_ + 1;
    worst_ = std::max(worst_, bad_);
  }
}

void RollBack::after_batch(Learner& learn) {
  if (!learn.training) { // others may have exchanged the parameters
    return;
  }
  const bool due = learn.train_iter - kept_at_ >= options_.keep_every;
  if (due || bad_ > 0) {
    learn.read_values(); // those on the device are of the same state
  }
  if (worst_ >= options_.after) {
    roll_back(learn);
  } else if (due && bad_ == 0) {
    keep(learn);
  }
}

void RollBack::after_train(Learner& learn) { // the last values have been read
  if (worst_ >= options_.after) {
    roll_back(learn);
  }
}

void RollBack::roll_back(Learner& learn) {
  ++times_;
  check<NonFiniteError>(
      times_ <= options_.most,
      "RollBack",
      "{} losses in a row were not finite for the {}th time; lower the learning rate or look at the images",
      worst_,
      times_);
  std::cerr << fmt::format(
      "RollBack: {} losses in a row were not finite; back to the state of step {}\n", worst_, kept_at_);
  learn.load(good_);
  if (auto* ema = learn.find<Ema>()) {
    ema->load_state(averages_);
  }
  bad_ = worst_ = 0;
}

void RollBack::after_fit(Learner&) {
  good_ = {};
  averages_.clear();
}

} // namespace barlow
