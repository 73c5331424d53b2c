// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/modules/conv.h>

namespace barlow {

/// Two-dimensional convolution with zero padding, equal to torch's up to rounding: x [N,C,H,W], weight
/// [O,C/groups,k,k], bias [O] or undefined.
///
/// On the CPU two kinds go a way of their own. Maps of a few pixels (the deep stages of small images) are one matrix
/// product over the whole batch, restricted to the kernel's taps that ever meet a pixel: there oneDNN spends its time
/// on reordering weights. 3x3 kernels of many channels go by Winograd's algorithm in float32, with a quarter of the
/// multiplications and rounding of 1e-5 of the largest output. Which way, shapes alone tell, so a run repeats bit for
/// bit.
at::Tensor conv2d(
    const at::Tensor& x,
    const at::Tensor& weight,
    const at::Tensor& bias = {},
    at::IntArrayRef stride = 1,
    at::IntArrayRef padding = 0,
    at::IntArrayRef dilation = 1,
    int64_t groups = 1);

/// torch::nn::Conv2d that computes with barlow::conv2d. Zero padding only.
class Conv2dImpl : public torch::nn::Conv2dImpl {
 public:
  using torch::nn::Conv2dImpl::Conv2dImpl;
  virtual at::Tensor forward(const at::Tensor& x);
};
TORCH_MODULE(Conv2d);

} // namespace barlow
