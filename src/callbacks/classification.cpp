// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/classification.h>

#include <torch/torch.h>

#include <barlow/augment/view.h>
#include <barlow/learner.h>

#include "../check.h"

namespace barlow {
namespace {

using torch::Tensor;
constexpr auto kHere = "Classification";

// Over all processes; its gradient is that of this one's part.
Tensor global_sum(const ProcessGroup& group, const Tensor& part) {
  if (group.size() == 1) {
    return part;
  }
  const auto sum = part.detach().clone();
  group.sum(sum);
  return part + (sum - part.detach());
}

} // namespace

Classification::Classification(ClassificationOptions options) : options_(std::move(options)) {
  check(
      options_.label_smoothing >= 0 && options_.label_smoothing < 1,
      kHere,
      "label_smoothing must be in [0, 1), received {}",
      options_.label_smoothing);
}

std::string Classification::name() const {
  return kHere;
}

int Classification::order() const {
  return 9;
}

void Classification::before_fit(Learner& learn) {
  replaced_loss_ = learn.loss_func;
  learn.loss_func = [this, &learn](const Tensor& scores, const Batch& batch) { return loss(learn, scores, batch); };
}

Tensor Classification::loss(Learner& learn, const Tensor& scores, const Batch& batch) const {
  const auto& y = batch.y;
  check(y.defined(), kHere, "the samples need labels, received none; load them from FOLDER/CLASS/image");
  const auto classes = scores.size(1);
  check(
      y.numel() == 0 || (y.min().item<int64_t>() >= 0 && y.max().item<int64_t>() < classes),
      kHere,
      "labels must be 0 to {}, for the model gives {} scores, received {} to {}; see create_model's n_out",
      classes - 1,
      classes,
      y.numel() == 0 ? 0 : y.min().item<int64_t>(),
      y.numel() == 0 ? 0 : y.max().item<int64_t>());
  const auto& group = learn.options.process_group;
  const auto n = static_cast<double>(learn.samples());
  const auto right = global_sum(group, scores.detach().argmax(1).eq(y).sum().to(torch::kFloat));
  learn.log("accuracy", right / n);
  const auto sum = torch::nn::functional::cross_entropy(
      scores.to(torch::kFloat),
      y,
      torch::nn::functional::CrossEntropyFuncOptions()
          .reduction(torch::kSum)
          .label_smoothing(options_.label_smoothing));
  return global_sum(group, sum / n);
}

void Classification::before_train(Learner& learn) {
  if (options_.frozen_encoder) {
    learn.model->encoder->eval();
  }
}

void Classification::before_batch(Learner& learn) {
  const auto& pipeline = learn.training && options_.augment ? options_.augment : options_.transform;
  if (pipeline) {
    learn.inputs = {make_view(*pipeline, learn.batch, 0)};
  }
}

void Classification::before_validate(Learner&) {
  right_ = seen_ = 0;
}

void Classification::after_read(Learner& learn) {
  if (learn.values.training) {
    return;
  }
  for (const auto& [what, value] : learn.values.logged) {
    if (what == "accuracy") {
      right_ += value * static_cast<double>(learn.values.samples);
      seen_ += static_cast<double>(learn.values.samples);
    }
  }
}

void Classification::after_epoch(Learner&) {
  if (seen_ > 0) {
    accuracies_.push_back(right_ / seen_);
    seen_ = 0;
  }
}

void Classification::after_fit(Learner& learn) {
  if (replaced_loss_) {
    learn.loss_func = std::move(*replaced_loss_);
    replaced_loss_.reset();
  }
}

} // namespace barlow
