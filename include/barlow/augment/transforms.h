// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include <ATen/core/Tensor.h>

namespace barlow {

/// A box of pixels.
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

// Functions of a batch of images x [N,C,H,W], floating, any device, with one parameter a sample. Each throws Error for
// another rank or type, an empty batch, or a number of parameters other than N.

/// Sample n cropped to boxes[n], then resized to [size, size]: bilinear, antialiased, pixel centres at half integers,
/// not clamped. A crop of that size already is copied. Any number of channels. Source: torchvision 0.26 resized_crop.
at::Tensor resized_crop(const at::Tensor& x, const std::vector<Box>& boxes, int64_t size);

/// Columns reversed where flip[n]. Any number of channels.
at::Tensor horizontal_flip(const at::Tensor& x, const std::vector<bool>& flip);

/// (x - mean[c]) / std[c]; mean and std have C entries.
at::Tensor normalize(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& std);

/// x * std[c] + mean[c], the inverse of normalize.
at::Tensor denormalize(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& std);

} // namespace barlow
