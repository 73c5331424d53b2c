// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

namespace torch::nn {
class Module;
}

namespace barlow {

/// Parameters that share settings.
struct ParamGroup {
  std::vector<at::Tensor> params;
  double lr = 1e-3; ///< learning rate
  double weight_decay = 0;
};

/// Updates parameters from their gradients. Parameters without a gradient are left alone.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual void step() = 0;

  void zero_grad(); ///< forgets every gradient
  void set_lr(double lr); ///< in every group
  std::vector<ParamGroup>& groups() {
    return groups_;
  }

 protected:
  /// Throws Error for no parameters, undefined parameters or the same one twice.
  explicit Optimizer(std::vector<ParamGroup> groups);
  std::vector<ParamGroup> groups_;
};

struct AdamOptions {
  double lr = 1e-3;
  double mom = 0.9; ///< decay of the gradients' average
  double sqr_mom = 0.99; ///< decay of the squared gradients' average
  double eps = 1e-5;
  double wd = 0.01; ///< decoupled weight decay: p -= lr * wd * p
};

/// Adam with decoupled weight decay and debiasing, on ATen's fused kernels:
///
///     m = mom m + (1 - mom) g;  v = sqr_mom v + (1 - sqr_mom) g^2
///     p -= lr wd p;  p -= lr m / (1 - mom^t) / (sqrt(v / (1 - sqr_mom^t)) + eps)
///
/// The defaults are fastai's. Source: Loshchilov & Hutter, 2019; fastai 2.8.12.
class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<ParamGroup> groups, const AdamOptions& options = {});
  void step() override;

 private:
  struct State {
    at::Tensor average, square_average, step; // the step is a float32 scalar, as the kernels want it
  };
  AdamOptions options_;
  std::vector<std::vector<State>> state_; // [group][parameter]; undefined until its first gradient
};

/// Two groups of a module's trainable parameters, as fastai: `weight_decay` for all but batch norms and biases.
std::vector<ParamGroup> param_groups(const torch::nn::Module& module, double lr, double weight_decay);

/// Adam over param_groups: what the Learner uses unless told otherwise.
std::unique_ptr<Optimizer> make_adam(const torch::nn::Module& module, const AdamOptions& options = {});

} // namespace barlow
