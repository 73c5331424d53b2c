// SPDX-License-Identifier: Apache-2.0
#include <barlow/loss.h>

#include <cmath>
#include <limits>

#include <torch/torch.h>

#include "check.h"

namespace barlow {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct Standardised {
  Tensor a; // [N,D] zero mean, unit variance; zero where the column is constant
  Tensor inv_std; // [D] zero where the column is constant
};

Tensor column_mean(const Tensor& x) { // [N,D] -> [D], summed in float64
  return (x.sum(0, /*keepdim=*/false, torch::kDouble) / static_cast<double>(x.size(0))).to(x.scalar_type());
}

Standardised standardise(const Tensor& z, double eps) {
  const auto mean = column_mean(z);
  auto a = z - mean;
  a.sub_(column_mean(a)); // what rounding the mean to z's type left behind
  // The norm accumulates in float64, so that neither 1e30 nor 1e-30 squared leaves the range.
  const auto std = at::linalg_vector_norm(a, 2, {0}, false, torch::kDouble) / std::sqrt(static_cast<double>(z.size(0)));
  if (eps > 0) {
    const auto inv_std = (std.square() + eps).rsqrt().to(z.scalar_type());
    return {a.mul_(inv_std), inv_std};
  }
  const double ulp = z.scalar_type() == torch::kDouble ? std::numeric_limits<double>::epsilon()
                                                       : std::numeric_limits<float>::epsilon();
  const auto constant = std <= mean.abs().to(torch::kDouble) * (16 * ulp);
  const auto inv_std = std.reciprocal().masked_fill(constant, 0).to(z.scalar_type());
  return {a.mul_(inv_std).masked_fill_(constant, 0), inv_std};
}

// d loss / d z from d loss / d a.
Tensor standardise_backward(const Tensor& grad, const Standardised& s) {
  const auto along = column_mean(grad * s.a);
  return (grad - column_mean(grad)).sub_(s.a * along).mul_(s.inv_std);
}

Tensor working_type(const Tensor& z) {
  return z.scalar_type() == torch::kDouble ? z : z.to(torch::kFloat);
}

struct Outcome {
  Tensor on_diagonal, off_diagonal; // float64 scalars
  Tensor grad1, grad2; // d loss / d z, undefined unless asked for
};

struct Settings {
  double lmb, eps;
  bool unbiased, by_samples, with_grad;
};

Outcome compute(const Tensor& z1, const Tensor& z2, const Settings& s) {
  const auto n = static_cast<double>(z1.size(0));
  const double shrink = s.unbiased ? (n - 1) / n : 1; // of C
  const auto s1 = standardise(working_type(z1), s.eps);
  const auto s2 = standardise(working_type(z2), s.eps);
  const auto &a = s1.a, &b = s2.a;

  Tensor c, ka, kb; // C [D,D], or the Gram matrices AA', BB' [N,N]
  Tensor diagonal, total; // C_ii [D], sum_ij C_ij^2, float64
  if (s.by_samples) {
    ka = a.mm(a.t());
    kb = b.mm(b.t());
    diagonal = (a * b).sum(0, false, torch::kDouble) * (shrink / n);
    total = (ka * kb).sum(torch::kDouble) * (shrink * shrink / (n * n));
  } else {
    c = a.t().mm(b).mul_(shrink / n);
    diagonal = c.diagonal().to(torch::kDouble);
    total = c.square().sum(torch::kDouble);
  }

  Outcome out;
  out.on_diagonal = (diagonal - 1).square().sum();
  out.off_diagonal = (total - diagonal.square().sum()).clamp_min(0);
  if (s.with_grad) {
    const auto weight = ((diagonal * (1 - s.lmb) - 1) * (2 * shrink / n)).to(a.scalar_type());
    const double alpha = 2 * s.lmb * shrink / n * (s.by_samples ? shrink / n : 1);
    const auto grad_a =
        s.by_samples ? at::addmm(b * weight, kb, a, 1, alpha) : at::addmm(b * weight, b, c.t(), 1, alpha);
    const auto grad_b = s.by_samples ? at::addmm(a * weight, ka, b, 1, alpha) : at::addmm(a * weight, a, c, 1, alpha);
    out.grad1 = standardise_backward(grad_a, s1).to(z1.scalar_type());
    out.grad2 = standardise_backward(grad_b, s2).to(z2.scalar_type());
  }
  return out;
}

// Loss and gradient in one go: the backward pass only scales. Nothing but two [N,D] tensors is kept in between.
struct LossFunction : torch::autograd::Function<LossFunction> {
  static tensor_list forward(AutogradContext* ctx, const Tensor& z1, const Tensor& z2, const Settings& settings) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const auto out = compute(z1, z2, settings);
    if (settings.with_grad) {
      ctx->save_for_backward({out.grad1, out.grad2});
    }
    const auto type = z1.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    const auto on = out.on_diagonal.to(type), off = out.off_diagonal.to(type);
    ctx->mark_non_differentiable({on, off});
    return {(out.on_diagonal + out.off_diagonal * settings.lmb).to(type), on, off};
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grad_output) {
    check(
        !torch::GradMode::is_enabled(),
        "barlow_twins_loss",
        "the gradient cannot be differentiated again; call backward without create_graph");
    const auto saved = ctx->get_saved_variables();
    const auto scaled = [&](size_t i) {
      return ctx->needs_input_grad(i) ? saved[i] * grad_output[0].to(saved[i].scalar_type()) : Tensor();
    };
    return {scaled(0), scaled(1), {}};
  }
};

void validate(const Tensor& z1, const Tensor& z2, const LossOptions& options) {
  constexpr auto name = "barlow_twins_loss";
  check(
      z1.defined() && z2.defined(), name, "embeddings must be tensors, received {} and {}", describe(z1), describe(z2));
  check(
      z1.dim() == 2 && z1.sizes() == z2.sizes(),
      name,
      "embeddings must be two [N,D] tensors of one shape, received {} and {}; split the model's output in halves",
      describe(z1),
      describe(z2));
  check(
      z1.is_floating_point() && z1.scalar_type() == z2.scalar_type(),
      name,
      "embeddings must be of one floating type, received {} and {}; convert with .to(torch::kFloat)",
      describe(z1),
      describe(z2));
  check(
      z1.device() == z2.device(),
      name,
      "embeddings must be on one device, received {} and {}",
      z1.device().str(),
      z2.device().str());
  check(
      z1.size(0) >= 2,
      name,
      "a batch needs at least 2 samples, received N = {}; use a batch_size of 2 or more",
      z1.size(0));
  check(z1.size(1) >= 1, name, "embeddings need at least 1 feature, received D = {}", z1.size(1));
  check(
      std::isfinite(options.lmb) && options.lmb >= 0,
      name,
      "lmb must be finite and not negative, received {}; the documented value is 0.005",
      options.lmb);
  check(
      std::isfinite(options.eps) && options.eps >= 0,
      name,
      "eps must be finite and not negative, received {}",
      options.eps);
}

} // namespace

LossTerms barlow_twins_loss_terms(const Tensor& z1, const Tensor& z2, const LossOptions& options) {
  validate(z1, z2, options);
  const bool by_samples =
      options.route == LossRoute::Samples || (options.route == LossRoute::Auto && z1.size(0) < z1.size(1));
  const bool with_grad = torch::GradMode::is_enabled() && (z1.requires_grad() || z2.requires_grad());
  const Settings settings{options.lmb, options.eps, options.unbiased, by_samples, with_grad};
  const auto out = LossFunction::apply(z1, z2, settings);
  if (options.check_finite) {
    const auto loss = out[0].item<double>();
    check<NonFiniteError>(
        std::isfinite(loss),
        "barlow_twins_loss",
        "embeddings must be finite, received {} NaN or infinite values of {}; lower the learning rate or look at the "
        "input",
        z1.isfinite().logical_not().sum().item<int64_t>() + z2.isfinite().logical_not().sum().item<int64_t>(),
        2 * z1.numel());
  }
  return {out[0], out[1], out[2]};
}

Tensor barlow_twins_loss(const Tensor& z1, const Tensor& z2, double lmb) {
  return barlow_twins_loss_terms(z1, z2, {.lmb = lmb}).loss;
}

double expected_initial_loss(int64_t n, int64_t d, double lmb) {
  const auto features = static_cast<double>(d);
  return features + lmb * features * (features - 1) / static_cast<double>(n);
}

} // namespace barlow
