// SPDX-License-Identifier: Apache-2.0
// Loss, layers, networks and optimisers on CUDA, against the CPU. Skipped where there is no CUDA device.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/barlow.h>
#include <barlow/nn.h>

#include "support/cuda_runs.h"
#include "support/numbers.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::AssertionResult;
using ::testing::StartsWith;
using torch::Tensor;
namespace nn = torch::nn;

class CudaModel : public Cuda {};

// ---- loss ----

LossAndGradients loss_of(const Tensor& z1, const Tensor& z2, const LossOptions& options) {
  const auto a = z1.detach().clone().requires_grad_(), b = z2.detach().clone().requires_grad_();
  const auto loss = barlow_twins_loss_terms(a, b, options).loss;
  const auto grads = torch::autograd::grad({loss}, {a, b});
  return {loss.item<double>(), on_cpu(grads[0]), on_cpu(grads[1])};
}

// What float32 leaves of 7 digits after products of up to 1000 numbers, and the last bit of what gradients are in.
double tolerance_of(torch::ScalarType type) {
  switch (type) {
    case torch::kDouble:
      return 1e-10;
    case torch::kHalf:
      return 1e-3;
    case torch::kBFloat16:
      return 5e-3;
    default:
      return 5e-5;
  }
}

// Of the same numbers, in `type` on CUDA and in float64 on the CPU. Gradients to their largest, or to that of their
// terms: two samples are standardised to 1 and -1 whatever they are, so that the terms cancel.
void expect_the_cpus(const Tensor& z1, const Tensor& z2, const LossOptions& options, torch::ScalarType type) {
  const auto a = z1.to(type), b = z2.to(type);
  const auto expected = loss_of(a.to(torch::kDouble), b.to(torch::kDouble), options);
  const auto found = loss_of(a.to(torch::kCUDA), b.to(torch::kCUDA), options);
  const auto n = static_cast<double>(z1.size(0)), d = static_cast<double>(z1.size(1));
  const auto tolerance = tolerance_of(type);
  EXPECT_NEAR(found.loss, expected.loss, std::min(tolerance, 1e-5) * (expected.loss + d));
  const double terms = 4 * (expected.loss + d) / (n * d);
  for (const auto& [g, exact_g] : {std::pair{found.g1, expected.g1}, std::pair{found.g2, expected.g2}}) {
    const double scale = std::max(terms, exact_g.abs().max().item<double>());
    EXPECT_TRUE(close_each(g, exact_g, 0, tolerance * scale));
  }
}

TEST_F(CudaModel, LossOfAnyShapeAndTypeIsTheCpus) {
  for (const int64_t n : {2, 5, 64, 300}) {
    for (const int64_t d : {1, 3, 96, 1000}) {
      const auto [z1, z2] = two_views(n, d);
      for (const auto route : kBothRoutes) {
        for (const auto type : {torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16}) {
          SCOPED_TRACE(fmt::format("{} x {}, {}, route {}", n, d, c10::toString(type), static_cast<int>(route)));
          expect_the_cpus(z1, z2, {.route = route}, type);
        }
      }
    }
  }
}

TEST_F(CudaModel, LossOfAnyOptionsIsTheCpus) {
  const auto [z1, z2] = two_views(64, 96);
  for (const auto route : kBothRoutes) {
    for (const auto& options :
         {LossOptions{.lmb = 0, .route = route},
          LossOptions{.lmb = 1, .route = route},
          LossOptions{.eps = 1e-5, .route = route},
          LossOptions{.eps = 1, .unbiased = true, .route = route}}) {
      SCOPED_TRACE(fmt::format("lambda {}, eps {}, route {}", options.lmb, options.eps, static_cast<int>(route)));
      expect_the_cpus(z1, z2, options, torch::kFloat);
    }
  }
}

TEST_F(CudaModel, LossOfExtremesIsTheCpus) {
  const auto [whole1, whole2] = two_views(64, 32);
  const auto z1 = whole1.to(torch::kFloat), z2 = whole2.to(torch::kFloat);
  for (const auto route : kBothRoutes) {
    for (const double size : {1e30, 1e-30}) {
      const auto a = z1 * size, b = z2 * size;
      const auto found = loss_of(a.to(torch::kCUDA), b.to(torch::kCUDA), {.route = route});
      const auto expected = loss_of(a.to(torch::kDouble), b.to(torch::kDouble), {.route = route});
      EXPECT_NEAR(found.loss, expected.loss, 1e-5 * expected.loss) << size;
      EXPECT_TRUE(close_to_scale(found.g1, expected.g1, 5e-5)) << size;
      EXPECT_TRUE(close_to_scale(found.g2, expected.g2, 5e-5)) << size;
    }
    auto with_constants = z1.clone();
    with_constants.select(1, 0).fill_(3);
    with_constants.select(1, 7).fill_(0.1);
    expect_the_cpus(with_constants, z2, {.route = route}, torch::kFloat);
    const auto g = loss_of(with_constants.to(torch::kCUDA), z2.to(torch::kCUDA), {.route = route}).g1;
    EXPECT_EQ(g.select(1, 0).abs().max().item<double>(), 0);
    EXPECT_EQ(g.select(1, 7).abs().max().item<double>(), 0);

    auto twice = z1.clone();
    twice[5].copy_(twice[6]);
    twice.select(1, 3).copy_(twice.select(1, 4));
    expect_the_cpus(twice, z2, {.route = route}, torch::kFloat);
    expect_the_cpus(z1, z1, {.route = route}, torch::kFloat);

    auto broken = z1.to(torch::kCUDA, torch::kFloat, /*non_blocking=*/false, /*copy=*/true);
    broken[1][1] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW(barlow_twins_loss_terms(broken, z2.to(torch::kCUDA), {.route = route}), NonFiniteError);
  }
}

// Of 64 samples no gradient exceeds 1, of 65504 / 65536.
TEST_F(CudaModel, LossInFloat16BearsTheFirstScale) {
  constexpr double kScale = 65536;
  const auto [whole1, whole2] = two_views(64, 96);
  const auto z1 = whole1.to(torch::kHalf), z2 = whole2.to(torch::kHalf);
  const auto expected = loss_of(z1.to(torch::kDouble), z2.to(torch::kDouble), {});
  const auto a = z1.to(torch::kCUDA).requires_grad_(), b = z2.to(torch::kCUDA).requires_grad_();
  (barlow_twins_loss(a, b) * kScale).backward();
  EXPECT_EQ(a.grad().scalar_type(), torch::kHalf);
  EXPECT_TRUE(a.grad().isfinite().all().item<bool>());
  EXPECT_TRUE(close_to_scale(on_cpu(a.grad()) / kScale, expected.g1, 1e-3));
  EXPECT_TRUE(close_to_scale(on_cpu(b.grad()) / kScale, expected.g2, 1e-3));
}

TEST_F(CudaModel, TensorsOnTwoDevicesAreRefused) {
  const auto z = torch::randn({4, 3}), there = z.to(torch::kCUDA);
  EXPECT_THAT(error_of([&] { barlow_twins_loss(there, z); }), StartsWith("[barlow_twins_loss] embeddings must be on"));
  EXPECT_THAT(error_of([&] { barlow_twins_loss(z, there); }), StartsWith("[barlow_twins_loss] embeddings must be on"));
  EXPECT_THAT(error_of([&] { nearest(there, z, 1); }), StartsWith("[nearest] "));
  const auto x = torch::rand({1, 1, 32, 32}), w = torch::rand({2, 1, 3, 3});
  EXPECT_THAT(error_of([&] { barlow::conv2d(x.to(torch::kCUDA), w); }), StartsWith("[conv2d] "));
  auto encoder = create_encoder("xresnet18", {.n_in = 1});
  encoder->to(torch::kCUDA);
  EXPECT_THAT(error_of([&] { encoder->forward(x); }), StartsWith("[Encoder::forward] "));
  const auto p = torch::zeros({2}, torch::kCUDA).requires_grad_();
  p.mutable_grad() = torch::ones_like(p);
  Sgd sgd({{.params = {p}}});
  EXPECT_THAT(error_of([&] { sgd.step(torch::zeros({})); }), StartsWith("[Optimizer] found_inf"));
}

// ---- layers and networks ----

TEST_F(CudaModel, ConvolutionIsTorchs) {
  const Deterministic deterministic;
  const auto options = torch::TensorOptions(torch::kCUDA);
  const auto expect = [](const Tensor& x,
                         const Tensor& w,
                         const Tensor& bias,
                         int64_t stride,
                         int64_t padding,
                         int64_t dilation,
                         int64_t groups) {
    const std::vector<int64_t> s{stride}, p{padding}, d{dilation};
    const auto y = barlow::conv2d(x, w, bias, s, p, d, groups);
    EXPECT_TRUE(y.equal(at::conv2d(x, w, bias, s, p, d, groups)));
    const auto exact_bias = bias.defined() ? on_cpu(bias) : Tensor();
    EXPECT_TRUE(close_to_scale(
        on_cpu(y), at::conv2d(on_cpu(x), on_cpu(w), exact_bias, s, p, d, groups), 5e-5)); // sums of up to 1200 products
  };
  const auto x = torch::randn({4, 128, 8, 8}, options);
  expect(x, torch::randn({96, 128, 3, 3}, options), {}, 1, 1, 1, 1);
  expect(x, torch::randn({96, 128, 3, 3}, options), torch::randn({96}, options), 2, 1, 1, 1);
  expect(x, torch::randn({128, 8, 3, 3}, options), {}, 1, 2, 2, 16);
  expect(x.narrow(2, 0, 2).narrow(3, 0, 2), torch::randn({8, 128, 1, 1}, options), {}, 1, 0, 1, 1);
}

struct NormOutcome {
  Tensor y;
  std::vector<Tensor> others; // gradients, running statistics
};

// barlow's norm with the kernels that several processes have, in a group of one.
NormOutcome norm_of(const Tensor& x0, at::ScalarType weights, const Tensor& upstream) {
  const auto c = x0.size(1);
  const auto options = torch::TensorOptions(x0.device()).dtype(weights);
  const auto x = x0.detach().clone().requires_grad_();
  BatchNormTensors t;
  t.weight = torch::linspace(0.5, 2, c, options).requires_grad_();
  t.bias = torch::linspace(-1, 1, c, options).requires_grad_();
  t.running_mean = torch::zeros({c}, options);
  t.running_var = torch::ones({c}, options);
  t.num_batches_tracked = torch::zeros({}, options.dtype(torch::kLong));
  const auto y = synced_batch_norm(ProcessGroup(), x, t, nn::BatchNormOptions(c));
  y.backward(upstream.to(y.options()));
  return {y.detach(), {x.grad(), t.weight.grad(), t.bias.grad(), t.running_mean, t.running_var}};
}

TEST_F(CudaModel, SynchronisedNormIsTheCpus) {
  struct Case {
    at::ScalarType x, weights;
    double tolerance; // of the largest number: the kernels' momentum is a float32; 11 bits of half
  };
  for (const auto& shape : {std::vector<int64_t>{16, 6}, {8, 6, 5, 4}}) {
    const auto x = torch::randn(shape, torch::kDouble) * 2 + 1, upstream = torch::randn(shape, torch::kDouble);
    for (const auto& [type, weights, tolerance] :
         {Case{torch::kDouble, torch::kDouble, 1e-7},
          Case{torch::kFloat, torch::kFloat, 2e-5},
          Case{torch::kHalf, torch::kFloat, 4e-3}}) {
      const auto given = x.to(type);
      const auto expected = norm_of(given.to(torch::kDouble), torch::kDouble, upstream);
      for (const bool channels_last : {false, true}) {
        auto there = given.to(torch::kCUDA);
        if (channels_last && there.dim() == 4) {
          there = there.contiguous(at::MemoryFormat::ChannelsLast);
        }
        SCOPED_TRACE(fmt::format("{}, {} dimensions, channels last {}", c10::toString(type), x.dim(), channels_last));
        const auto found = norm_of(there, weights, upstream.to(torch::kCUDA));
        EXPECT_TRUE(close_to_scale(on_cpu(found.y), expected.y, tolerance));
        for (size_t i = 0; i < expected.others.size(); ++i) {
          EXPECT_TRUE(close_to_scale(on_cpu(found.others[i]), expected.others[i], tolerance)) << i;
        }
      }
    }
  }
}

// One of each family. Allowed: 1e-3 of the largest feature, for up to 120 layers of float32.
TEST_F(CudaModel, FeaturesOfEveryFamilyAreTheCpus) {
  const torch::NoGradGuard no_grad;
  for (const auto* name :
       {"convnext_atto",
        "densenet121",
        "efficientnet_b0",
        "mixer_s32_224",
        "regnetx_002",
        "resnet18",
        "resnetv2_50",
        "legacy_seresnet18",
        "swin_tiny_patch4_window7_224",
        "fastai:squeezenet1_1",
        "vgg11_bn",
        "vit_tiny_patch16_224",
        "xresnet18"}) {
    auto encoder = create_encoder(name);
    encoder->eval();
    const auto side = encoder->info().fixed_size ? encoder->info().input_size : 64;
    const auto x = torch::rand({2, 3, side, side});
    const auto expected = encoder->forward(x);
    encoder->to(torch::kCUDA);
    EXPECT_TRUE(close_to_scale(on_cpu(encoder->forward(x.to(torch::kCUDA))), on_cpu(expected), 1e-3)) << name;
  }
}

// In float64: loss, gradients and running statistics of a step in training mode.
TEST_F(CudaModel, StepOfANetworkIsTheCpus) {
  const auto images = torch::rand({16, 1, 32, 32}, torch::kDouble);
  for (const auto* name : {"xresnet18", "test_vit"}) {
    const auto step = [&](at::Device device) {
      torch::manual_seed(0);
      auto model = create_barlow_twins_model(
          create_encoder(name, {.n_in = 1}), {.hidden_size = 32, .projection_size = 16, .nlayers = 2});
      model->to(torch::kDouble);
      model->to(device);
      model->train();
      const auto z = model->forward(images.to(device)).chunk(2);
      const auto loss = barlow_twins_loss(z[0], z[1]);
      loss.backward();
      std::vector<Tensor> grads, buffers;
      for (const auto& p : model->parameters()) {
        grads.push_back(p.grad().defined() ? p.grad() : torch::zeros_like(p));
      }
      for (const auto& b : model->buffers()) {
        buffers.push_back(b);
      }
      return std::tuple{loss.item<double>(), grads, buffers};
    };
    SCOPED_TRACE(name);
    const auto [loss, grads, buffers] = step(torch::kCPU);
    const auto [cuda_loss, cuda_grads, cuda_buffers] = step(torch::kCUDA);
    EXPECT_NEAR(cuda_loss, loss, 1e-9 * loss);
    expect_all_close(cuda_grads, grads, 1e-8);
    if (!buffers.empty()) {
      expect_all_close(cuda_buffers, buffers, 1e-8);
    }
  }
}

TEST_F(CudaModel, GradientCheckpointingChangesNothing) {
  const Deterministic deterministic;
  const auto train = [](const char* name, int64_t nchunks) {
    torch::manual_seed(0);
    auto encoder = create_encoder(name, {.drop_rate = 0.1, .drop_path_rate = 0.1, .checkpoint_nchunks = nchunks});
    encoder->to(torch::kCUDA);
    encoder->train();
    const auto side = encoder->info().input_size; // positions of another size are resampled, which does not repeat
    const auto x = torch::rand({2, 3, side, side}).to(torch::kCUDA);
    std::vector<Tensor> all;
    for (int i = 0; i < 2; ++i) { // the second step sees what the first left in the buffers
      const auto y = encoder->forward(x);
      (y * torch::linspace(-1, 1, y.size(1), y.options().requires_grad(false))).sum().backward();
      all.push_back(y.detach());
    }
    for (const auto& p : encoder->parameters()) {
      all.push_back(p.grad());
    }
    for (const auto& b : encoder->buffers()) {
      all.push_back(b);
    }
    all.push_back(torch::rand({3}, torch::kCUDA)); // where the random numbers are
    return all;
  };
  for (const auto* name : {"resnet18", "convnext_atto", "vit_tiny_patch16_224"}) {
    const auto plain = train(name, 0);
    for (const int64_t nchunks : {2, 4}) {
      const auto with = train(name, nchunks);
      ASSERT_EQ(with.size(), plain.size());
      for (size_t i = 0; i < plain.size(); ++i) {
        EXPECT_TRUE(with[i].equal(plain[i])) << name << ", " << nchunks << " chunks, tensor " << i << ": "
                                             << largest_difference(with[i].cpu(), plain[i].cpu());
      }
    }
  }
}

// ---- optimisers ----

struct Moved {
  std::vector<Tensor> before, after;
};

// Five steps with given gradients at rising rates, in float64; then one that found_inf skips.
Moved five_steps(const NamedOptimizer& of, at::Device device, bool device_rates) {
  torch::manual_seed(3);
  nn::Sequential module(nn::Linear(6, 5), nn::BatchNorm1d(5), nn::Linear(5, 3));
  module->to(torch::kDouble);
  module->to(device);
  const auto parameters = module->parameters();
  const auto copies = [&] {
    std::vector<Tensor> all;
    all.reserve(parameters.size());
    for (const auto& p : parameters) {
      all.push_back(p.detach().clone());
    }
    return all;
  };
  const auto opt = of.make(*module);
  const auto step = [&](double lr, const Tensor& found_inf) {
    opt->set_lr(lr);
    if (device_rates) {
      opt->update_device_rates();
    }
    for (const auto& p : parameters) {
      p.mutable_grad() = torch::randn(p.sizes(), torch::kDouble).to(device);
    }
    opt->step(found_inf);
    opt->zero_grad();
  };
  if (device_rates) {
    opt->use_device_rates();
  }
  Moved out{.before = copies(), .after = {}};
  for (int i = 1; i <= 5; ++i) {
    step(i / 64., {}); // which float32, the device's rate, has too
  }
  out.after = copies();

  std::vector<Tensor> state;
  for (const auto& [name, tensor] : opt->state()) {
    state.push_back(tensor.clone());
  }
  step(1, torch::ones({}, torch::TensorOptions(device).dtype(torch::kFloat)));
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(parameters[i].detach().equal(out.after[i])) << of.name << ": a skipped step moved parameter " << i;
  }
  const auto state_after = opt->state();
  for (size_t i = 0; i < state.size(); ++i) {
    EXPECT_TRUE(state_after[i].second.equal(state[i])) << of.name << ": a skipped step changed " << i;
  }
  return out;
}

// Allowed: 1e-6 of a parameter's longest way, for constants that kernels keep in float32; 1e-5 where decay is 1 - lr wd
// in it.
TEST_F(CudaModel, OptimisersAreTheCpus) {
  for (const auto& optimizer : optimizers()) {
    const auto cpu = five_steps(optimizer, torch::kCPU, false);
    for (const bool device_rates : {false, true}) {
      const auto there = five_steps(optimizer, torch::kCUDA, device_rates);
      for (size_t i = 0; i < cpu.after.size(); ++i) {
        const auto way = (cpu.after[i] - cpu.before[i]).abs().max().item<double>();
        EXPECT_GT(way, 1e-6) << optimizer.name;
        EXPECT_TRUE(close_each(on_cpu(there.after[i]), cpu.after[i], 0, (device_rates ? 1e-5 : 1e-6) * way))
            << optimizer.name << ", device's rates " << device_rates << ", parameter " << i;
      }
    }
  }
}

} // namespace
} // namespace barlow
