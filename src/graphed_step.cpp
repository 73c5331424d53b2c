// SPDX-License-Identifier: Apache-2.0
#include "graphed_step.h"

#include <torch/torch.h>

#ifdef BARLOW_HAS_CUDA
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#endif

#include "check.h"

namespace barlow {

using torch::Tensor;

#ifdef BARLOW_HAS_CUDA

namespace {
constexpr int64_t kEagerSteps = 3;

// CUDA ends a capture by itself when it forbids a call: capture_end then fails before LibTorch has gone back to its
// usual memory, and its random numbers stay those of a capture until another one ends.
void end_broken(at::cuda::CUDAGraph& graph, const c10::MempoolId_t& pool) {
  const auto tried = [](const auto& f) { // what broke the capture is the error to tell
    try {
      f();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  };
  if (tried([&] { graph.capture_end(); })) {
    return;
  }
  const auto device = c10::cuda::current_device();
  auto* host = at::getHostAllocator(at::kCUDA);
  if (tried([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool); })) {
    tried([&] { c10::cuda::CUDACachingAllocator::releasePool(device, pool); });
  }
  if (tried([&] { host->end_allocate_to_pool(pool); })) {
    tried([&] { host->release_pool(pool); });
  }
  tried([&] {
    const auto x = torch::zeros({1}, torch::kCUDA);
    at::cuda::CUDAGraph another;
    another.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    x.zero_();
    another.capture_end();
  });
}
} // namespace

struct GraphedStep::Captured {
  explicit Captured(const at::Device& device)
      : stream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}

  c10::cuda::CUDAStream stream;
  std::unique_ptr<at::cuda::CUDAGraph> graph;
  std::vector<Tensor> inputs; // what the graph reads
  Tensor labels; // as well, if there are some
  Tensor pred, loss; // what it writes
  std::vector<std::pair<std::string, Tensor>> logged;
  double momentum = 0;

  bool takes(const Learner& learn) const {
    const auto alike = [](const Tensor& a, const Tensor& b) {
      return a.defined() == b.defined() &&
          (!a.defined() || (a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type()));
    };
    return alike(learn.batch.y, labels) &&
        std::equal(learn.inputs.begin(), learn.inputs.end(), inputs.begin(), inputs.end(), alike);
  }
};

GraphedStep::GraphedStep(const at::Device& device) : captured_(std::make_unique<Captured>(device)) {}

// All on one stream of its own, as a capture needs it; the loop's stream waits for it and it for the loop's.
void GraphedStep::run(
    Learner& learn,
    std::vector<std::pair<std::string, Tensor>>& logged,
    const std::function<void()>& body) {
  const auto outside = c10::cuda::getCurrentCUDAStream(captured_->stream.device_index());
  at::cuda::CUDAEvent before, after;
  before.record(outside);
  before.block(captured_->stream);
  const auto go_on_outside = [&] {
    after.record(captured_->stream);
    after.block(outside);
  };
  try {
    const c10::cuda::CUDAStreamGuard inside(captured_->stream);
    learn.opt->update_device_rates();
    if (captured_->graph == nullptr && steps_ >= kEagerSteps) {
      capture(learn, logged, body);
    }
    if (captured_->graph != nullptr && captured_->takes(learn)) {
      replay(learn, logged);
    } else {
      body();
    }
    ++steps_;
  } catch (...) {
    go_on_outside();
    throw;
  }
  go_on_outside();
}

// Only what this thread does must be fit for a capture: the loader's may take page-locked memory meanwhile. The step
// sees the batch's labels alone: what else it read of it would stay this batch's.
void GraphedStep::capture(
    Learner& learn,
    std::vector<std::pair<std::string, Tensor>>& logged,
    const std::function<void()>& body) {
  const auto given = learn.inputs;
  const auto batch = learn.batch;
  const auto logged_before = logged;
  std::vector<Tensor> copies;
  copies.reserve(given.size());
  for (const auto& x : given) {
    copies.push_back(x.clone());
  }
  const auto labels = batch.y.defined() ? batch.y.clone() : Tensor();
  learn.inputs = copies;
  learn.batch.x = Tensor();
  learn.batch.views.clear();
  learn.batch.y = labels;
  const auto put_back = [&] {
    learn.inputs = given;
    learn.batch = batch;
    logged = logged_before;
  };
  learn.opt->use_device_rates();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  const auto pool = at::cuda::graph_pool_handle();
  graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
  try {
    body();
    graph->capture_end();
  } catch (const std::exception& e) {
    end_broken(*graph, pool);
    put_back();
    const std::string text = e.what();
    throw Error(
        fmt::format(
            "[Learner] the step cannot be captured for cuda_graph: {}; leave cuda_graph off",
            text.substr(0, text.find('\n'))));
  }
  captured_->inputs = std::move(copies);
  captured_->labels = labels;
  captured_->momentum = learn.opt->momentum();
  captured_->pred = learn.pred.detach();
  captured_->loss = learn.loss.detach();
  captured_->logged.assign(logged.begin() + static_cast<std::ptrdiff_t>(logged_before.size()), logged.end());
  captured_->graph = std::move(graph);
  put_back();
}

void GraphedStep::replay(Learner& learn, std::vector<std::pair<std::string, Tensor>>& logged) {
  check(
      learn.opt->momentum() == captured_->momentum,
      "Learner",
      "cuda_graph needs a constant momentum, received {} after {}; use fit or fit_flat_cos",
      learn.opt->momentum(),
      captured_->momentum);
  for (size_t i = 0; i < learn.inputs.size(); ++i) {
    captured_->inputs[i].copy_(learn.inputs[i], /*non_blocking=*/true);
  }
  if (captured_->labels.defined()) {
    captured_->labels.copy_(learn.batch.y, /*non_blocking=*/true);
  }
  captured_->graph->replay();
  learn.pred = captured_->pred;
  learn.loss = captured_->loss;
  logged.insert(logged.end(), captured_->logged.begin(), captured_->logged.end());
}

#else

struct GraphedStep::Captured {};

GraphedStep::GraphedStep(const at::Device&) {
  check(false, "Learner", "cuda_graph needs a library built with a CUDA compiler; leave it off");
}

void GraphedStep::run(Learner&, std::vector<std::pair<std::string, Tensor>>&, const std::function<void()>&) {}

#endif

GraphedStep::~GraphedStep() = default;

} // namespace barlow
