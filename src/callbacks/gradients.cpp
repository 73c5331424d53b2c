// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/gradients.h>

#include <cmath>

#include <torch/torch.h>

#include <barlow/learner.h>

#include "../check.h"
#include "numbers.h"

namespace barlow {

GradientClip::GradientClip(double max_norm) : max_norm_(max_norm) {
  check(std::isfinite(max_norm) && max_norm > 0, "GradientClip", "max_norm must be positive, received {}", max_norm);
}

std::string GradientClip::name() const {
  return "GradientClip";
}

void GradientClip::before_step(Learner& learn) {
  const torch::NoGradGuard no_grad;
  const auto grads = learn.opt->grads();
  if (grads.empty()) {
    return;
  }
  const auto norm = at::stack(at::_foreach_norm(grads, 2)).norm();
  constexpr double kTiny = 1e-6; // torch's
  at::_foreach_mul_(grads, (max_norm_ / (norm + kTiny)).clamp_max(1));
  learn.log("grad_norm", norm);
}

GradientAccumulation::GradientAccumulation(int64_t n_acc) : n_acc_(n_acc) {
  check(n_acc >= 1, "GradientAccumulation", "n_acc must be at least 1, received {}", n_acc);
}

std::string GradientAccumulation::name() const {
  return "GradientAccumulation";
}

void GradientAccumulation::before_fit(Learner&) {
  count_ = 0;
}

void GradientAccumulation::after_loss(Learner& learn) {
  if (learn.training) {
    learn.loss_grad = learn.loss_grad * (static_cast<double>(learn.samples()) / static_cast<double>(n_acc_));
    learn.sum_gradients = count_ + learn.samples() >= n_acc_;
  }
}

void GradientAccumulation::after_backward(Learner& learn) {
  count_ += learn.samples();
  if (count_ < n_acc_) {
    throw CancelBatch();
  }
  count_ = 0;
}

NamedTensors GradientAccumulation::state() const {
  return {numbers<int64_t>("count", {count_})};
}

void GradientAccumulation::load_state(const NamedTensors& state) {
  count_ = numbers_of<int64_t>(state, "count", 1)[0];
}

} // namespace barlow
