// SPDX-License-Identifier: Apache-2.0
#include <barlow/optim.h>

#include <cmath>
#include <set>

#include <torch/torch.h>

#include "check.h"

namespace barlow {

using torch::Tensor;

Optimizer::Optimizer(std::vector<ParamGroup> groups) : groups_(std::move(groups)) {
  std::set<const void*> seen;
  for (const auto& group : groups_) {
    for (const auto& p : group.params) {
      check(p.defined() && p.is_leaf(), "Optimizer", "a parameter must be a leaf tensor, received {}", describe(p));
      check(seen.insert(p.unsafeGetTensorImpl()).second, "Optimizer", "the parameter {} was given twice", describe(p));
    }
  }
  check(!seen.empty(), "Optimizer", "there must be at least one parameter");
}

void Optimizer::zero_grad() {
  for (auto& group : groups_) {
    for (auto& p : group.params) {
      p.mutable_grad().reset();
    }
  }
}

void Optimizer::set_lr(double lr) {
  check(std::isfinite(lr) && lr >= 0, "Optimizer", "lr must be finite and not negative, received {}", lr);
  for (auto& group : groups_) {
    group.lr = lr;
  }
}

Adam::Adam(std::vector<ParamGroup> groups, const AdamOptions& options)
    : Optimizer(std::move(groups)), options_(options) {
  const auto decay = [](double x) { return x >= 0 && x < 1; };
  check(
      decay(options.mom) && decay(options.sqr_mom),
      "Adam",
      "mom and sqr_mom must be in [0, 1), received {} and {}",
      options.mom,
      options.sqr_mom);
  check(options.eps >= 0, "Adam", "eps must not be negative, received {}", options.eps);
  for (const auto& group : groups_) {
    state_.emplace_back(group.params.size());
  }
}

void Adam::step() {
  const torch::NoGradGuard no_grad;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const auto& group = groups_[g];
    std::vector<Tensor> params, grads, averages, square_averages, steps;
    for (size_t i = 0; i < group.params.size(); ++i) {
      const auto& p = group.params[i];
      if (!p.grad().defined()) {
        continue;
      }
      auto& state = state_[g][i];
      if (!state.average.defined()) {
        state.average = torch::zeros_like(p);
        state.square_average = torch::zeros_like(p);
        state.step = torch::zeros({}, p.options().dtype(torch::kFloat));
      }
      state.step.add_(1);
      params.push_back(p);
      // The kernels walk parameter, gradient and averages by one index: all must lie in memory alike.
      grads.push_back(p.grad().strides() == p.strides() ? p.grad() : torch::empty_like(p).copy_(p.grad()));
      averages.push_back(state.average);
      square_averages.push_back(state.square_average);
      steps.push_back(state.step);
    }
    if (!params.empty()) {
      at::_fused_adamw_(
          params,
          grads,
          averages,
          square_averages,
          /*max_exp_avg_sqs=*/{},
          steps,
          group.lr,
          options_.mom,
          options_.sqr_mom,
          group.weight_decay,
          options_.eps,
          /*amsgrad=*/false,
          /*maximize=*/false);
    }
  }
}

namespace {

// fastai's rule: everything in a normalisation layer, and every `bias`, is spared the decay.
void sort_parameters(const torch::nn::Module& module, ParamGroup& decayed, ParamGroup& spared) {
  const bool is_norm = module.as<torch::nn::BatchNorm1dImpl>() != nullptr ||
      module.as<torch::nn::BatchNorm2dImpl>() != nullptr || module.as<torch::nn::LayerNormImpl>() != nullptr;
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    if (item.value().requires_grad()) {
      (is_norm || item.key() == "bias" ? spared : decayed).params.push_back(item.value());
    }
  }
  for (const auto& child : module.children()) {
    sort_parameters(*child, decayed, spared);
  }
}

} // namespace

std::vector<ParamGroup> param_groups(const torch::nn::Module& module, double lr, double weight_decay) {
  ParamGroup decayed{.params = {}, .lr = lr, .weight_decay = weight_decay};
  ParamGroup spared{.params = {}, .lr = lr, .weight_decay = 0};
  sort_parameters(module, decayed, spared);
  return {decayed, spared};
}

std::unique_ptr<Optimizer> make_adam(const torch::nn::Module& module, const AdamOptions& options) {
  return std::make_unique<Adam>(param_groups(module, options.lr, options.wd), options);
}

} // namespace barlow
