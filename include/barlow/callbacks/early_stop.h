// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include <barlow/callback.h>

namespace barlow {

struct EarlyStopOptions {
  int64_t patience = 5; ///< epochs without a better loss
  double min_delta = 0; ///< by how much a loss must be less than the best to be better
};

/// Ends the fit when the validation loss (the smoothed training loss where nothing is validated) has not become better
/// for `patience` epochs. Throws Error for patience < 1 or a negative min_delta.
class EarlyStop : public Callback {
 public:
  explicit EarlyStop(const EarlyStopOptions& options = {});
  std::string name() const override;
  int order() const override; ///< 75: after those that record the epoch
  void before_fit(Learner& learn) override;
  void before_epoch(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  EarlyStopOptions options_;
  double best_ = std::numeric_limits<double>::infinity();
  int64_t waited_ = 0;
};

} // namespace barlow
