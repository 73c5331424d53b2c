// SPDX-License-Identifier: Apache-2.0
#include <barlow/conv.h>

#include <ATen/TracerMode.h>
#include <ATen/autocast_mode.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include "check.h"
#include "conv_lowered.h"
#include "conv_winograd.h"

namespace barlow {
namespace {

using torch::Tensor;

bool uniform(at::IntArrayRef values) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == values[0]; });
}

bool one_or_two(at::IntArrayRef values, int64_t least) {
  return (values.size() == 1 || values.size() == 2) &&
      std::all_of(values.begin(), values.end(), [&](int64_t v) { return v >= least; });
}

bool kernel_fits(
    const Tensor& x,
    const Tensor& weight,
    at::IntArrayRef padding,
    at::IntArrayRef dilation,
    int64_t dimension) {
  const auto of = [&](at::IntArrayRef values) { return dimension == 2 ? values.front() : values.back(); };
  return x.size(dimension) + 2 * of(padding) > of(dilation) * (weight.size(dimension) - 1);
}

// Every layer comes here: words are made only for what is wrong.
void check_arguments(
    const Tensor& x,
    const Tensor& weight,
    const Tensor& bias,
    at::IntArrayRef stride,
    at::IntArrayRef padding,
    at::IntArrayRef dilation,
    int64_t groups) {
  constexpr auto here = "conv2d";
  if (!one_or_two(stride, 1) || !one_or_two(padding, 0) || !one_or_two(dilation, 1)) {
    check(
        false,
        here,
        "stride, padding and dilation must be one or two numbers, of at least 1, 0 and 1, received ({}), ({}) and ({})",
        fmt::join(stride, ", "),
        fmt::join(padding, ", "),
        fmt::join(dilation, ", "));
  }
  const bool shapes = x.dim() == 4 && weight.dim() == 4 && weight.numel() > 0 && groups >= 1 &&
      weight.size(0) % groups == 0 && x.size(1) == weight.size(1) * groups;
  if (!shapes || !kernel_fits(x, weight, padding, dilation, 2) || !kernel_fits(x, weight, padding, dilation, 3)) {
    check(
        false,
        here,
        "images must be [N,C,H,W], the weight [O,C / groups,h,w] and no larger than the padded image, received {} and "
        "{} for {} groups",
        describe(x),
        describe(weight),
        groups);
  }
  const auto goes_with_weight = [&](const Tensor& a) {
    return a.is_floating_point() && a.device() == weight.device() &&
        (a.scalar_type() == weight.scalar_type() || at::autocast::is_autocast_enabled(a.device().type()));
  };
  if (!weight.is_floating_point() || !goes_with_weight(x)) {
    check(
        false,
        here,
        "images and weight must be of one floating type on one device, received {} on {} and {} on {}",
        describe(x),
        x.device().str(),
        describe(weight),
        weight.device().str());
  }
  if (bias.defined() && (bias.dim() != 1 || bias.size(0) != weight.size(0) || !goes_with_weight(bias))) {
    check(
        false,
        here,
        "the bias must be [{}] of the weight's type and device, received {}",
        weight.size(0),
        describe(bias));
  }
}

// Ours alone: one group on the CPU, no dilation, not under autocast, the same stride and padding both ways. A graph
// that is recorded (onnx.h) says "convolution" instead.
bool is_plain(
    const Tensor& x,
    const Tensor& weight,
    at::IntArrayRef stride,
    at::IntArrayRef padding,
    at::IntArrayRef dilation,
    int64_t groups) {
  return x.is_cpu() && groups == 1 && x.size(0) > 0 && x.scalar_type() == weight.scalar_type() &&
      (x.scalar_type() == torch::kFloat || x.scalar_type() == torch::kDouble) && uniform(stride) && uniform(padding) &&
      uniform(dilation) && dilation[0] == 1 && !at::autocast::is_autocast_enabled(at::kCPU) &&
      !at::tracer::impl::is_dispatch_enabled();
}

Tensor with_bias(const Tensor& y, const Tensor& bias) {
  return bias.defined() ? y + bias.view({1, -1, 1, 1}) : y;
}

} // namespace

Tensor conv2d(
    const Tensor& x,
    const Tensor& weight,
    const Tensor& bias,
    at::IntArrayRef stride,
    at::IntArrayRef padding,
    at::IntArrayRef dilation,
    int64_t groups) {
  check_arguments(x, weight, bias, stride, padding, dilation, groups);
  if (is_plain(x, weight, stride, padding, dilation, groups)) {
    if (lowering_pays(x, weight, stride[0], padding[0])) {
      return with_bias(lowered_conv2d(x, weight, stride[0], padding[0]), bias);
    }
    if (stride[0] == 1 && padding[0] == 1 && winograd_pays(x, weight)) {
      return with_bias(winograd_conv2d(x, weight), bias);
    }
  }
  return at::conv2d(x, weight, bias, stride, padding, dilation, groups);
}

Tensor Conv2dImpl::forward(const Tensor& x) {
  const auto* padding = std::get_if<torch::ExpandingArray<2>>(&options.padding());
  check(
      padding != nullptr && std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode()),
      "Conv2d",
      "padding must be of zeros and in numbers, received words or another mode; torch::nn::Conv2d can have those");
  return conv2d(x, weight, bias, options.stride(), *padding, options.dilation(), options.groups());
}

} // namespace barlow
