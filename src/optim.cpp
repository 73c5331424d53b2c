// SPDX-License-Identifier: Apache-2.0
#include <barlow/optim.h>

#include <cmath>
#include <map>
#include <set>

#include <torch/torch.h>

#include "check.h"

namespace barlow {

using torch::Tensor;

// ---- what all optimisers share ----

namespace {

void check_momentum(double momentum) {
  check(momentum >= 0 && momentum < 1, "Optimizer", "momentum must be in [0, 1), received {}", momentum);
}

void check_group(const ParamGroup& group) {
  check(!group.params.empty(), "Optimizer", "every group must have parameters");
  for (const double value : {group.lr, group.weight_decay, group.lr_mult}) {
    check(
        std::isfinite(value) && value >= 0,
        "Optimizer",
        "lr, weight_decay and lr_mult must be finite and not negative, received {}, {} and {}",
        group.lr,
        group.weight_decay,
        group.lr_mult);
  }
}

Tensor laid_out_as(const Tensor& p, const Tensor& x) {
  return x.strides() == p.strides() && x.device() == p.device() ? x : torch::empty_like(p).copy_(x);
}

} // namespace

Optimizer::Optimizer(std::vector<ParamGroup> groups, double momentum, Kept kept)
    : groups_(std::move(groups)), momentum_(momentum), kept_(std::move(kept)) {
  check_momentum(momentum);
  std::set<const void*> seen;
  for (const auto& group : groups_) {
    check_group(group);
    for (const auto& p : group.params) {
      check(
          p.defined() && p.is_leaf() && p.is_floating_point() && !p.is_meta(),
          "Optimizer",
          "a parameter must be a leaf tensor, floating, with data, received {}",
          describe(p));
      check(seen.insert(p.unsafeGetTensorImpl()).second, "Optimizer", "the parameter {} was given twice", describe(p));
    }
    state_.emplace_back(group.params.size(), State{std::vector<Tensor>(kept_.names.size()), {}});
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
    group.lr = lr * group.lr_mult;
  }
}

void Optimizer::set_momentum(double momentum) {
  check_momentum(momentum);
  momentum_ = momentum;
}

std::vector<Tensor> Optimizer::grads() const {
  std::vector<Tensor> all;
  for (const auto& group : groups_) {
    for (const auto& p : group.params) {
      if (p.grad().defined()) {
        all.push_back(p.grad());
      }
    }
  }
  return all;
}

// The kernels walk parameter, gradient and averages by one index: all must lie in memory alike, and do not after
// load_state or when an encoder turned its weights.
void Optimizer::prepare(State& state, const Tensor& p) const {
  for (auto& x : state.kept) {
    x = x.defined() ? laid_out_as(p, x) : torch::zeros_like(p);
  }
  if (kept_.steps) {
    const auto options = p.options().dtype(torch::kFloat).requires_grad(false);
    state.steps = state.steps.defined() ? state.steps.to(p.device()) : torch::zeros({}, options);
  }
}

void Optimizer::step(const Tensor& found_inf) {
  check(
      !found_inf.defined() ||
          (found_inf.dim() == 0 && found_inf.scalar_type() == torch::kFloat &&
           found_inf.device() == groups_[0].params[0].device()),
      "Optimizer",
      "found_inf must be a float32 scalar on the parameters' device, received {}",
      describe(found_inf));
  const torch::NoGradGuard no_grad;
  for (size_t g = 0; g < groups_.size(); ++g) {
    Update u{.group = groups_[g], .lr = {}, .found_inf = {}, .params = {}, .grads = {}, .steps = {}, .kept = {}};
    if (found_inf.defined()) {
      u.found_inf = found_inf;
    }
    if (!device_rates_.empty()) {
      u.lr = device_rates_[g];
    }
    u.kept.resize(kept_.names.size());
    for (size_t i = 0; i < groups_[g].params.size(); ++i) {
      const auto& p = groups_[g].params[i];
      if (!p.grad().defined()) {
        continue;
      }
      auto& state = state_[g][i];
      prepare(state, p);
      u.params.push_back(p);
      u.grads.push_back(laid_out_as(p, p.grad()));
      for (size_t k = 0; k < state.kept.size(); ++k) {
        u.kept[k].push_back(state.kept[k]);
      }
      if (kept_.steps) {
        u.steps.push_back(state.steps);
      }
    }
    if (u.params.empty()) {
      continue;
    }
    if (kept_.steps) {
      at::_foreach_add_(u.steps, 1);
    }
    update(u);
    if (kept_.steps && found_inf.defined()) {
      at::_foreach_sub_(u.steps, std::vector<Tensor>(u.steps.size(), found_inf)); // a skipped step does not count
    }
  }
}

NamedTensors Optimizer::state() const {
  NamedTensors all;
  for (size_t g = 0; g < state_.size(); ++g) {
    for (size_t i = 0; i < state_[g].size(); ++i) {
      const auto& state = state_[g][i];
      const auto prefix = fmt::format("{}.{}.", g, i);
      for (size_t k = 0; k < state.kept.size(); ++k) {
        if (state.kept[k].defined()) {
          all.emplace_back(prefix + kept_.names[k], state.kept[k]);
        }
      }
      if (state.steps.defined()) {
        all.emplace_back(prefix + "steps", state.steps);
      }
    }
  }
  return all;
}

void Optimizer::load_state(const NamedTensors& saved) {
  constexpr auto here = "Optimizer::load_state";
  std::map<std::string, Tensor> left(saved.begin(), saved.end());
  const auto take = [&](const std::string& name, at::IntArrayRef shape) {
    const auto found = left.find(name);
    if (found == left.end()) {
      return Tensor();
    }
    auto x = found->second;
    check(x.sizes() == shape, here, "'{}' is {}, which is not its parameter's shape", name, describe(x));
    check(
        x.is_floating_point() && !x.is_meta(),
        here,
        "'{}' must be floating, with data, received {}",
        name,
        describe(x));
    left.erase(found);
    return x;
  };
  std::vector<std::pair<Tensor*, Tensor>> loads; // destination, source: undefined if there is none
  for (size_t g = 0; g < state_.size(); ++g) {
    for (size_t i = 0; i < state_[g].size(); ++i) {
      const auto prefix = fmt::format("{}.{}.", g, i);
      for (size_t k = 0; k < kept_.names.size(); ++k) {
        loads.emplace_back(&state_[g][i].kept[k], take(prefix + kept_.names[k], groups_[g].params[i].sizes()));
      }
      if (kept_.steps) {
        loads.emplace_back(&state_[g][i].steps, take(prefix + "steps", {}));
      }
    }
  }
  check(
      left.empty(),
      here,
      "{} has nothing called '{}'; the state is of another optimiser or other parameters",
      name(),
      left.empty() ? "" : left.begin()->first);
  const torch::NoGradGuard no_grad;
  for (auto& [to, from] : loads) {
    if (!to->defined()) {
      *to = from.defined() ? from.detach().clone() : Tensor(); // step() brings it to the parameter's device and layout
    } else if (from.defined()) {
      to->copy_(from); // in place: a captured graph knows where it is
    } else {
      to->zero_();
    }
  }
}

void Optimizer::use_device_rates() {
  device_rates_.clear();
  for (const auto& group : groups_) {
    device_rates_.push_back(
        torch::full({}, group.lr, group.params[0].options().dtype(torch::kFloat).requires_grad(false)));
  }
}

void Optimizer::update_device_rates() {
  const torch::NoGradGuard no_grad;
  for (size_t g = 0; g < device_rates_.size(); ++g) {
    device_rates_[g].fill_(groups_[g].lr);
  }
}

// ---- the fused kernels ----

namespace {

struct Kernel {
  const std::vector<Tensor>&params, &grads;
  const std::optional<Tensor>& found_inf;
  double lr;
  std::optional<Tensor> device_lr; // taken instead of lr if it is there

  void sgd(const std::vector<Tensor>& v, double momentum, double decay, bool nesterov) const {
    // The first step's v = g is that of zeros too. Without momentum the kernel wants no v.
    const auto kept = momentum == 0 ? std::vector<Tensor>() : v;
    with_rate([&](const auto& rate) {
      at::_fused_sgd_(params, grads, kept, decay, momentum, rate, 0, nesterov, false, false, {}, found_inf);
    });
  }

  void adam(
      const std::vector<Tensor>& m,
      const std::vector<Tensor>& v,
      const std::vector<Tensor>& steps,
      double mom,
      double sqr_mom,
      double decay,
      double eps) const {
    with_rate([&](const auto& rate) {
      at::_fused_adamw_(params, grads, m, v, {}, steps, rate, mom, sqr_mom, decay, eps, false, false, {}, found_inf);
    });
  }

 private:
  template <class F>
  void with_rate(const F& f) const {
    if (device_lr) {
      f(*device_lr);
    } else {
      f(lr);
    }
  }
};

void check_adam(const char* name, const AdamOptions& o) {
  check(o.sqr_mom >= 0 && o.sqr_mom < 1, name, "sqr_mom must be in [0, 1), received {}", o.sqr_mom);
  check(o.eps >= 0, name, "eps must not be negative, received {}", o.eps);
}

} // namespace

Sgd::Sgd(std::vector<ParamGroup> groups, const SgdOptions& options)
    : Optimizer(std::move(groups), options.momentum, {.names = {"momentum"}}), nesterov_(options.nesterov) {
  check(!nesterov_ || options.momentum > 0, "Sgd", "nesterov needs a momentum, received 0");
}

std::string Sgd::name() const {
  return "SGD";
}

void Sgd::update(Update& u) {
  const Kernel kernel{u.params, u.grads, u.found_inf, u.group.lr, u.lr};
  kernel.sgd(u.kept[0], momentum(), u.group.weight_decay, nesterov_);
}

Adam::Adam(std::vector<ParamGroup> groups, const AdamOptions& options)
    : Optimizer(std::move(groups), options.mom, {.names = {"average", "square_average"}, .steps = true}),
      sqr_mom_(options.sqr_mom),
      eps_(options.eps) {
  check_adam("Adam", options);
}

std::string Adam::name() const {
  return "Adam";
}

void Adam::update(Update& u) {
  const Kernel kernel{u.params, u.grads, u.found_inf, u.group.lr, u.lr};
  kernel.adam(u.kept[0], u.kept[1], u.steps, momentum(), sqr_mom_, u.group.weight_decay, eps_);
}

Lars::Lars(std::vector<ParamGroup> groups, const LarsOptions& options)
    : Optimizer(std::move(groups), options.momentum, {.names = {"momentum"}}),
      eta_(options.eta),
      eps_(options.eps),
      clip_(options.clip) {
  check(eta_ > 0, "Lars", "eta must be positive, received {}", eta_);
  check(eps_ >= 0, "Lars", "eps must not be negative, received {}", eps_);
}

std::string Lars::name() const {
  return "LARS";
}

namespace {

Tensor norms(const std::vector<Tensor>& tensors) { // [n]
  return at::stack(at::_foreach_norm(tensors, 2));
}

void scale(const std::vector<Tensor>& tensors, const Tensor& factors) {
  at::_foreach_mul_(tensors, factors.unbind());
}

} // namespace

// g becomes q (g + wd p): what is left is SGD.
void Lars::adapt(Update& u) const {
  const double decay = u.group.weight_decay;
  const auto p_norm = norms(u.params);
  Tensor g_norm;
  if (clip_) {
    g_norm = norms(u.grads);
  }
  if (decay != 0) {
    at::_foreach_add_(u.grads, u.params, decay);
  }
  Tensor q;
  if (clip_) {
    q = p_norm * eta_ / (g_norm + p_norm * decay + eps_);
    q = (u.lr ? q / *u.lr : q / u.group.lr).clamp_max(1);
  } else {
    g_norm = norms(u.grads);
    q = p_norm * eta_ / (g_norm + eps_);
  }
  scale(u.grads, q.masked_fill_((p_norm == 0).logical_or_(g_norm == 0), 1));
}

void Lars::update(Update& u) {
  double decay = u.group.weight_decay;
  if (u.group.adapt) {
    adapt(u);
    decay = 0;
  }
  const Kernel kernel{u.params, u.grads, u.found_inf, u.group.lr, u.lr};
  kernel.sgd(u.kept[0], momentum(), decay, false);
}

Lamb::Lamb(std::vector<ParamGroup> groups, const AdamOptions& options)
    : Optimizer(std::move(groups), options.mom, {.names = {"average", "square_average"}, .steps = true}),
      sqr_mom_(options.sqr_mom),
      eps_(options.eps) {
  check_adam("Lamb", options);
}

std::string Lamb::name() const {
  return "LAMB";
}

void Lamb::update(Update& u) {
  constexpr double kLargest = 10;
  std::vector<Tensor> s; // minus Adam's step: what the kernel makes of parameters that are zero
  s.reserve(u.params.size());
  for (const auto& p : u.params) {
    s.push_back(torch::zeros_like(p).detach());
  }
  const Kernel kernel{s, u.grads, u.found_inf, /*lr=*/1, std::nullopt};
  kernel.adam(u.kept[0], u.kept[1], u.steps, momentum(), sqr_mom_, 0, eps_);
  const auto lr = u.lr ? *u.lr : torch::full({}, u.group.lr, u.params[0].options().requires_grad(false));
  if (u.group.weight_decay != 0) {
    const auto decay = lr * u.group.weight_decay * (u.found_inf ? 1 - *u.found_inf : torch::ones_like(lr));
    scale(u.params, (1 - decay).expand({static_cast<int64_t>(u.params.size())}));
  }
  auto q = torch::ones({static_cast<int64_t>(s.size())}, s[0].options());
  if (u.group.adapt) {
    const auto p_norm = norms(u.params), s_norm = norms(s);
    q = (p_norm / s_norm).clamp_max(kLargest).masked_fill_((p_norm == 0).logical_or_(s_norm == 0), 1);
  }
  scale(s, q * lr);
  at::_foreach_add_(u.params, s);
}

// ---- parameters of a module ----

namespace {

bool is_norm(const torch::nn::Module& module) {
  return module.as<torch::nn::BatchNorm1dImpl>() != nullptr || module.as<torch::nn::BatchNorm2dImpl>() != nullptr ||
      module.as<torch::nn::LayerNormImpl>() != nullptr;
}

bool is_spared(const torch::nn::Module& owner, const std::string& name, const Tensor& p, Spared rule) {
  switch (rule) {
    case Spared::Nothing:
      return false;
    case Spared::NormsAndBiases:
      return is_norm(owner) || name == "bias";
    case Spared::OneDimensional:
      return p.dim() <= 1;
  }
  return false;
}

void sort_parameters(const torch::nn::Module& module, Spared rule, ParamGroup& decayed, ParamGroup& spared) {
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    if (item.value().requires_grad()) {
      (is_spared(module, item.key(), item.value(), rule) ? spared : decayed).params.push_back(item.value());
    }
  }
  for (const auto& child : module.children()) {
    sort_parameters(*child, rule, decayed, spared);
  }
}

} // namespace

std::vector<ParamGroup>
param_groups(const torch::nn::Module& module, double lr, double weight_decay, Spared rule, double spared_lr_mult) {
  ParamGroup decayed{.params = {}, .lr = lr, .weight_decay = weight_decay};
  ParamGroup spared{.params = {}, .lr = lr * spared_lr_mult, .lr_mult = spared_lr_mult, .adapt = false};
  sort_parameters(module, rule, decayed, spared);
  std::vector<ParamGroup> groups;
  for (auto& group : {decayed, spared}) {
    if (!group.params.empty()) {
      groups.push_back(group);
    }
  }
  return groups;
}

std::unique_ptr<Optimizer> make_adam(const torch::nn::Module& module, const AdamOptions& options) {
  return std::make_unique<Adam>(param_groups(module, options.lr, options.wd), options);
}

std::unique_ptr<Optimizer> make_lamb(const torch::nn::Module& module, const AdamOptions& options) {
  return std::make_unique<Lamb>(param_groups(module, options.lr, options.wd), options);
}

std::unique_ptr<Optimizer> make_sgd(const torch::nn::Module& module, const SgdOptions& options, Spared spared) {
  return std::make_unique<Sgd>(param_groups(module, options.lr, options.weight_decay, spared), options);
}

std::unique_ptr<Optimizer> make_lars(const torch::nn::Module& module, const LarsOptions& options, Spared spared) {
  check(options.lr > 0, "Lars", "lr must be positive, received {}", options.lr);
  const double bias_mult = options.bias_lr.value_or(options.lr) / options.lr;
  return std::make_unique<Lars>(param_groups(module, options.lr, options.weight_decay, spared, bias_mult), options);
}

} // namespace barlow
