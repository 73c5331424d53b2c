// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/weights.h>

namespace barlow {

/// Parameters that share settings.
struct ParamGroup {
  std::vector<at::Tensor> params;
  double lr = 1e-3; ///< learning rate
  double weight_decay = 0;
  double lr_mult = 1; ///< Optimizer::set_lr(lr) makes lr * lr_mult of the rate
  bool adapt = true; ///< LARS, LAMB: scale the step by the norms of parameter and gradient
};

/// Which parameters are spared weight decay, and LARS's and LAMB's adaptation.
enum class Spared {
  Nothing,
  NormsAndBiases, ///< normalisation layers and biases: fastai's rule
  OneDimensional, ///< parameters of one dimension: the paper's rule
};

/// A module's trainable parameters in two groups: those with `weight_decay`, and the spared, with `spared_lr_mult`.
std::vector<ParamGroup> param_groups(
    const torch::nn::Module& module,
    double lr,
    double weight_decay,
    Spared spared = Spared::NormsAndBiases,
    double spared_lr_mult = 1);

/// Updates parameters from their gradients, on ATen's fused kernels. Parameters without a gradient are left alone.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  virtual std::string name() const = 0;

  /// One update. It may use the gradients up. `found_inf`, a float32 scalar on the parameters' device, skips the update
  /// where it is 1, without the host's looking at it.
  void step(const at::Tensor& found_inf = {});

  void zero_grad(); ///< forgets every gradient
  void set_lr(double lr); ///< in every group. Throws Error unless finite and not negative.
  void set_momentum(double momentum); ///< Adam, LAMB: of the gradients' average. Throws Error outside [0, 1).
  double momentum() const {
    return momentum_;
  }
  std::vector<ParamGroup>& groups() {
    return groups_;
  }
  std::vector<at::Tensor> grads() const; ///< those that are defined

  /// The tensors that a continued run needs, by group, parameter and what they are: "0.3.momentum".
  NamedTensors state() const;

  /// All or nothing: throws Error for tensors that are not those of this optimiser's parameters.
  void load_state(const NamedTensors& state);

  /// Keeps the rates in tensors on the parameters' device that update_device_rates() fills, so that a captured CUDA
  /// graph follows a schedule.
  void use_device_rates();
  void update_device_rates();

 protected:
  /// What is kept of a parameter: tensors of its shape, and perhaps the number of its steps (a float32 scalar).
  struct Kept {
    std::vector<const char*> names;
    bool steps = false;
  };
  /// The parameters of a group that have a gradient; all tensors of one parameter lie in memory alike.
  struct Update {
    const ParamGroup& group;
    std::optional<at::Tensor> lr; // on the device, see use_device_rates
    std::optional<at::Tensor> found_inf;
    std::vector<at::Tensor> params, grads, steps;
    std::vector<std::vector<at::Tensor>> kept; // [name][parameter]
  };

  /// Throws Error for no parameters, undefined parameters or the same one twice, a momentum outside [0, 1).
  Optimizer(std::vector<ParamGroup> groups, double momentum, Kept kept);
  virtual void update(Update& u) = 0;

 private:
  struct State {
    std::vector<at::Tensor> kept; // undefined until the parameter's first gradient
    at::Tensor steps;
  };
  void prepare(State& state, const at::Tensor& p) const;

  std::vector<ParamGroup> groups_;
  double momentum_;
  Kept kept_;
  std::vector<std::vector<State>> state_; // [group][parameter]
  std::vector<at::Tensor> device_rates_; // [group], empty unless used
};

// Rates and decays of the options are for make_*; an optimiser made of groups has those of its groups.

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double weight_decay = 0; ///< added to the gradient
  bool nesterov = false;
};

/// Stochastic gradient descent: v = momentum v + g + weight_decay p;  p -= lr v. torch.optim.SGD.
class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<ParamGroup> groups, const SgdOptions& options = {});
  std::string name() const override;

 private:
  void update(Update& u) override;
  bool nesterov_;
};

struct AdamOptions {
  double lr = 1e-3;
  double mom = 0.9; ///< decay of the gradients' average
  double sqr_mom = 0.99; ///< decay of the squared gradients' average
  double eps = 1e-5;
  double wd = 0.01; ///< decoupled weight decay: p -= lr * wd * p

  /// The defaults of torch.optim.AdamW.
  static AdamOptions torch_adamw() {
    return {.sqr_mom = 0.999, .eps = 1e-8};
  }
};

/// Adam with decoupled weight decay and debiasing, AdamW:
///
///     m = mom m + (1 - mom) g;  v = sqr_mom v + (1 - sqr_mom) g^2
///     p -= lr wd p;  p -= lr m / (1 - mom^t) / (sqrt(v / (1 - sqr_mom^t)) + eps)
///
/// The defaults are fastai's. Source: Loshchilov & Hutter, 2019; fastai 2.8.12.
class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<ParamGroup> groups, const AdamOptions& options = {});
  std::string name() const override;

 private:
  void update(Update& u) override;
  double sqr_mom_, eps_;
};

struct LarsOptions {
  double lr = 0.2;
  std::optional<double> bias_lr{}; ///< of the spared parameters; nullopt: lr
  double momentum = 0.9;
  double weight_decay = 1e-6; ///< added to the gradient
  double eta = 1e-3; ///< trust coefficient
  double eps = 0; ///< added to the norms
  bool clip = false; ///< never a longer step than SGD's: q = min(q / lr, 1)

  /// solo-learn's for CIFAR-10.
  static LarsOptions solo_learn() {
    return {.lr = 0.3, .weight_decay = 1e-4, .eta = 0.02, .eps = 1e-8, .clip = true};
  }
};

/// Layer-wise adaptive rate scaling:
///
///     q = eta |p| / (|g + wd p| + eps)                                     (1 where a norm is 0)
///     q = min(eta |p| / (|g| + wd |p| + eps) / lr, 1)                      with clip
///     v = momentum v + q (g + wd p);  p -= lr v
///
/// Without adaptation, SGD. Throws Error unless eta is positive. The defaults are the authors' of Barlow Twins.
/// Source: You et al., 2017; Zbontar et al., 2021; with clip: solo-learn.
class Lars : public Optimizer {
 public:
  explicit Lars(std::vector<ParamGroup> groups, const LarsOptions& options = {});
  std::string name() const override;

 private:
  void update(Update& u) override;
  void adapt(Update& u) const;
  double eta_, eps_;
  bool clip_;
};

/// LAMB: Adam's step s (without lr), scaled by min(|p| / |s|, 10); 1 where a norm is 0. Decay as Adam's, before it.
/// Source: You et al., 2020; fastai 2.8.12.
class Lamb : public Optimizer {
 public:
  explicit Lamb(std::vector<ParamGroup> groups, const AdamOptions& options = {});
  std::string name() const override;

 private:
  void update(Update& u) override;
  double sqr_mom_, eps_;
};

// Optimisers over the parameters of a module. make_adam is what the Learner uses unless told otherwise.
std::unique_ptr<Optimizer> make_adam(const torch::nn::Module& module, const AdamOptions& options = {});
std::unique_ptr<Optimizer> make_lamb(const torch::nn::Module& module, const AdamOptions& options = {});
std::unique_ptr<Optimizer>
make_sgd(const torch::nn::Module& module, const SgdOptions& options = {}, Spared spared = Spared::Nothing);
std::unique_ptr<Optimizer>
make_lars(const torch::nn::Module& module, const LarsOptions& options = {}, Spared spared = Spared::OneDimensional);

} // namespace barlow
