// SPDX-License-Identifier: Apache-2.0
#include <barlow/loss.h>

#include <cmath>
#include <limits>
#include <numeric>

#include <torch/torch.h>

#include "check.h"

namespace barlow {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// The rows of z that this process has, of a batch that all of the group have together.
struct RowsOfAll {
  ProcessGroup group;
  std::vector<int64_t> rows; // by rank
  double n = 0; // rows of all
};

struct Standardised {
  Tensor a; // [N,D] zero mean, unit variance; zero where the column is constant
  Tensor inv_std; // [D] zero where the column is constant
};

Tensor column_sum(const Tensor& x) { // [N,D] -> [D]
  return x.sum(0, /*keepdim=*/false, torch::kDouble);
}

// Both views at once, for one exchange in place of two.
std::pair<Standardised, Standardised>
standardise(const Tensor& z1, const Tensor& z2, double eps, const RowsOfAll& batch) {
  const auto type = z1.scalar_type();
  auto mean = at::stack({column_sum(z1), column_sum(z2)});
  batch.group.sum(mean);
  mean = (mean / batch.n).to(type);
  const auto a = z1 - mean[0], b = z2 - mean[1];
  // What rounding the mean left behind is taken off too, and the norm accumulates in float64, so that neither 1e30 nor
  // 1e-30 squared leaves the range.
  const auto squares = [](const Tensor& x) {
    return at::linalg_vector_norm(x, 2, {0}, false, torch::kDouble).square();
  };
  const auto sums = at::stack({column_sum(a), column_sum(b), squares(a), squares(b)});
  batch.group.sum(sums);
  const auto rest = sums.narrow(0, 0, 2) / batch.n;
  const auto std = (sums.narrow(0, 2, 2) / batch.n - rest.square()).clamp_min(0).sqrt();
  const double ulp =
      type == torch::kDouble ? std::numeric_limits<double>::epsilon() : std::numeric_limits<float>::epsilon();
  const double least = 1 /
      (type == torch::kDouble ? std::numeric_limits<double>::max() // whose inverse is finite
                              : static_cast<double>(std::numeric_limits<float>::max()));
  const auto finish = [&](const Tensor& x, int64_t view) -> Standardised {
    auto inv_std = (std[view].square() + eps).rsqrt();
    if (eps == 0) {
      const auto constant = std[view] <= (mean[view].abs().to(torch::kDouble) * (16 * ulp)).clamp_min(least);
      inv_std = std[view].reciprocal().masked_fill(constant, 0);
    }
    const auto shift = (rest[view] * inv_std).neg().to(type);
    inv_std = inv_std.to(type);
    return {at::addcmul(shift, x, inv_std), inv_std};
  };
  return {finish(a, 0), finish(b, 1)};
}

// d loss / d z of both views from d loss / d a.
std::pair<Tensor, Tensor> standardise_backward(
    const Tensor& grad1,
    const Tensor& grad2,
    const Standardised& s1,
    const Standardised& s2,
    const RowsOfAll& batch) {
  auto means = at::stack({column_sum(grad1), column_sum(grad2), column_sum(grad1 * s1.a), column_sum(grad2 * s2.a)});
  batch.group.sum(means);
  means = (means / batch.n).to(grad1.scalar_type());
  const auto finish = [](const Tensor& grad, const Tensor& mean, const Tensor& along_a, const Standardised& s) {
    return at::addcmul(mean * s.inv_std.neg(), at::addcmul(grad, s.a, along_a, -1), s.inv_std);
  };
  return {finish(grad1, means[0], means[2], s1), finish(grad2, means[1], means[3], s2)};
}

Tensor working_type(const Tensor& z) {
  return z.scalar_type() == torch::kDouble ? z : z.to(torch::kFloat);
}

struct Outcome {
  Tensor on_diagonal, off_diagonal; // float64 scalars
  Tensor grad1, grad2; // d loss / d z in the working type, undefined unless asked for
};

struct Settings {
  double lmb, eps;
  bool unbiased, by_samples, with_grad;
  RowsOfAll batch;
};

// By samples every process has all rows of A and B, and its own rows of the Gram matrices; by features it has its rows
// of A and B, and all of C. A process receives 2 N D numbers in the one case, 2 D^2 in the other.
Outcome compute(const Tensor& z1, const Tensor& z2, const Settings& s) {
  const auto& batch = s.batch;
  const double n = batch.n;
  const double shrink = s.unbiased ? (n - 1) / n : 1; // of C
  const auto [s1, s2] = standardise(working_type(z1), working_type(z2), s.eps, batch);
  const auto &a = s1.a, &b = s2.a;

  Tensor all_a, all_b; // [N,D] of all processes
  Tensor c, ka, kb; // C [D,D], or rows of the Gram matrices AA', BB' [N,N]
  Tensor diagonal, total; // C_ii [D], sum_ij C_ij^2, float64
  if (s.by_samples) {
    all_a = batch.group.gather(a, batch.rows);
    all_b = batch.group.gather(b, batch.rows);
    ka = a.mm(all_a.t());
    kb = b.mm(all_b.t());
    const auto sums = at::cat({column_sum(a * b), (ka * kb).sum(torch::kDouble).view({1})});
    batch.group.sum(sums);
    diagonal = sums.slice(0, 0, -1) * (shrink / n);
    total = sums[-1] * (shrink * shrink / (n * n));
  } else {
    c = a.t().mm(b).mul_(shrink / n);
    batch.group.sum(c);
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
        s.by_samples ? at::addmm(b * weight, kb, all_a, 1, alpha) : at::addmm(b * weight, b, c.t(), 1, alpha);
    const auto grad_b =
        s.by_samples ? at::addmm(a * weight, ka, all_b, 1, alpha) : at::addmm(a * weight, a, c, 1, alpha);
    std::tie(out.grad1, out.grad2) = standardise_backward(grad_a, grad_b, s1, s2, batch);
  }
  return out;
}

// Loss and gradient in one go: the backward pass only scales, and rounds what is scaled, so that float16's loss scale
// serves its purpose. Nothing but two [N,D] tensors is kept in between.
struct LossFunction : torch::autograd::Function<LossFunction> {
  static tensor_list forward(AutogradContext* ctx, const Tensor& z1, const Tensor& z2, const Settings& settings) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const auto out = compute(z1, z2, settings);
    if (settings.with_grad) {
      ctx->save_for_backward({out.grad1, out.grad2});
      ctx->saved_data["type"] = static_cast<int64_t>(z1.scalar_type());
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
    const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
    const auto scaled = [&](size_t i) {
      return ctx->needs_input_grad(i) ? (saved[i] * grad_output[0]).to(type) : Tensor();
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
      z1.device() == z2.device() && !z1.is_meta(),
      name,
      "embeddings must be on one device, with data, received {} and {}",
      z1.device().str(),
      z2.device().str());
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

RowsOfAll batch_of(int64_t rows, const LossOptions& options) {
  constexpr auto name = "barlow_twins_loss";
  const auto& group = options.process_group;
  RowsOfAll batch{group, options.rows.empty() ? group.all_gather(rows) : options.rows, 0};
  check(
      static_cast<int64_t>(batch.rows.size()) == group.size() && batch.rows[static_cast<size_t>(group.rank())] == rows,
      name,
      "rows must be those of {} processes, this one's {}",
      group.size(),
      rows);
  const auto n = std::accumulate(batch.rows.begin(), batch.rows.end(), int64_t{0});
  check(n >= 2, name, "a batch needs at least 2 samples, received N = {}; use a batch_size of 2 or more", n);
  batch.n = static_cast<double>(n);
  return batch;
}

} // namespace

LossTerms barlow_twins_loss_terms(const Tensor& z1, const Tensor& z2, const LossOptions& options) {
  validate(z1, z2, options);
  const auto batch = batch_of(z1.size(0), options);
  const bool by_samples = options.route == LossRoute::Samples ||
      (options.route == LossRoute::Auto && batch.n < static_cast<double>(z1.size(1)));
  const bool with_grad = torch::GradMode::is_enabled() && (z1.requires_grad() || z2.requires_grad());
  const Settings settings{options.lmb, options.eps, options.unbiased, by_samples, with_grad, batch};
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
  check(
      n >= 1 && d >= 1 && std::isfinite(lmb) && lmb >= 0,
      "expected_initial_loss",
      "n and d must be at least 1, lmb finite and not negative, received {}, {} and {}",
      n,
      d,
      lmb);
  const auto features = static_cast<double>(d);
  return features + lmb * features * (features - 1) / static_cast<double>(n);
}

} // namespace barlow
