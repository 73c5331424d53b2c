// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include <barlow/callback.h>
#include <barlow/data.h>

namespace barlow {

/// On a terminal a bar with loss, batches a second, time left and the share of time spent waiting for data; everywhere
/// the table `epoch  train_loss  valid_loss  time`, and at the end what limited the run and which samples were bad.
/// Every Learner has one unless LearnerOptions::progress is false.
class Progress : public Callback {
 public:
  std::string name() const override;
  int order() const override;
  void before_fit(Learner& learn) override;
  void before_train(Learner& learn) override;
  void after_train(Learner& learn) override;
  void before_validate(Learner& learn) override;
  void after_batch(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;

 private:
  using Clock = std::chrono::steady_clock;
  void start();
  void clear_line();

  bool terminal_ = false, line_shown_ = false;
  Clock::time_point start_, drawn_;
  double wait_ = 0, train_seconds_ = 0; // of the fit
  LoaderTimes work_before_;
};

} // namespace barlow
