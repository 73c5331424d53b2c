// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <barlow/callback.h>

namespace barlow {

struct EmaOptions {
  double decay = 0.999; ///< of a step
  bool validate = false; ///< validate with the averaged weights
};

/// Keeps an exponential average of the parameters, `average = decay average + (1 - decay) p` after each step, beginning
/// with the parameters of the first fit. Throws Error for a decay outside [0, 1). Source: Polyak & Juditsky, 1992.
class Ema : public Callback {
 public:
  explicit Ema(const EmaOptions& options = {});
  std::string name() const override;
  int order() const override; ///< 51: not in lr_find, whose steps are taken back
  bool capturable() const override {
    return true;
  }
  void before_fit(Learner& learn) override;
  void after_step(Learner& learn) override;
  void before_validate(Learner& learn) override;
  void after_validate(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  /// Exchanges the model's parameters and the averages: once to use these, again to go on training.
  void exchange(Learner& learn);

 private:
  EmaOptions options_;
  std::vector<at::Tensor> averages_;
  bool exchanged_ = false;
};

} // namespace barlow
