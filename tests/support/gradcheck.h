// SPDX-License-Identifier: Apache-2.0
// Gradients against finite differences.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace barlow::testing {

struct GradcheckOptions {
  double step = 3e-4; ///< of inputs of about 1 whose function is smooth that far
  double tolerance = 1e-8; ///< of the length of (value, gradient), at least of 1
  int64_t most_elements = 100; ///< larger inputs are left to the random directions
  int64_t directions = 3;
  uint64_t seed = 1; ///< of projection and directions; the global generator is left alone
  std::function<void(const torch::Tensor& scalar)> backward{}; ///< empty: scalar.backward()
  std::function<void(const torch::Tensor& x)> sum{}; ///< in place over the processes that f is computed by together
};

/// Whether the gradient of <f(), P>, P random, is that of finite differences: along random directions through all
/// leaves together, and element by element. f() computes from the leaves, which are float64 and moved in place, and
/// returns the same for the same leaves.
///
/// Central differences of fourth order, (8 (f(h) - f(-h)) - f(2h) + f(-2h)) / 12 h: their error is f''''' h^4 / 30,
/// some 3e-16 f''''', plus rounding of 1e-16 f / h, some 1e-12 f. The tolerance leaves room for fifth derivatives up to
/// 1e7; a gradient that is wrong is so by far more.
inline ::testing::AssertionResult gradcheck(
    const std::function<torch::Tensor()>& f,
    const std::vector<torch::Tensor>& leaves,
    const GradcheckOptions& options = {}) {
  using torch::Tensor;
  const auto random = at::detail::createCPUGenerator(options.seed);
  const auto normal = [&](const Tensor& like) {
    return torch::randn(like.sizes(), random, torch::kDouble).to(like.options());
  };
  for (const auto& leaf : leaves) {
    leaf.mutable_grad().reset();
  }
  const auto y = f();
  const auto projection = normal(y);
  const auto scalar = (y * projection).sum();
  options.backward ? options.backward(scalar) : scalar.backward();

  const torch::NoGradGuard no_grad;
  const auto summed = [&](const Tensor& x) {
    if (options.sum) {
      options.sum(x);
    }
    return x;
  };
  const auto value = [&] { return summed((f() * projection).sum()).item<double>(); };
  std::vector<Tensor> before, grads;
  int64_t count = 0;
  double scale = std::abs(value());
  for (const auto& leaf : leaves) {
    before.push_back(leaf.detach().clone());
    grads.push_back(summed(leaf.grad().defined() ? leaf.grad().clone() : at::zeros_like(before.back())));
    count += leaf.numel();
    scale = std::hypot(scale, grads.back().norm().item<double>());
  }
  const auto moved = [&](const std::vector<Tensor>& along, double by) {
    for (size_t i = 0; i < leaves.size(); ++i) {
      leaves[i].detach().copy_(before[i] + by * along[i]);
    }
    return value();
  };
  const auto agrees = [&](const std::string& what, const std::vector<Tensor>& along) -> ::testing::AssertionResult {
    const double h = options.step;
    const double slope =
        (8 * (moved(along, h) - moved(along, -h)) - moved(along, 2 * h) + moved(along, -2 * h)) / (12 * h);
    double expected = 0;
    for (size_t i = 0; i < leaves.size(); ++i) {
      expected += (grads[i] * along[i]).sum().item<double>();
      leaves[i].detach().copy_(before[i]);
    }
    if (std::abs(slope - expected) <= options.tolerance * std::max(scale, 1.)) {
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << fmt::format(
               "{}: gradient {:.12g}, finite differences {:.12g}; allowed {:.3g}",
               what,
               expected,
               slope,
               options.tolerance * std::max(scale, 1.));
  };

  std::vector<Tensor> along;
  for (int64_t k = 0; k < options.directions; ++k) {
    along.clear();
    for (const auto& x : before) {
      along.push_back(normal(x) / std::sqrt(static_cast<double>(count)));
    }
    if (auto result = agrees(fmt::format("direction {}", k), along); !result) {
      return result;
    }
  }
  along.clear();
  for (const auto& x : before) {
    along.push_back(torch::zeros(x.sizes(), x.options()));
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].numel() > options.most_elements) {
      continue;
    }
    const auto flat = along[i].view({-1});
    for (int64_t e = 0; e < flat.numel(); ++e) {
      flat[e].fill_(1);
      if (auto result = agrees(fmt::format("input {}, element {}", i, e), along); !result) {
        return result;
      }
      flat[e].fill_(0);
    }
  }
  return ::testing::AssertionSuccess();
}

} // namespace barlow::testing
