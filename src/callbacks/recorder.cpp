// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/recorder.h>

#include <cmath>
#include <limits>

#include <barlow/learner.h>

#include "numbers.h"

namespace barlow {

std::string Recorder::name() const {
  return "Recorder";
}

int Recorder::order() const {
  return 50;
}

void Recorder::before_fit(Learner&) {
  losses.clear();
  raw_losses.clear();
  lrs.clear();
  values.clear();
  average_ = Smoothing();
}

void Recorder::before_epoch(Learner&) {
  start_ = std::chrono::steady_clock::now();
  data_wait_.reset();
  valid_sum_ = 0;
  valid_samples_ = 0;
}

void Recorder::before_train(Learner&) {
  train_start_ = std::chrono::steady_clock::now();
}

void Recorder::after_train(Learner& learn) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - train_start_).count();
  data_wait_ = learn.wait_seconds / std::max(seconds, 1e-9);
}

void Recorder::after_read(Learner& learn) {
  const auto& step = learn.values;
  if (!std::isfinite(step.loss)) {
    return; // a skipped step
  }
  if (!step.training) {
    valid_sum_ += step.loss * static_cast<double>(step.samples);
    valid_samples_ += step.samples;
    return;
  }
  losses.push_back(average_.add(step.loss));
  raw_losses.push_back(step.loss);
  lrs.push_back(step.lr);
}

void Recorder::after_epoch(Learner& learn) {
  EpochValues line{.epoch = learn.epoch, .data_wait = data_wait_};
  if (!losses.empty()) {
    line.train_loss = losses.back();
  }
  if (valid_samples_ > 0) {
    line.valid_loss = valid_sum_ / static_cast<double>(valid_samples_);
  }
  line.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  values.push_back(line);
}

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::optional<double> if_any(double x) {
  return std::isnan(x) ? std::nullopt : std::optional(x);
}

} // namespace

NamedTensors Recorder::state() const {
  std::vector<double> epochs; // five numbers each
  for (const auto& v : values) {
    epochs.insert(
        epochs.end(),
        {static_cast<double>(v.epoch),
         v.train_loss.value_or(kNone),
         v.valid_loss.value_or(kNone),
         v.seconds,
         v.data_wait.value_or(kNone)});
  }
  return {
      numbers("losses", losses),
      numbers("raw_losses", raw_losses),
      numbers("lrs", lrs),
      numbers("epochs", epochs),
      numbers<double>("average", {average_.sum()}),
      numbers<int64_t>("count", {average_.count()})};
}

void Recorder::load_state(const NamedTensors& state) {
  losses = numbers_of<double>(state, "losses");
  raw_losses = numbers_of<double>(state, "raw_losses");
  lrs = numbers_of<double>(state, "lrs");
  average_.restore(numbers_of<double>(state, "average", 1)[0], numbers_of<int64_t>(state, "count", 1)[0]);
  values.clear();
  const auto epochs = numbers_of<double>(state, "epochs");
  for (size_t i = 0; i + 5 <= epochs.size(); i += 5) {
    const auto* v = &epochs[i];
    values.push_back({count_of(v[0]), if_any(v[1]), if_any(v[2]), v[3], if_any(v[4])});
  }
}

} // namespace barlow
