// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/callback.h>
#include <barlow/checkpoint.h>

namespace barlow {

struct RollBackOptions {
  int64_t after = 3; ///< non-finite losses in a row
  int64_t keep_every = 100; ///< steps between the states kept
  int64_t most = 5; ///< times; then the fit fails
};

/// Puts model, optimiser and Ema's averages back to the last good state, kept in memory, when that many losses in a row
/// were not finite: such a run seldom finds back by itself. Needs NonFinite::Skip. The data goes on, so the next
/// batches are others. Throws Error for options below 1, NonFiniteError when it happens more than `most` times.
class RollBack : public Callback {
 public:
  explicit RollBack(const RollBackOptions& options = {});
  std::string name() const override;
  int order() const override; ///< 65: after those that record the step
  void before_fit(Learner& learn) override;
  void before_train(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_batch(Learner& learn) override;
  void after_train(Learner& learn) override;
  void after_fit(Learner& learn) override;

  int64_t times() const { ///< rolled back in this fit
    return times_;
  }

 private:
  void keep(Learner& learn);
  void roll_back(Learner& learn);

  RollBackOptions options_;
  Checkpoint good_;
  NamedTensors averages_; // Ema's, if there is one
  int64_t bad_ = 0, worst_ = 0; // losses in a row: the last ones, the most since the last roll-back
  int64_t times_ = 0, kept_at_ = 0;
};

} // namespace barlow
