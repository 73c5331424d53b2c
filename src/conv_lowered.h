// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace barlow {

/// Whether lowered_conv2d is faster than oneDNN, by shapes alone: for few positions, or kernels that hang over the map.
bool lowering_pays(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding);

/// Convolution of x [N,C,H,W] with weight [O,C,k,k] as one matrix product over the batch, restricted to the kernel's
/// taps that ever meet a pixel.
at::Tensor lowered_conv2d(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding);

} // namespace barlow
