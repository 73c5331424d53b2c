// SPDX-License-Identifier: Apache-2.0
// Embeddings and memory layouts for tests of numerics, and comparison by an element's own bound.
#pragma once

#include <array>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/loss.h>

#include "oracle.h"

namespace barlow::testing {

inline const std::vector<LossRoute> kBothRoutes{LossRoute::Features, LossRoute::Samples};

// Random embeddings [n,d], float64, whose first two rows lie apart: no feature has a standard deviation near 0, where
// rounding and every derivative grow without bound.
inline torch::Tensor embeddings(int64_t n, int64_t d) {
  auto z = torch::randn({n, d}, torch::kDouble);
  const auto apart = 3 * torch::randn({d}, torch::kDouble).sign();
  z[0] += apart;
  z[1] -= apart;
  return z;
}

inline std::pair<torch::Tensor, torch::Tensor> two_views(int64_t n, int64_t d) {
  const auto z1 = embeddings(n, d);
  return {z1, 0.25 * z1 + embeddings(n, d)};
}

// The same values in a larger tensor of NaN, which nobody may read: a step and an offset in every dimension.
inline torch::Tensor stepped(const torch::Tensor& x) {
  auto sizes = x.sizes().vec();
  for (auto& size : sizes) {
    size = 2 * size + 1;
  }
  auto inside = torch::full(sizes, std::numeric_limits<double>::quiet_NaN(), x.options());
  for (int64_t d = 0; d < x.dim(); ++d) {
    inside = inside.slice(d, 1, std::nullopt, 2);
  }
  return inside.copy_(x);
}

// The same values elsewhere in memory, but for the last one, which repeats the first feature or channel by a stride of
// 0. (LibTorch has no negative strides or offsets.)
struct Layout {
  const char* name;
  torch::Tensor (*of)(const torch::Tensor& x);
};
inline constexpr std::array kLayouts{
    Layout{"contiguous", [](const torch::Tensor& x) { return x.contiguous(); }},
    Layout{"transposed", [](const torch::Tensor& x) { return x.transpose(0, 1).contiguous().transpose(0, 1); }},
    Layout{"channels last", [](const torch::Tensor& x) { return x.movedim(1, -1).contiguous().movedim(-1, 1); }},
    Layout{"stepped", stepped},
    Layout{"expanded", [](const torch::Tensor& x) { return x.narrow(1, 0, 1).expand_as(x); }}};

inline torch::Tensor exact(const torch::Tensor& x) {
  return x.detach().to(torch::kDouble);
}

// Every |a - b| <= bound, element by element.
inline ::testing::AssertionResult within(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& bound) {
  if (a.sizes() == b.sizes() && ((exact(a) - exact(b)).abs() <= bound).all().item<bool>()) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << largest_difference(a, b) << "; bound up to " << bound.max().item<double>();
}

struct Convolution {
  int64_t n, in, out, height, width, kernel, stride, padding;

  int64_t out_height() const {
    return (height + 2 * padding - kernel) / stride + 1;
  }
  int64_t out_width() const {
    return (width + 2 * padding - kernel) / stride + 1;
  }
  std::string name() const {
    return fmt::format("{}x{}x{}x{} to {}, k{} s{} p{}", n, in, height, width, out, kernel, stride, padding);
  }
};

struct LossAndGradients {
  double loss = 0;
  torch::Tensor g1, g2;
};

inline LossAndGradients loss_and_gradients(const torch::Tensor& z1, const torch::Tensor& z2, LossRoute route) {
  const auto a = z1.detach().requires_grad_(), b = z2.detach().requires_grad_();
  const auto loss = barlow_twins_loss_terms(a, b, {.route = route}).loss;
  const auto grads = torch::autograd::grad({loss}, {a, b});
  return {loss.item<double>(), grads[0], grads[1]};
}

} // namespace barlow::testing
