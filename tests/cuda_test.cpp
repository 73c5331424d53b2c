// SPDX-License-Identifier: Apache-2.0
// The same work on CUDA as on the CPU; skipped where there is no CUDA device.
#include <gtest/gtest.h>

#include <barlow/barlow.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;

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
};

TEST_F(Cuda, LossAndGradientsAreTheCpus) {
  for (const auto route : {LossRoute::Features, LossRoute::Samples}) {
    const auto z1 = torch::randn({64, 96}), z2 = 0.5 * z1 + torch::randn({64, 96});
    const auto grads = [&](at::Device device) {
      const auto a = z1.to(device).requires_grad_(), b = z2.to(device).requires_grad_();
      const auto loss = barlow_twins_loss_terms(a, b, {.route = route}).loss;
      loss.backward();
      return std::vector<torch::Tensor>{loss.detach().cpu(), a.grad().cpu(), b.grad().cpu()};
    };
    const auto cpu = grads(torch::kCPU), cuda = grads(torch::kCUDA);
    for (size_t i = 0; i < cpu.size(); ++i) {
      EXPECT_TRUE(close_to_scale(cuda[i], cpu[i], 2e-5)) << i; // float32 products in another order
    }
  }
}

TEST_F(Cuda, FeaturesAreTheCpus) {
  auto encoder = create_encoder("resnet18");
  encoder->eval();
  const torch::NoGradGuard no_grad;
  const auto x = torch::rand({2, 3, 64, 64});
  const auto cpu = encoder->forward(x);
  encoder->to(torch::kCUDA);
  EXPECT_TRUE(close_to_scale(encoder->forward(x.to(torch::kCUDA)).cpu(), cpu, 1e-4)); // 18 layers of float32
}

TEST_F(Cuda, ViewsAreTheCpus) {
  const auto pipeline = get_batch_augs({.size = 20, .rotate_p = 1, .jitter_p = 1, .bw_p = 0.5, .blur_p = 1});
  const auto x = torch::rand({4, 3, 32, 32});
  const ViewKeys keys{.seed = 1, .index = {0, 1, 2, 3}};
  EXPECT_TRUE(close_each(pipeline(x.to(torch::kCUDA), keys).cpu(), pipeline(x, keys), 0, 1e-4)); // pixels in -2..3
}

TEST_F(Cuda, AFitRunsThere) {
  const auto images = torch::rand({16, 1, 28, 28});
  Learner learn(
      DataLoaders(tensor_loader(images, {.batch_size = 8}), tensor_loader(images, {.batch_size = 8})),
      create_barlow_twins_model(create_encoder("xresnet18", {.n_in = 1})),
      {.progress = false});
  EXPECT_TRUE(learn.device.is_cuda());
  learn.add(BarlowTwins(get_barlow_twins_aug_pipelines(
      {.size = 28, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt})));
  learn.fit(2);
  EXPECT_EQ(learn.recorder.raw_losses.size(), 4U);
}

} // namespace
} // namespace barlow
