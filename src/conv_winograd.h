// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

namespace barlow {

/// Whether winograd_conv2d takes these: float32 on the CPU, 3x3, stride 1, padding 1, one group, and is faster than
/// oneDNN, by shapes alone.
bool winograd_pays(const at::Tensor& x, const at::Tensor& weight);

/// Convolution of x [N,C,H,W] with weight [O,C,3,3], stride 1, padding 1, by Winograd's F(4x4, 3x3): a quarter of the
/// multiplications, as 36 matrix products. Rounding is about five times direct convolution's: 1e-5 of the largest
/// output. Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.
at::Tensor winograd_conv2d(const at::Tensor& x, const at::Tensor& weight);

} // namespace barlow
