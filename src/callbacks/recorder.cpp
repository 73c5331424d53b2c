// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/recorder.h>

#include <cmath>

#include <barlow/learner.h>

namespace barlow {
namespace {
constexpr double kBeta = 0.98; // fastai's AvgSmoothLoss
}

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
  average_ = 0;
  count_ = 0;
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

void Recorder::after_batch(Learner& learn) {
  if (!std::isfinite(learn.loss_value)) {
    return; // a skipped step
  }
  if (!learn.training) {
    valid_sum_ += learn.loss_value * static_cast<double>(learn.batch.size());
    valid_samples_ += learn.batch.size();
    return;
  }
  ++count_;
  average_ = kBeta * average_ + (1 - kBeta) * learn.loss_value;
  losses.push_back(average_ / (1 - std::pow(kBeta, static_cast<double>(count_))));
  raw_losses.push_back(learn.loss_value);
  lrs.push_back(learn.opt->groups().back().lr);
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

} // namespace barlow
