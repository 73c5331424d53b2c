// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/param_scheduler.h>

#include <utility>

#include <barlow/learner.h>

#include "../check.h"

namespace barlow {

ParamScheduler::ParamScheduler(Schedule lr, Schedule momentum) : lr_(std::move(lr)), momentum_(std::move(momentum)) {
  check(lr_ != nullptr, "ParamScheduler", "the schedule of the learning rate must not be empty");
}

std::string ParamScheduler::name() const {
  return "ParamScheduler";
}

int ParamScheduler::order() const {
  return -50;
}

void ParamScheduler::before_fit(Learner& learn) {
  old_momentum_ = learn.opt->momentum();
  changed_ = momentum_ != nullptr;
}

void ParamScheduler::before_batch(Learner& learn) {
  if (!learn.training) {
    return;
  }
  const int64_t steps = learn.n_epoch * learn.n_iter;
  learn.opt->set_lr(lr_(learn.train_iter, steps));
  if (momentum_) {
    learn.opt->set_momentum(momentum_(learn.train_iter, steps));
  }
}

void ParamScheduler::after_fit(Learner& learn) {
  if (std::exchange(changed_, false)) {
    learn.opt->set_momentum(old_momentum_);
  }
}

} // namespace barlow
