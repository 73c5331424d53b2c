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
