// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/callback.h>

namespace barlow {

/// Scales all gradients so that their common 2-norm is at most max_norm. Logs the norm before as "grad_norm".
/// Throws Error unless max_norm is positive. Source: Pascanu et al., 2013; torch.nn.utils.clip_grad_norm_.
class GradientClip : public Callback {
 public:
  explicit GradientClip(double max_norm);
  std::string name() const override;
  void before_step(Learner& learn) override;
  bool capturable() const override {
    return true;
  }

 private:
  double max_norm_;
};

/// Steps when n_acc samples have gone through, with the sum of their batches' gradients times size / n_acc: the mean,
/// if the batches make n_acc. For this loss that is not one large batch, whose cross-correlation is of all its samples:
/// for that see LearnerOptions::micro_batch. Throws Error for n_acc < 1. Source: fastai's GradientAccumulation.
class GradientAccumulation : public Callback {
 public:
  explicit GradientAccumulation(int64_t n_acc);
  std::string name() const override;
  void before_fit(Learner& learn) override;
  void after_loss(Learner& learn) override;
  void after_backward(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  int64_t n_acc_, count_ = 0; // samples since the last step
};

} // namespace barlow
