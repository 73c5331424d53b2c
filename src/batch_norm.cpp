// SPDX-License-Identifier: Apache-2.0
#include <barlow/batch_norm.h>

#include <torch/torch.h>

#include "check.h"

namespace barlow {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

double rows_of_channel(const Tensor& x) {
  return static_cast<double>(x.numel()) / static_cast<double>(x.size(1));
}

// [W,...] of tensors [...], by rank.
Tensor stack_of_all(const ProcessGroup& group, const Tensor& x) {
  return group.gather(x.unsqueeze(0), std::vector<int64_t>(static_cast<size_t>(group.size()), 1));
}

struct Moments {
  Tensor mean, variance; // [C], biased
  Tensor count; // scalar
};

// What statistics of x are kept in.
at::ScalarType working_type(const Tensor& x) {
  return x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

// Each process' moments put together (Chan et al., 1983), in float64.
Moments moments_of_all(const ProcessGroup& group, const Tensor& x) {
  auto mean = torch::zeros({x.size(1)}, x.options().dtype(working_type(x))), variance = at::zeros_like(mean);
  if (x.numel() > 0) {
    std::tie(mean, variance) = at::batch_norm_update_stats(x.to(working_type(x)), {}, {}, /*momentum=*/0);
  }
  const double n = rows_of_channel(x);
  mean = mean.to(torch::kDouble);
  const auto all = stack_of_all(group, at::stack({at::full_like(mean, n), mean, variance.to(torch::kDouble) * n}));
  const auto counts = all.select(1, 0), means = all.select(1, 1), squares = all.select(1, 2); // [W,C]
  const auto count = counts.sum(0);
  const auto mean_of_all = (counts * means).sum(0) / count;
  const auto between = (counts * (means - mean_of_all).square()).sum(0);
  return {mean_of_all, (squares.sum(0) + between) / count, count[0]};
}

void update_running(const BatchNormTensors& t, const Moments& m, const std::optional<double>& momentum) {
  if (!t.running_mean.defined()) {
    return;
  }
  const double share = momentum ? *momentum : 1 / t.num_batches_tracked.item<double>();
  const auto unbiased = m.variance * (m.count / (m.count - 1));
  t.running_mean.lerp_(m.mean.to(t.running_mean.scalar_type()), share);
  t.running_var.lerp_(unbiased.to(t.running_var.scalar_type()), share);
}

void refuse_second_derivatives() {
  check(
      !torch::GradMode::is_enabled(),
      "BatchNorm",
      "the gradient of synchronised statistics cannot be differentiated again; call backward without create_graph");
}

// On the CPU. LibTorch's evaluation kernels do the work on the images; they take given statistics, and their backward
// pass sums what the statistics' gradient needs.
struct SyncedOnCpu : torch::autograd::Function<SyncedOnCpu> {
  static Tensor forward(
      AutogradContext* ctx,
      const Tensor& x,
      const std::optional<Tensor>& weight,
      const std::optional<Tensor>& bias,
      const ProcessGroup& group,
      const BatchNormTensors& tensors,
      const torch::nn::BatchNormOptions& options) {
    const auto moments = moments_of_all(group, x);
    check(
        moments.count.item<double>() > 1,
        "BatchNorm",
        "statistics need more than one value a channel, received one in all processes");
    update_running(tensors, moments, options.momentum());
    const auto mean = moments.mean.to(working_type(x)), variance = moments.variance.to(working_type(x));
    ctx->save_for_backward({x, weight.value_or(Tensor()), mean, variance, moments.count});
    ctx->saved_data["eps"] = options.eps();
    ctx->saved_data["with_bias"] = bias.has_value();
    ctx->saved_data["group"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(group));
    if (x.numel() == 0) {
      return at::empty_like(x);
    }
    return std::get<0>(at::native_batch_norm(x, weight, bias, mean, variance, false, 0, options.eps()));
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grad_output) {
    refuse_second_derivatives();
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &mean = saved[2], &variance = saved[3], &count = saved[4];
    const auto capsule = ctx->saved_data["group"].toCapsule();
    const auto& group = static_cast<const Holder&>(*capsule).group;
    const double eps = ctx->saved_data["eps"].toDouble();
    const auto grad = grad_output[0].contiguous(x.suggest_memory_format());
    Tensor grad_x = at::empty_like(x), grad_weight = at::zeros_like(mean), grad_bias = at::zeros_like(mean);
    if (x.numel() > 0) {
      std::tie(grad_x, grad_weight, grad_bias) =
          at::native_batch_norm_backward(grad, x, weight, mean, variance, {}, {}, false, eps, {true, true, true});
    }
    const auto sums = at::stack({grad_bias, grad_weight}).to(torch::kDouble);
    group.sum(sums);
    if (x.numel() > 0) { // less the parts that go through mean and variance, which is a normalisation of x again
      const auto inv_std = (variance.to(torch::kDouble) + eps).rsqrt();
      const auto scale = (weight.defined() ? inv_std * weight : inv_std) / -count;
      const auto of_variance = (scale * sums[1]).to(working_type(x)), of_mean = (scale * sums[0]).to(working_type(x));
      grad_x.add_(std::get<0>(at::native_batch_norm(x, of_variance, of_mean, mean, variance, false, 0, eps)));
    }
    return {
        grad_x,
        weight.defined() ? grad_weight : Tensor(),
        ctx->saved_data["with_bias"].toBool() ? grad_bias : Tensor(),
        {},
        {},
        {}};
  }

  struct Holder : torch::CustomClassHolder {
    explicit Holder(ProcessGroup of) : group(std::move(of)) {}
    ProcessGroup group;
  };
};

// On CUDA, by the kernels that torch.nn.SyncBatchNorm has. Nothing is read by the host.
struct SyncedOnCuda : torch::autograd::Function<SyncedOnCuda> {
  using Holder = SyncedOnCpu::Holder;

  static Tensor forward(
      AutogradContext* ctx,
      const Tensor& x,
      const std::optional<Tensor>& weight,
      const std::optional<Tensor>& bias,
      const ProcessGroup& group,
      const BatchNormTensors& tensors,
      const torch::nn::BatchNormOptions& options) {
    // The kernel that puts the moments together divides by counts: a process without rows has next to none.
    constexpr double kNone = 1e-30;
    const auto floats = x.options().dtype(torch::kFloat);
    Tensor mean = torch::zeros({x.size(1)}, floats), inv_std = torch::ones({x.size(1)}, floats);
    if (x.numel() > 0) {
      std::tie(mean, inv_std) = at::batch_norm_stats(x, options.eps());
    }
    const auto count = torch::full({x.size(1)}, std::max(rows_of_channel(x), kNone), mean.options());
    const auto all = stack_of_all(group, at::stack({mean, inv_std, count})); // [W,3,C]
    const auto counts = all.select(1, 2).select(1, 0).contiguous();
    const double momentum = options.momentum()  ? *options.momentum()
        : tensors.num_batches_tracked.defined() ? 1 / tensors.num_batches_tracked.item<double>()
                                                : 0;
    std::tie(mean, inv_std) = at::batch_norm_gather_stats_with_counts(
        x,
        all.select(1, 0).contiguous(),
        all.select(1, 1).contiguous(),
        tensors.running_mean,
        tensors.running_var,
        momentum,
        options.eps(),
        counts);
    ctx->save_for_backward({x, weight.value_or(Tensor()), mean, inv_std, counts});
    ctx->saved_data["with_bias"] = bias.has_value();
    ctx->saved_data["group"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(group));
    return x.numel() == 0 ? at::empty_like(x) : at::batch_norm_elemt(x, weight, bias, mean, inv_std, options.eps());
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grad_output) {
    refuse_second_derivatives();
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &mean = saved[2], &inv_std = saved[3], &counts = saved[4];
    const auto capsule = ctx->saved_data["group"].toCapsule();
    const auto& group = static_cast<const Holder&>(*capsule).group;
    const bool with_bias = ctx->saved_data["with_bias"].toBool();
    const auto grad = grad_output[0].contiguous(x.suggest_memory_format());
    Tensor sum_dy = at::zeros_like(mean), sum_dy_xmu = at::zeros_like(mean), grad_weight, grad_bias;
    if (x.numel() > 0) {
      std::tie(sum_dy, sum_dy_xmu, grad_weight, grad_bias) =
          at::batch_norm_backward_reduce(grad, x, mean, inv_std, weight, true, weight.defined(), with_bias);
    } else {
      grad_weight = weight.defined() ? at::zeros_like(weight) : Tensor();
      grad_bias = with_bias ? at::zeros_like(mean) : Tensor();
    }
    const auto sums = at::stack({sum_dy, sum_dy_xmu});
    group.sum(sums);
    const auto grad_x = x.numel() == 0
        ? at::empty_like(x)
        : at::batch_norm_backward_elemt(
              grad, x, mean, inv_std, weight, sums[0].contiguous(), sums[1].contiguous(), counts.to(torch::kInt));
    return {grad_x, grad_weight, grad_bias, {}, {}, {}};
  }
};

// One of each, or nothing.
bool fits(const Tensor& of_channels, int64_t channels) {
  return !of_channels.defined() || of_channels.sizes() == at::IntArrayRef{channels};
}

bool fit_together(const Tensor& x, const BatchNormTensors& t, const std::optional<double>& momentum) {
  if (x.dim() < 2 || !x.is_floating_point() || x.is_meta()) {
    return false;
  }
  const auto c = x.size(1);
  const bool one_type = !t.weight.defined() || t.weight.scalar_type() == x.scalar_type() ||
      (t.weight.scalar_type() == torch::kFloat && at::isReducedFloatingType(x.scalar_type()));
  return one_type && fits(t.weight, c) && fits(t.bias, c) && fits(t.running_mean, c) && fits(t.running_var, c) &&
      t.running_mean.defined() == t.running_var.defined() &&
      (momentum || !t.running_mean.defined() || t.num_batches_tracked.defined());
}

bool is_torchs_own(const torch::nn::Module& module) {
  return module.as<torch::nn::BatchNorm1dImpl>() != nullptr || module.as<torch::nn::BatchNorm2dImpl>() != nullptr ||
      module.as<torch::nn::BatchNorm3dImpl>() != nullptr ||
      (module.children().empty() && module.named_buffers(/*recurse=*/false).contains("running_mean"));
}

} // namespace

Tensor synced_batch_norm(
    const ProcessGroup& group,
    const Tensor& x,
    const BatchNormTensors& tensors,
    const torch::nn::BatchNormOptions& options) {
  if (!fit_together(x, tensors, options.momentum())) {
    check(
        false,
        "BatchNorm",
        "x must be floating [N,C] or [N,C,H,W], what there is of weight, bias and both running statistics [C], the "
        "weight of x's type or float32, and a momentum or a num_batches_tracked be there, received {} for a weight {}",
        describe(x),
        describe(tensors.weight));
  }
  if (tensors.num_batches_tracked.defined()) {
    tensors.num_batches_tracked.add_(1);
  }
  const auto if_any = [](const Tensor& c) { return c.defined() ? std::optional(c) : std::nullopt; };
  const auto weight = if_any(tensors.weight), bias = if_any(tensors.bias);
  return x.is_cpu() ? SyncedOnCpu::apply(x, weight, bias, group, tensors, options)
                    : SyncedOnCuda::apply(x, weight, bias, group, tensors, options);
}

void sync_batch_norm(torch::nn::Module& module, const ProcessGroup& group) {
  for (const auto& item : module.named_modules(/*name_prefix=*/"", /*include_self=*/true)) {
    if (auto* norm = dynamic_cast<SyncedStatistics*>(item.value().get())) {
      norm->synchronise(group);
      continue;
    }
    check(
        group.size() == 1 || !is_torchs_own(*item.value()),
        "sync_batch_norm",
        "the batch norm '{}' cannot be synchronised; make it a barlow::BatchNorm1d or 2d (a script cannot have them), "
        "or "
        "leave statistics to each process by LearnerOptions::sync_batch_norm = false",
        item.key());
  }
}

} // namespace barlow
