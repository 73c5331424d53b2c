// SPDX-License-Identifier: Apache-2.0
#include "graphed_step.h"

#include <torch/torch.h>

#ifdef BARLOW_HAS_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#endif

#include "check.h"

namespace barlow {

using torch::Tensor;

#ifdef BARLOW_HAS_CUDA

namespace {
constexpr int64_t kEagerSteps = 3;
}

struct GraphedStep::Captured {
  c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool();
  std::unique_ptr<at::cuda::CUDAGraph> graph;
  std::vector<Tensor> inputs; // what the graph reads
  Tensor loss; // what it writes
  std::vector<std::pair<std::string, Tensor>> logged;
  double momentum = 0;

  bool takes(const std::vector<Tensor>& given) const {
    return std::equal(given.begin(), given.end(), inputs.begin(), inputs.end(), [](const Tensor& a, const Tensor& b) {
      return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type();
    });
  }
};

GraphedStep::GraphedStep() : captured_(std::make_unique<Captured>()) {}

// All on one stream of its own, as a capture needs it; the loop's stream waits for it and it for the loop's.
void GraphedStep::run(
    Learner& learn,
    std::vector<std::pair<std::string, Tensor>>& logged,
    const std::function<void()>& body) {
  const auto outside = c10::cuda::getCurrentCUDAStream();
  at::cuda::CUDAEvent before, after;
  before.record(outside);
  before.block(captured_->stream);
  {
    const c10::cuda::CUDAStreamGuard inside(captured_->stream);
    learn.opt->update_device_rates();
    if (captured_->graph == nullptr && steps_ >= kEagerSteps) {
      capture(learn, logged, body);
    }
    if (captured_->graph != nullptr && captured_->takes(learn.inputs)) {
      replay(learn, logged);
    } else {
      body();
    }
    ++steps_;
    after.record(captured_->stream);
  }
  after.block(outside);
}

void GraphedStep::capture(
    Learner& learn,
    std::vector<std::pair<std::string, Tensor>>& logged,
    const std::function<void()>& body) {
  const auto given = learn.inputs;
  for (const auto& x : given) {
    captured_->inputs.push_back(x.clone());
  }
  learn.inputs = captured_->inputs;
  learn.opt->use_device_rates();
  captured_->momentum = learn.opt->momentum();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  graph->capture_begin();
  body();
  graph->capture_end();
  captured_->loss = learn.loss.detach();
  captured_->logged = logged;
  captured_->graph = std::move(graph);
  learn.inputs = given;
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
  captured_->graph->replay();
  learn.loss = captured_->loss;
  logged = captured_->logged;
}

#else

struct GraphedStep::Captured {};

GraphedStep::GraphedStep() {
  check(false, "Learner", "cuda_graph needs a library built with a CUDA compiler; leave it off");
}

void GraphedStep::run(Learner&, std::vector<std::pair<std::string, Tensor>>&, const std::function<void()>&) {}

#endif

GraphedStep::~GraphedStep() = default;

} // namespace barlow
