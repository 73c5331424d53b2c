// SPDX-License-Identifier: Apache-2.0
// A run that takes milliseconds: a linear encoder on random images.
#pragma once

#include <torch/torch.h>

#include <barlow/augment/presets.h>
#include <barlow/learner.h>

#include "in_memory.h"

namespace barlow::testing {

inline LearnerOptions quiet() {
  return {.device = torch::kCPU, .progress = false};
}

class LinearEncoder : public EncoderImpl {
 public:
  LinearEncoder() : EncoderImpl({.name = "linear", .n_in = 1, .num_features = 6}) {
    linear_ = register_module("linear", torch::nn::Linear(16, 6));
  }
  torch::Tensor forward(const torch::Tensor& x) override {
    return linear_->forward(x.flatten(1));
  }

 private:
  torch::nn::Linear linear_{nullptr};
};

/// Makes the input of some training steps infinite.
class Poison : public Callback {
 public:
  explicit Poison(std::vector<int64_t> steps) : steps_(std::move(steps)) {}
  std::string name() const override {
    return "Poison";
  }
  int order() const override {
    return 20; // after BarlowTwins
  }
  void before_batch(Learner& learn) override {
    if (learn.training && std::find(steps_.begin(), steps_.end(), learn.train_iter) != steps_.end()) {
      learn.inputs[0] = learn.inputs[0] * std::numeric_limits<float>::infinity();
    }
  }

 private:
  std::vector<int64_t> steps_;
};

inline BarlowTwinsModel small_model() {
  torch::manual_seed(0);
  return create_barlow_twins_model(
      Encoder(std::make_shared<LinearEncoder>()), {.hidden_size = 8, .projection_size = 4, .nlayers = 2});
}

inline std::vector<Pipeline> small_pipelines() {
  return get_barlow_twins_aug_pipelines(
      {.size = 4, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt});
}

inline DataLoaders small_data(int64_t train = 12, int64_t valid = 5, int64_t batch_size = 4) {
  torch::manual_seed(1);
  return DataLoaders(
      tensor_loader(torch::rand({train, 1, 6, 6}), {.batch_size = batch_size, .shuffle = true, .drop_last = true}),
      tensor_loader(torch::rand({valid, 1, 6, 6}), {.batch_size = batch_size}));
}

} // namespace barlow::testing
