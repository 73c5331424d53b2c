// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/learner.h>

#include "distributed/gradients.h"

namespace barlow {

/// Forward and backward pass of a batch: in the precision that was asked for, at once or in micro-batches.
class TrainingStep {
 public:
  TrainingStep(BarlowTwinsModel model, const at::Device& device, const LearnerOptions& options);

  /// The parameters that want a gradient may be others now.
  void start_fit();

  /// Embeddings [rows of all inputs, D], one below the other. In training they have a graph, or, in micro-batches, are
  /// a leaf whose gradient backward takes on to the parameters.
  at::Tensor embed(const std::vector<at::Tensor>& inputs, bool training);

  /// Gradients of the parameters, of `loss` times the scale; `sum`: over the processes.
  void backward(const at::Tensor& loss, bool sum);

  /// Divides the gradients by the scale. Returns the flag for Optimizer::step: 1 if the loss, or a gradient that was
  /// scaled or accumulated, is not finite; undefined if it need not be looked at.
  at::Tensor unscale(const std::vector<at::Tensor>& grads, const at::Tensor& loss, bool look_at_loss);

  /// After the optimiser's step: a new scale.
  void update_scale();

  /// With NonFinite::Skip: running statistics as before embed, if the loss is not finite.
  void restore_buffers(const at::Tensor& loss);

  NamedTensors state() const;
  void load_state(const NamedTensors& state);

 private:
  struct Part { // of an input
    at::Tensor x, generator;
  };
  at::Tensor forward(const at::Tensor& x);
  std::vector<at::Tensor> split(const at::Tensor& input) const;
  at::Tensor embed_in_parts(const std::vector<at::Tensor>& inputs, bool training);
  void backward_in_parts();
  void keep_buffers(std::vector<at::Tensor>& kept) const;

  BarlowTwinsModel model_;
  at::Device device_;
  std::optional<at::ScalarType> autocast_;
  int64_t micro_batch_;
  bool keeps_buffers_;
  bool accumulates_ = false; // earlier batches are in the gradients

  ProcessGroup group_;
  std::unique_ptr<GradientSum> gradients_;

  std::vector<at::Tensor> parameters_;
  std::vector<Part> parts_; // of the present step, in micro-batches
  at::Tensor embeddings_; // leaf
  std::vector<at::Tensor> buffers_, kept_, after_first_pass_; // running statistics and copies of them

  at::Tensor scale_, growth_, found_inf_; // float16: scalars on the device
};

} // namespace barlow
