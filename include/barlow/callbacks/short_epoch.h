// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/callback.h>

namespace barlow {

/// Leaves training, and validation if short_valid, after this fraction of the batches; at least one is done.
/// Throws Error for a fraction outside (0, 1]. Source: fastai's ShortEpochCallback (which stops
/// one batch later).
class ShortEpochCallback : public Callback {
 public:
  explicit ShortEpochCallback(double fraction = 0.01, bool short_valid = true);
  std::string name() const override;
  int order() const override; ///< -90: before those that work on the batch
  void before_batch(Learner& learn) override;

 private:
  double fraction_;
  bool short_valid_;
};

} // namespace barlow
