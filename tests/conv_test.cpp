// SPDX-License-Identifier: Apache-2.0
// barlow::conv2d against torch's convolution, which is written differently.
#include <barlow/conv.h>

#include <array>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

struct Shape {
  int64_t n, in, out, height, width, kernel, stride, padding;
};

// All of few positions, so that the lowered way is taken: 1x1 and 2x2 maps, kernels beyond the padding's reach, strides
// that leave rows unread, 1x1 kernels, no padding.
const std::vector<Shape> kShapes{
    {3, 5, 7, 1, 1, 3, 1, 1},
    {3, 5, 7, 2, 2, 3, 2, 1},
    {2, 4, 6, 2, 3, 3, 1, 1},
    {2, 4, 6, 5, 4, 3, 2, 1},
    {2, 4, 6, 3, 3, 5, 1, 2},
    {1, 3, 2, 4, 4, 1, 1, 0},
    {2, 3, 4, 5, 5, 1, 2, 0},
    {2, 3, 4, 6, 6, 3, 3, 0},
    {1, 2, 3, 1, 4, 3, 1, 1},
    {2, 3, 4, 2, 2, 7, 2, 3},
    {1, 2, 2, 5, 5, 2, 2, 0},
    {300, 2, 2, 1, 1, 3, 1, 1},
};

TEST(Conv2d, EqualsTorchsForwardAndBackward) {
  torch::manual_seed(0);
  for (const auto& s : kShapes) {
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      const auto x = torch::randn({s.n, s.in, s.height, s.width}, torch::kDouble).contiguous(format).requires_grad_();
      const auto w =
          torch::randn({s.out, s.in, s.kernel, s.kernel}, torch::kDouble).contiguous(format).requires_grad_();
      const auto b = torch::randn({s.out}, torch::kDouble).requires_grad_();
      const std::vector<int64_t> stride{s.stride}, padding{s.padding};
      const auto expected = at::conv2d(x, w, b, stride, padding);
      const auto weight = torch::randn_like(expected);
      const auto expected_grads = torch::autograd::grad({(expected * weight).sum()}, {x, w, b});
      const auto y = barlow::conv2d(x, w, b, stride, padding);
      const auto grads = torch::autograd::grad({(y * weight).sum()}, {x, w, b});
      const auto name =
          fmt::format("{}x{}x{}x{} k{} s{} p{}", s.n, s.in, s.height, s.width, s.kernel, s.stride, s.padding);
      // float64 sums of at most 10^3 terms
      EXPECT_TRUE(close_to_scale(y, expected, 1e-13)) << name;
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(close_to_scale(grads[i], expected_grads[i], 1e-13)) << name << " gradient " << i;
      }
    }
  }
}

TEST(Conv2d, TakesItsOwnWayForFewPositions) { // else the test above would compare torch with torch
  const auto x = torch::randn({3, 5, 2, 2}).requires_grad_(), w = torch::randn({7, 5, 3, 3}).requires_grad_();
  const std::vector<int64_t> one{1};
  EXPECT_EQ(barlow::conv2d(x, w, {}, one, one).grad_fn()->name().find("ConvolutionBackward"), std::string::npos);
}

// Maps that tiles of 4 cover and that they do not, both layouts. Torch's float64 convolution is the reference; float32
// direct convolution has errors of 1e-6 to 3e-6 of the largest value, Winograd's transforms five times that.
TEST(Conv2d, WinogradsWayEqualsTorchs) {
  torch::manual_seed(0);
  for (const auto& [n, in, out, height, width] : std::vector<std::array<int64_t, 5>>{
           {16, 128, 160, 8, 8}, {64, 160, 128, 4, 4}, {8, 128, 128, 14, 15}, {64, 128, 128, 4, 3}}) {
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      const auto x = torch::randn({n, in, height, width}).contiguous(format).requires_grad_();
      const auto w = (torch::randn({out, in, 3, 3}) / 30).contiguous(format).requires_grad_();
      const auto b = torch::randn({out}).requires_grad_();
      const std::vector<int64_t> one{1};
      const auto y = barlow::conv2d(x, w, b, one, one);
      EXPECT_NE(y.grad_fn()->next_edge(0).function->name().find("Winograd"), std::string::npos);
      const auto weight = torch::randn_like(y);
      const auto grads = torch::autograd::grad({(y * weight).sum()}, {x, w, b});
      const auto exact = [](const Tensor& t) { return t.detach().to(torch::kDouble).requires_grad_(); };
      const auto x64 = exact(x), w64 = exact(w), b64 = exact(b);
      const auto y64 = at::conv2d(x64, w64, b64, one, one);
      const auto grads64 = torch::autograd::grad({(y64 * weight).sum()}, {x64, w64, b64});
      const auto name = fmt::format("{}x{}x{}x{}", n, in, height, width);
      EXPECT_TRUE(close_to_scale(y.to(torch::kDouble), y64, 2e-5)) << name;
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(close_to_scale(grads[i].to(torch::kDouble), grads64[i], 2e-5)) << name << " gradient " << i;
      }
    }
  }
}

TEST(Conv2d, SecondDerivativesAreTorchs) {
  torch::manual_seed(1);
  const std::vector<int64_t> one{1};
  const auto x = torch::randn({2, 3, 2, 2}, torch::kDouble).requires_grad_();
  const auto w = torch::randn({4, 3, 3, 3}, torch::kDouble).requires_grad_();
  const auto second = [&](const Tensor& y) {
    const auto g = torch::autograd::grad({y.pow(3).sum()}, {x}, {}, true, /*create_graph=*/true)[0];
    return torch::autograd::grad({g.square().sum()}, {w})[0];
  };
  EXPECT_TRUE(
      close_to_scale(second(barlow::conv2d(x, w, {}, one, one)), second(at::conv2d(x, w, {}, one, one)), 1e-12));
}

} // namespace
} // namespace barlow
