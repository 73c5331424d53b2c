// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/ema.h>

#include <map>

#include <torch/torch.h>

#include <barlow/learner.h>

#include "../check.h"

namespace barlow {

Ema::Ema(const EmaOptions& options) : options_(options) {
  check(options.decay >= 0 && options.decay < 1, "Ema", "decay must be in [0, 1), received {}", options.decay);
}

std::string Ema::name() const {
  return "Ema";
}

int Ema::order() const {
  return 51;
}

void Ema::before_fit(Learner& learn) {
  if (!averages_.empty()) {
    return;
  }
  for (const auto& p : learn.model->parameters()) {
    averages_.push_back(p.detach().clone());
  }
}

void Ema::after_step(Learner& learn) {
  const torch::NoGradGuard no_grad;
  at::_foreach_lerp_(averages_, learn.model->parameters(), 1 - options_.decay);
}

void Ema::exchange(Learner& learn) {
  const torch::NoGradGuard no_grad;
  auto params = learn.model->parameters();
  check(params.size() == averages_.size(), "Ema::exchange", "there are no averages yet; fit first");
  for (size_t i = 0; i < params.size(); ++i) {
    const auto kept = params[i].detach().clone();
    params[i].copy_(averages_[i]);
    averages_[i].copy_(kept);
  }
  exchanged_ = !exchanged_;
}

void Ema::before_validate(Learner& learn) {
  if (options_.validate) {
    exchange(learn);
  }
}

void Ema::after_validate(Learner& learn) {
  if (exchanged_) {
    exchange(learn);
  }
}

void Ema::after_fit(Learner& learn) {
  after_validate(learn); // if the validation ended by an error
}

NamedTensors Ema::state() const {
  NamedTensors all;
  for (size_t i = 0; i < averages_.size(); ++i) {
    all.emplace_back(std::to_string(i), averages_[i]);
  }
  return all;
}

void Ema::load_state(const NamedTensors& state) {
  check(
      state.size() == averages_.size(), "Ema", "the checkpoint has {} averages of {}", state.size(), averages_.size());
  const std::map<std::string, at::Tensor> by_name(state.begin(), state.end());
  for (size_t i = 0; i < averages_.size(); ++i) {
    const auto found = by_name.find(std::to_string(i));
    check(
        found != by_name.end() && found->second.sizes() == averages_[i].sizes(),
        "Ema",
        "the checkpoint has no average '{}' of {}",
        i,
        describe(averages_[i]));
    averages_[i].copy_(found->second);
  }
}

} // namespace barlow
