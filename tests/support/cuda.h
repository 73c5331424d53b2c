// SPDX-License-Identifier: Apache-2.0
// Tests of what a GPU computes.
#pragma once

#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "support/oracle.h"

namespace barlow::testing {

/// Skipped where there is no CUDA device; exact float32 products.
class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) {
      GTEST_SKIP() << "there is no CUDA device here";
    }
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(false);
    torch::manual_seed(0);
  }
  void TearDown() override {
    at::globalContext().setAllowTF32CuBLAS(cublas_);
    at::globalContext().setAllowTF32CuDNN(cudnn_);
  }

 private:
  bool cublas_ = at::globalContext().allowTF32CuBLAS(), cudnn_ = at::globalContext().allowTF32CuDNN();
};

// Before the first product: cuBLAS and ATen look at it once.
inline const int kRepeatableProducts = ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*replace=*/0);

// Kernels that repeat to the bit, while it lives. Those that cannot only warn: what repeats is compared. Attention by
// its formula: the efficient kernel's backward pass repeats only where no kernel may warn.
class Deterministic {
 public:
  Deterministic()
      : algorithms_(context().deterministicAlgorithms()),
        warn_only_(context().deterministicAlgorithmsWarnOnly()),
        cudnn_(context().deterministicCuDNN()),
        benchmark_(context().benchmarkCuDNN()),
        efficient_(context().userEnabledMemEfficientSDP()) {
    context().setDeterministicAlgorithms(true, /*warn_only=*/true);
    context().setDeterministicCuDNN(true);
    context().setBenchmarkCuDNN(false);
    context().setSDPUseMemEfficient(false);
  }
  ~Deterministic() {
    context().setDeterministicAlgorithms(algorithms_, warn_only_);
    context().setDeterministicCuDNN(cudnn_);
    context().setBenchmarkCuDNN(benchmark_);
    context().setSDPUseMemEfficient(efficient_);
  }
  Deterministic(const Deterministic&) = delete;
  Deterministic& operator=(const Deterministic&) = delete;

 private:
  static at::Context& context() {
    return at::globalContext();
  }
  bool algorithms_, warn_only_, cudnn_, benchmark_, efficient_;
};

inline torch::Tensor on_cpu(const torch::Tensor& x) {
  return x.detach().to(torch::kCPU, torch::kDouble);
}

// All |a - b| within tolerance of the largest number of all b: of a network's gradients some are nothing but rounding.
// Integers are equal.
inline void
expect_all_close(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  double scale = 0;
  for (const auto& x : b) {
    scale = std::max(scale, x.is_floating_point() ? on_cpu(x).abs().max().item<double>() : 0);
  }
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(close_each(on_cpu(a[i]), on_cpu(b[i]), 0, b[i].is_floating_point() ? tolerance * scale : 0)) << i;
  }
}

} // namespace barlow::testing
