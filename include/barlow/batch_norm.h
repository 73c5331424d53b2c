// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/modules/batchnorm.h>

#include <barlow/distributed.h>

namespace barlow {

/// What sync_batch_norm finds in a module.
class SyncedStatistics {
 public:
  virtual ~SyncedStatistics() = default;
  void synchronise(const ProcessGroup& group) {
    group_ = group;
  }

 protected:
  ProcessGroup group_;
};

/// Parameters and running statistics [C] of a batch norm, some of them perhaps undefined.
struct BatchNormTensors {
  at::Tensor weight, bias, running_mean, running_var, num_batches_tracked;
};

/// Batch norm of x [N,C] or [N,C,H,W] with the statistics of all processes' rows; this one may have none. Updates the
/// running statistics as torch's does.
at::Tensor synced_batch_norm(
    const ProcessGroup& group,
    const at::Tensor& x,
    const BatchNormTensors& tensors,
    const torch::nn::BatchNormOptions& options);

/// torch::nn::BatchNorm1d and 2d whose statistics are those of all processes: in training, after sync_batch_norm.
/// Otherwise they are torch's.
template <class Torch>
class SyncedBatchNorm : public Torch, public SyncedStatistics {
 public:
  using Torch::Torch;
  virtual at::Tensor forward(const at::Tensor& x) {
    if (group_.size() == 1 || !this->is_training()) {
      return Torch::forward(x);
    }
    const BatchNormTensors tensors{
        this->weight, this->bias, this->running_mean, this->running_var, this->num_batches_tracked};
    return synced_batch_norm(group_, x, tensors, this->options);
  }
};

class BatchNorm1dImpl : public SyncedBatchNorm<torch::nn::BatchNorm1dImpl> {
 public:
  using SyncedBatchNorm::SyncedBatchNorm;
};
TORCH_MODULE(BatchNorm1d);

class BatchNorm2dImpl : public SyncedBatchNorm<torch::nn::BatchNorm2dImpl> {
 public:
  using SyncedBatchNorm::SyncedBatchNorm;
};
TORCH_MODULE(BatchNorm2d);

/// Synchronises every batch norm of the module from now on; a group of one makes them torch's again. Throws Error for
/// norms that are torch's own or a script's, naming them: they cannot be synchronised.
void sync_batch_norm(torch::nn::Module& module, const ProcessGroup& group);

} // namespace barlow
