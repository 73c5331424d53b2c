// SPDX-License-Identifier: Apache-2.0
#include <barlow/conv.h>

#include <ATen/TracerMode.h>
#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include "conv_lowered.h"
#include "conv_winograd.h"

namespace barlow {
namespace {

using torch::Tensor;

bool uniform(at::IntArrayRef values) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == values[0]; });
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
  return x.is_cpu() && x.dim() == 4 && groups == 1 && x.size(0) > 0 && x.scalar_type() == weight.scalar_type() &&
      (x.scalar_type() == torch::kFloat || x.scalar_type() == torch::kDouble) && uniform(stride) && uniform(padding) &&
      uniform(dilation) && dilation[0] == 1 && x.size(1) == weight.size(1) &&
      x.size(2) + 2 * padding[0] >= weight.size(2) && x.size(3) + 2 * padding[0] >= weight.size(3) &&
      !at::autocast::is_autocast_enabled(at::kCPU) && !at::tracer::impl::is_dispatch_enabled();
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
  const auto padding = std::get<torch::ExpandingArray<2>>(options.padding());
  return conv2d(x, weight, bias, options.stride(), padding, options.dilation(), options.groups());
}

} // namespace barlow
