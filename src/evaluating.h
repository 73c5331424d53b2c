// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

namespace barlow {

/// Evaluation mode while it lives; then every part of the module is in the mode it was in.
class Evaluating {
 public:
  explicit Evaluating(torch::nn::Module& module) {
    for (const auto& part : module.modules()) { // itself first, then what is in it
      were_training_.emplace_back(part.get(), part->is_training());
    }
    module.eval();
  }
  ~Evaluating() {
    for (const auto& [part, was_training] : were_training_) {
      part->train(was_training); // and all in it, whose turn comes
    }
  }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  std::vector<std::pair<torch::nn::Module*, bool>> were_training_;
};

} // namespace barlow
