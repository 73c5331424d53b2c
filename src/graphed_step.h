// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include <barlow/learner.h>

namespace barlow {

/// Runs the steps of a Learner's fit as a CUDA graph: the first ones as they are (kernels are chosen and memory is
/// taken), then one captured, which trains nothing, and from then on replayed. Inputs of another shape run as they are.
class GraphedStep {
 public:
  explicit GraphedStep(const at::Device& device);
  ~GraphedStep();
  GraphedStep(const GraphedStep&) = delete;
  GraphedStep& operator=(const GraphedStep&) = delete;

  /// A step of `body`, which reads learn.inputs and sets learn.loss and `logged`.
  void run(Learner& learn, std::vector<std::pair<std::string, at::Tensor>>& logged, const std::function<void()>& body);

 private:
  struct Captured;
  void
  capture(Learner& learn, std::vector<std::pair<std::string, at::Tensor>>& logged, const std::function<void()>& body);
  void replay(Learner& learn, std::vector<std::pair<std::string, at::Tensor>>& logged);

  int64_t steps_ = 0;
  std::unique_ptr<Captured> captured_;
};

} // namespace barlow
