// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/callback.h>
#include <barlow/schedule.h>

namespace barlow {

/// Sets the learning rate, and the momentum if there is a schedule for it, before each training batch. Rates of groups
/// keep their proportions (ParamGroup::lr_mult). After the fit the momentum is what it was.
class ParamScheduler : public Callback {
 public:
  /// Throws Error if there is no schedule of the rate.
  explicit ParamScheduler(Schedule lr, Schedule momentum = {});
  std::string name() const override;
  int order() const override; ///< -50: the step's rate is there for all others to see
  void before_fit(Learner& learn) override;
  void before_batch(Learner& learn) override;
  void after_fit(Learner& learn) override;

 private:
  Schedule lr_, momentum_;
  double old_momentum_ = 0;
  bool changed_ = false;
};

} // namespace barlow
