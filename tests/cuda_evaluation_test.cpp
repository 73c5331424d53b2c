// SPDX-License-Identifier: Apache-2.0
// What is done with an encoder on CUDA, against the CPU; and processes. Skipped where there is no CUDA device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

#include "distributed/peers.h"
#include "file.h"
#include "support/cuda_runs.h"
#include "support/in_memory.h"
#include "support/oracle.h"

#ifdef BARLOW_HAS_NCCL
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#endif

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

class CudaEvaluation : public Cuda {};

// ---- evaluation ----

TEST_F(CudaEvaluation, EmbeddingsAreTheCpus) {
  const auto loader = bright_loader(30, {.batch_size = 8, .num_workers = 0});
  const auto model = tiny_model();
  const auto expected = embed(model, loader, {.device = torch::kCPU});
  const auto of_encoder = embed(model->encoder, loader, {.device = torch::kCPU});
  const auto pixels = embed_pixels(loader, {.device = torch::kCPU});
  const auto found = embed(model, loader, {.device = torch::kCUDA});
  EXPECT_TRUE(model->parameters()[0].is_cuda());
  EXPECT_TRUE(found.features.is_cpu());
  EXPECT_TRUE(close_to_scale(found.features, expected.features, 1e-5)); // four layers of float32
  EXPECT_TRUE(found.labels.equal(expected.labels));
  EXPECT_EQ(found.index, expected.index);
  EXPECT_TRUE(
      close_to_scale(embed(model->encoder, loader, {.device = torch::kCUDA}).features, of_encoder.features, 1e-5));
  EXPECT_TRUE(embed_pixels(loader, {.device = torch::kCUDA}).features.equal(pixels.features));
}

TEST_F(CudaEvaluation, NeighboursAndDiagnosticsAreTheCpus) {
  const auto bank = torch::randn({5000, 16}, torch::kDouble), queries = torch::randn({600, 16}, torch::kDouble);
  const auto labels = torch::arange(5000) % 7;
  const auto [values, index] = nearest(queries, bank, 9);
  const auto [cuda_values, cuda_index] = nearest(queries.to(torch::kCUDA), bank.to(torch::kCUDA), 9);
  EXPECT_TRUE(close_each(cuda_values.cpu(), values, 0, 1e-12));
  EXPECT_TRUE(cuda_index.cpu().equal(index));
  const auto scores = knn_scores(queries, bank, labels, 7, 9);
  const auto cuda_scores = knn_scores(queries.to(torch::kCUDA), bank.to(torch::kCUDA), labels.to(torch::kCUDA), 7, 9);
  EXPECT_TRUE(close_to_scale(cuda_scores.cpu(), scores, 1e-11)); // exp(10 s) of the similarities

  const auto z1 = torch::randn({50, 12}, torch::kDouble), z2 = z1 + torch::randn({50, 12}, torch::kDouble);
  const auto on_host = diagnose(z1, z2), there = diagnose(z1.to(torch::kCUDA), z2.to(torch::kCUDA));
  EXPECT_EQ(there.rank, on_host.rank);
  EXPECT_EQ(there.mean_diagonal, on_host.mean_diagonal);
  EXPECT_EQ(rank_me(z1.to(torch::kCUDA)), rank_me(z1));
}

TEST_F(CudaEvaluation, LinearProbeLearns) {
  const auto encoder = tiny_model()->encoder;
  const auto before = copies(*encoder);
  LinearProbeOptions options{.epochs = 40, .lr = 20, .device = torch::kCUDA, .progress = false};
  const auto found = linear_probe(encoder, bright_data(60, 6), options);
  EXPECT_GT(found.top1, 0.9);
  EXPECT_EQ(found.top5, 1);
  const auto after = copies(*encoder);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(after[i].equal(before[i])) << i;
  }
}

TEST_F(CudaEvaluation, ClassifiersAreTheCpus) {
  const auto first_losses = [](at::Device device) {
    torch::manual_seed(0);
    auto model = create_model(tiny_model()->encoder, 3, {.hidden = {16}, .dropout = 0});
    auto options = fine_tune_options({.lr = 1e-3});
    options.device = device;
    options.progress = false;
    Learner learn(bright_data(), model, options);
    const auto& classification = learn.add(Classification({.label_smoothing = 0.1}));
    fine_tune(learn, 2, {.lr = 1e-3});
    EXPECT_EQ(classification.accuracies().size(), 3U);
    return learn.recorder.raw_losses;
  };
  const auto expected = first_losses(torch::kCPU), found = first_losses(torch::kCUDA);
  ASSERT_EQ(found.size(), 10U);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 0.05 * expected[i]) << i; // 15 steps of Adam in float32
  }
}

TEST_F(CudaEvaluation, FilesOfACudaModelAreTheCpus) {
  const TemporaryFolder folder;
  const auto at = [&](const char* name) { return folder.path() / name; };
  auto encoder = create_encoder("xresnet18", {.n_in = 1});
  encoder->eval();
  save_weights(*encoder, at("cpu.safetensors"));
  save_encoder(encoder, at("encoder.safetensors"), {.size = 32, .stats = Stats{{0.5}, {0.25}}});
  export_onnx(encoder, at("cpu.onnx"), {.size = 32});
  const auto expected = copies(*encoder);

  encoder->to(torch::kCUDA);
  save_weights(*encoder, at("cuda.safetensors"));
  export_onnx(encoder, at("cuda.onnx"), {.size = 32});
  save_encoder(encoder, at("cuda_encoder.safetensors"), {.size = 32, .stats = Stats{{0.5}, {0.25}}});
  EXPECT_EQ(read_file(at("cuda.safetensors"), "test"), read_file(at("cpu.safetensors"), "test"));
  EXPECT_EQ(read_file(at("cuda.onnx"), "test"), read_file(at("cpu.onnx"), "test"));
  EXPECT_EQ(read_file(at("cuda_encoder.safetensors"), "test"), read_file(at("encoder.safetensors"), "test"));

  auto other = create_encoder("xresnet18", {.n_in = 1});
  other->to(torch::kCUDA);
  load_weights(*other, at("cpu.safetensors"));
  EXPECT_TRUE(other->parameters()[0].is_cuda());
  const auto loaded = copies(*other);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(loaded[i].equal(expected[i])) << i;
  }

  const FeatureExtractor on_host(at("encoder.safetensors"), {.device = torch::kCPU});
  const FeatureExtractor there(at("encoder.safetensors"), {.device = torch::kCUDA});
  EXPECT_TRUE(there.encoder->parameters()[0].is_cuda());
  const auto images = torch::randint(256, {3, 1, 32, 32}, torch::kByte);
  for (const auto& x : {images, images.to(torch::kFloat) / 255, (images.to(torch::kFloat) / 255).to(torch::kCUDA)}) {
    EXPECT_TRUE(close_to_scale(there(x), on_host(x), 1e-4)); // 18 layers of float32
  }
}

// ---- processes ----

TEST_F(CudaEvaluation, AGroupOfOneDoesNothing) {
  const ProcessGroup alone;
  EXPECT_TRUE(alone.device().is_cuda());
  const auto x = torch::rand({3, 2}, torch::kCUDA), before = x.clone();
  alone.sum(x);
  alone.broadcast(std::vector<Tensor>{x});
  EXPECT_TRUE(x.equal(before));
  EXPECT_TRUE(alone.gather(x, {3}).equal(x));
  EXPECT_EQ(alone.traffic().operations, 0);
}

#ifdef BARLOW_HAS_NCCL

// A group of one has no backend; here it is made by hand, to see that NCCL is there and works.
TEST_F(CudaEvaluation, NcclWorks) {
  const at::Device device(torch::kCUDA, 0);
  ASSERT_TRUE(has_nccl());
  const auto nccl = nccl_backend(c10::make_intrusive<c10d::HashStore>(), {.rank = 0, .size = 1, .timeout = 60}, device);
  const auto options = torch::TensorOptions(device);
  const auto x = torch::rand({1000}, options), expected = x.clone();
  std::vector<Tensor> given{x};
  nccl->allreduce(given)->wait();
  EXPECT_TRUE(x.equal(expected));
  nccl->broadcast(given)->wait();
  EXPECT_TRUE(x.equal(expected));
  auto all = torch::zeros({1000}, options), mine = x.clone();
  nccl->_allgather_base(all, mine)->wait();
  EXPECT_TRUE(all.equal(expected));
  torch::cuda::synchronize();
  nccl->shutdown();
}

#endif

} // namespace
} // namespace barlow
