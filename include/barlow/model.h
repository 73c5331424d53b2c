// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include <torch/nn/modules/container/sequential.h>

#include <barlow/encoder.h>

namespace barlow {

struct ProjectorOptions {
  int64_t hidden_size = 256; ///< width of the hidden layers (the paper: 8192)
  int64_t projection_size = 128; ///< D, width of the embedding (the paper: 8192)
  bool bn = true; ///< batch norm before each ReLU
  int64_t nlayers = 3; ///< linear layers
  bool bias = true; ///< in the hidden layers (the paper: none)
  bool last_bias = true; ///< in the last one (the paper: none)
};

/// Linear, BatchNorm, ReLU ... Linear: [N,in_features] -> [N,projection_size], numbered as the documented library's.
/// torch's default initialisation. Throws Error unless every size is positive.
torch::nn::Sequential create_mlp_module(int64_t in_features, const ProjectorOptions& options = {});

/// An encoder followed by a projector.
class BarlowTwinsModelImpl : public torch::nn::Module {
 public:
  /// Throws Error if a part is empty.
  BarlowTwinsModelImpl(Encoder encoder, torch::nn::Sequential projector);
  at::Tensor forward(const at::Tensor& x); ///< images [N,C,H,W] -> embeddings [N,D]

  /// Called with the encoder's features [N,F] of every forward pass.
  std::function<void(const at::Tensor&)> on_features{};

  Encoder encoder{nullptr};
  torch::nn::Sequential projector{nullptr};
};
TORCH_MODULE(BarlowTwinsModel);

/// The encoder with a new projector on its num_features(); the projector's linear layers are initialised as the
/// documented library's: weights normal with variance 2 / fan_in, biases zero.
BarlowTwinsModel create_barlow_twins_model(Encoder encoder, const ProjectorOptions& options = {});

} // namespace barlow
