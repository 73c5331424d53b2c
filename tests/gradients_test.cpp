// SPDX-License-Identifier: Apache-2.0
// Custom backward passes against finite differences; step and tolerance: support/gradcheck.h. Winograd's, which is
// float32, is in numerics_test.cpp.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/batch_norm.h>
#include <barlow/conv.h>
#include <barlow/gradient_checkpointing.h>
#include <barlow/loss.h>

#include "conv_lowered.h"
#include "conv_winograd.h"
#include "support/gradcheck.h"
#include "support/numbers.h"
#include "support/oracle.h"
#include "support/ranks.h"
#include "support/small_run.h"
#include "training_step.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace nn = torch::nn;

// Both routes with every option that the gradient depends on; for two samples it is 0.
TEST(FiniteDifferences, Loss) {
  torch::manual_seed(1);
  for (const auto& [n, d] : {std::pair{2, 1}, {2, 3}, {3, 2}, {4, 7}, {9, 5}, {6, 6}, {3, 9}}) {
    auto [z1, z2] = two_views(n, d);
    z1.requires_grad_();
    z2.requires_grad_();
    for (const auto route : kBothRoutes) {
      for (const LossOptions& options :
           {LossOptions{.lmb = 0.3, .route = route},
            LossOptions{.lmb = 0.3, .eps = 0.5, .unbiased = true, .route = route}}) {
        const auto loss = [&, &a = z1, &b = z2] { return barlow_twins_loss_terms(a, b, options).loss; };
        EXPECT_TRUE(gradcheck(loss, {z1, z2})) << n << "x" << d << ", eps " << options.eps;
      }
      const auto of_one = [&, &a = z1] { return barlow_twins_loss_terms(a, a, {.route = route}).loss; };
      EXPECT_TRUE(gradcheck(of_one, {z1})) << n << "x" << d << ", one tensor as both views";
    }
  }
}

// A convolution is linear in image and kernel each, so differences have no error but rounding.
TEST(FiniteDifferences, LoweredConvolution) {
  torch::manual_seed(2);
  for (const auto& s : std::vector<Convolution>{
           {2, 2, 3, 2, 2, 3, 1, 1}, // taps that meet no pixel
           {1, 2, 2, 5, 4, 3, 2, 1},
           {1, 1, 2, 1, 3, 5, 1, 2},
           {2, 2, 3, 3, 3, 1, 2, 0},
           {1, 2, 2, 7, 6, 3, 3, 0}}) { // rows that nobody reads
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      const auto x = torch::randn({s.n, s.in, s.height, s.width}, torch::kDouble).contiguous(format).requires_grad_();
      const auto w =
          torch::randn({s.out, s.in, s.kernel, s.kernel}, torch::kDouble).contiguous(format).requires_grad_();
      EXPECT_TRUE(gradcheck([&] { return lowered_conv2d(x, w, s.stride, s.padding); }, {x, w})) << s.name();
    }
  }
}

// Segments with parameters that the function does not see, statistics and random numbers; of images that want no
// gradient too, as a network has them.
TEST(FiniteDifferences, Checkpointing) {
  torch::manual_seed(3);
  const auto parameter = [](int64_t in, int64_t out) {
    return torch::randn({in, out}, torch::kDouble).requires_grad_();
  };
  const auto x = parameter(6, 4), w1 = parameter(4, 5), w2 = parameter(5, 5), w3 = parameter(5, 3);
  const auto mean = torch::zeros({5}, torch::kDouble), var = torch::ones({5}, torch::kDouble);
  const std::vector<Segment> segments{
      {"linear", [&](const Tensor& y) { return y.mm(w1); }},
      {"norm", [&](const Tensor& y) { return at::batch_norm(y, {}, {}, mean, var, true, 0.1, 1e-5, false); }},
      {"dropout", [&](const Tensor& y) { return at::dropout(y, 0.3, true).mm(w2); }},
      {"tanh", [&](const Tensor& y) { return y.tanh().mm(w3); }}};
  for (const int64_t nchunks : {2, 3, 4}) {
    for (const bool of_images : {true, false}) {
      const auto input = of_images ? x : x.detach();
      const auto network = [&] {
        torch::manual_seed(4); // the same units dropped each time
        return checkpoint_sequential(segments, nchunks, input, {mean, var});
      };
      auto leaves = std::vector<Tensor>{w1, w2, w3};
      if (of_images) {
        leaves.push_back(x);
      }
      EXPECT_TRUE(gradcheck(network, leaves)) << nchunks << " chunks, of images " << of_images;
    }
  }
}

// barlow's norms of one process, in training and evaluation.
TEST(FiniteDifferences, BatchNorm) {
  torch::manual_seed(5);
  for (const bool training : {true, false}) {
    const auto check_norm = [&](auto norm, const Tensor& images) {
      norm->to(torch::kDouble);
      norm->running_mean.normal_();
      norm->running_var.uniform_(0.5, 2);
      norm->train(training);
      const auto x = images.detach().requires_grad_();
      EXPECT_TRUE(gradcheck([&] { return norm->forward(x); }, {x, norm->weight, norm->bias})) << training;
    };
    check_norm(BatchNorm1d(3), torch::randn({5, 3}, torch::kDouble));
    const auto images = torch::randn({3, 3, 2, 3}, torch::kDouble);
    check_norm(BatchNorm2d(3), images);
    check_norm(BatchNorm2d(3), images.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

// The norm over several processes as a function of all rows: values and gradients are summed over them. Of four, one
// has no rows.
TEST(FiniteDifferences, SyncedBatchNorm) {
  for (const int64_t size : {1, 2, 4}) {
    const auto of_process = [&](const ProcessGroup& group) {
      for (const bool affine : {false, true}) {
        for (const auto& shape : {std::vector<int64_t>{3, 2}, {3, 2, 2, 1}}) {
          const auto random = at::detail::createCPUGenerator(6); // threads share the global one
          const auto x = torch::randn(shape, random, torch::kDouble).requires_grad_();
          BatchNormTensors tensors;
          std::vector<Tensor> leaves{x};
          if (affine) {
            tensors.weight = torch::randn({2}, random, torch::kDouble).requires_grad_();
            tensors.bias = torch::randn({2}, random, torch::kDouble).requires_grad_();
            leaves.insert(leaves.end(), {tensors.weight, tensors.bias});
          }
          const int64_t begin = 3 * group.rank() / size, end = 3 * (group.rank() + 1) / size;
          const auto norm = [&] {
            return synced_batch_norm(group, x.slice(0, begin, end), tensors, nn::BatchNormOptions(2));
          };
          // Each process has rows of the projection; all move the same element, so no direction, which comes of the
          // seed.
          const auto seed = static_cast<uint64_t>(7 + group.rank());
          const auto sum = [&](const Tensor& t) { group.sum(t); };
          EXPECT_TRUE(gradcheck(norm, leaves, {.directions = 0, .seed = seed, .sum = sum}))
              << size << " processes, rank " << group.rank() << ", " << shape.size() << " dimensions";
        }
      }
    };
    size == 1 ? of_process(ProcessGroup()) : as_ranks(size, of_process);
  }
}

// The same of one process on CUDA, whose kernels are others.
TEST(FiniteDifferences, SyncedBatchNormOnCuda) {
  if (!torch::cuda::is_available()) {
    GTEST_SKIP() << "there is no CUDA device here";
  }
  torch::manual_seed(8);
  const auto options = torch::TensorOptions(torch::kCUDA).dtype(torch::kDouble);
  for (const auto& shape : {std::vector<int64_t>{5, 3}, {2, 3, 2, 3}}) {
    const auto x = torch::randn(shape, options).requires_grad_();
    BatchNormTensors tensors;
    tensors.weight = torch::randn({3}, options).requires_grad_();
    tensors.bias = torch::randn({3}, options).requires_grad_();
    const auto norm = [&] { return synced_batch_norm(ProcessGroup(), x, tensors, nn::BatchNormOptions(3)); };
    EXPECT_TRUE(gradcheck(norm, {x, tensors.weight, tensors.bias})) << shape.size() << " dimensions";
  }
}

// The loss of a batch in parts as a function of the parameters.
TEST(FiniteDifferences, MicroBatches) {
  torch::manual_seed(9);
  const auto encoder = std::make_shared<LinearEncoder>();
  BarlowTwinsModel model(Encoder(encoder), nn::Sequential(nn::Linear(6, 5), nn::Tanh(), nn::Linear(5, 4)));
  model->to(torch::kDouble);
  const auto views = 2 * torch::randn({24, 1, 4, 4}, torch::kDouble);
  for (const int64_t micro_batch : {1, 5, 24}) {
    auto options = quiet();
    options.micro_batch = micro_batch;
    TrainingStep step(model, torch::kCPU, options);
    const auto loss = [&] {
      const auto z = step.embed({views}, /*training=*/true).chunk(2);
      return barlow_twins_loss(z[0], z[1]);
    };
    const auto backward = [&](const Tensor& scalar) { step.backward(scalar, /*sum=*/false); };
    EXPECT_TRUE(gradcheck(loss, model->parameters(), {.backward = backward})) << micro_batch;
  }
}

// By hand: who computes the gradient along with the value, or twice, says that it ends there.
TEST(FiniteDifferences, SecondOnesAreRefusedWhereThereAreNone) {
  const auto message = [](const Tensor& y) {
    return error_of([&] { y.sum().backward({}, /*retain_graph=*/true, /*create_graph=*/true); });
  };
  const auto z = torch::randn({4, 3}).requires_grad_();
  EXPECT_THAT(message(barlow_twins_loss(z, z.square())), HasSubstr("[barlow_twins_loss] the gradient cannot be"));
  const Segment square{"square", [](const Tensor& x) { return x.square(); }};
  EXPECT_THAT(
      message(checkpoint_sequential({square, square}, 2, z, {})),
      HasSubstr("[checkpoint_sequential] the gradient cannot be"));
}

// Property: with create_graph, the float32 way's derivative can be derived again; float64's is the reference. Values
// are those of RandomShapes.WinogradsConvolution within 2e-5, cubed and derived twice.
TEST(FiniteDifferences, SecondOnesOfWinogradAreTorchs) {
  torch::manual_seed(10);
  const auto x = torch::randn({2, 3, 6, 5}).requires_grad_(), w = torch::randn({4, 3, 3, 3}).requires_grad_();
  const auto second = [](const Tensor& y, const Tensor& of_x, const Tensor& of_w) {
    const auto g = torch::autograd::grad({y.pow(3).sum()}, {of_x}, {}, true, /*create_graph=*/true)[0];
    return torch::autograd::grad({g.square().sum()}, {of_w})[0];
  };
  const auto x64 = exact(x).requires_grad_(), w64 = exact(w).requires_grad_();
  const std::vector<int64_t> one{1};
  EXPECT_TRUE(
      close_to_scale(second(winograd_conv2d(x, w), x, w), second(at::conv2d(x64, w64, {}, one, one), x64, w64), 2e-4));
}

} // namespace
} // namespace barlow
