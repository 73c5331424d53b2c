// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include <barlow/callback.h>

namespace barlow {

/// Ends the fit after the training step in which it has taken this many seconds; a validation is finished before. With
/// Checkpoints the state is saved as the fit ends. Throws Error unless seconds is positive.
class TimeLimit : public Callback {
 public:
  explicit TimeLimit(double seconds);
  std::string name() const override;
  int order() const override; ///< 70: after those that record the batch
  void before_fit(Learner& learn) override;
  void after_batch(Learner& learn) override;

 private:
  std::chrono::duration<double> limit_;
  std::chrono::steady_clock::time_point start_;
};

} // namespace barlow
