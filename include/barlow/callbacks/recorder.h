// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include <barlow/callback.h>
#include <barlow/smoothing.h>

namespace barlow {

/// One line of the table.
struct EpochValues {
  int64_t epoch = 0;
  std::optional<double> train_loss{}; ///< smoothed, after the epoch's last step; nothing before the first step
  std::optional<double> valid_loss{}; ///< mean over the samples; nothing without validation
  double seconds = 0;
  std::optional<double> data_wait{}; ///< share of the training's time that went by waiting for a batch

  /// What tells whether an epoch was better: valid_loss, else train_loss.
  std::optional<double> monitored() const {
    return valid_loss ? valid_loss : train_loss;
  }
};

/// Losses of a fit. Every Learner has one: learn.recorder.
class Recorder : public Callback {
 public:
  std::vector<double> losses; ///< a step: smoothed, fastai's exponential average (0.98, debiased)
  std::vector<double> raw_losses; ///< a step: as computed
  std::vector<double> lrs; ///< a step
  std::vector<EpochValues> values; ///< an epoch

  std::string name() const override;
  int order() const override;
  void before_fit(Learner& learn) override;
  void before_epoch(Learner& learn) override;
  void before_train(Learner& learn) override;
  void after_train(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  Smoothing average_;
  double valid_sum_ = 0;
  int64_t valid_samples_ = 0;
  std::chrono::steady_clock::time_point start_, train_start_;
  std::optional<double> data_wait_; // of the epoch
};

} // namespace barlow
