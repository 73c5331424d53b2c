// SPDX-License-Identifier: Apache-2.0
#include <barlow/model.h>

#include <torch/torch.h>

#include <barlow/batch_norm.h>

#include "check.h"
#include "init_linears.h"

namespace barlow {

namespace nn = torch::nn;

nn::Sequential create_mlp_module(int64_t in_features, const ProjectorOptions& options) {
  constexpr auto here = "create_mlp_module";
  const auto positive = [&](const char* what, int64_t value) {
    check(value >= 1, here, "{} must be at least 1, received {}", what, value);
  };
  positive("in_features", in_features);
  positive("hidden_size", options.hidden_size);
  positive("projection_size", options.projection_size);
  positive("nlayers", options.nlayers);

  nn::Sequential mlp;
  int64_t width = in_features;
  for (int64_t i = 1; i < options.nlayers; ++i) {
    mlp->push_back(nn::Linear(nn::LinearOptions(width, options.hidden_size).bias(options.bias)));
    if (options.bn) {
      mlp->push_back(BatchNorm1d(options.hidden_size));
    }
    mlp->push_back(nn::ReLU(nn::ReLUOptions(true)));
    width = options.hidden_size;
  }
  mlp->push_back(nn::Linear(nn::LinearOptions(width, options.projection_size).bias(options.last_bias)));
  return mlp;
}

BarlowTwinsModelImpl::BarlowTwinsModelImpl(Encoder encoder_, nn::Sequential projector_) {
  check(
      !encoder_.is_empty() && !projector_.is_empty() && projector_->size() > 0,
      "BarlowTwinsModel",
      "encoder and projector must not be empty modules");
  encoder = register_module("encoder", std::move(encoder_));
  projector = register_module("projector", std::move(projector_));
}

at::Tensor BarlowTwinsModelImpl::forward(const at::Tensor& x) {
  const auto features = encoder->forward(x);
  check(
      features.sizes() == at::IntArrayRef{x.size(0), encoder->num_features()},
      "BarlowTwinsModel",
      "the encoder '{}' must give features [N,{}], gave {}",
      encoder->info().name,
      encoder->num_features(),
      describe(features));
  if (on_features) {
    on_features(features);
  }
  return projector->forward(features);
}

BarlowTwinsModel create_barlow_twins_model(Encoder encoder, const ProjectorOptions& options) {
  check(!encoder.is_empty(), "create_barlow_twins_model", "the encoder must not be an empty module");
  auto projector = create_mlp_module(encoder->num_features(), options);
  init_linears(*projector);
  return BarlowTwinsModel(std::move(encoder), std::move(projector));
}

} // namespace barlow
