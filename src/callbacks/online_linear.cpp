// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/online_linear.h>

#include <cmath>

#include <torch/torch.h>

#include <barlow/learner.h>
#include <barlow/optim.h>

#include "../check.h"
#include "numbers.h"

namespace barlow {
namespace {

using torch::Tensor;

constexpr auto kHere = "OnlineLinear";
constexpr auto kAccuracy = "linear_accuracy";

} // namespace

OnlineLinear::OnlineLinear(const OnlineLinearOptions& options) : options_(options) {
  check(options.classes >= 2, kHere, "classes must be at least 2, received {}", options.classes);
  check(std::isfinite(options.lr) && options.lr > 0, kHere, "lr must be positive, received {}", options.lr);
  check(
      options.momentum >= 0 && options.momentum < 1 && std::isfinite(options.weight_decay) && options.weight_decay >= 0,
      kHere,
      "momentum must be in [0, 1) and weight_decay not negative, received {} and {}",
      options.momentum,
      options.weight_decay);
}
OnlineLinear::~OnlineLinear() = default;
OnlineLinear::OnlineLinear(OnlineLinear&&) noexcept = default;

std::string OnlineLinear::name() const {
  return kHere;
}

int OnlineLinear::order() const {
  return 51;
}

void OnlineLinear::before_fit(Learner& learn) {
  learn.model->on_features = [this](const Tensor& features) { features_.push_back(features.detach()); };
}

void OnlineLinear::after_fit(Learner& learn) {
  learn.model->on_features = {};
}

void OnlineLinear::before_pred(Learner&) {
  features_.clear(); // micro-batches pass through once more in backward: that is not looked at
}

void OnlineLinear::after_pred(Learner& learn) {
  const auto& y = learn.batch.y;
  check(y.defined(), kHere, "the samples need labels, received none; load them from FOLDER/CLASS/image");
  const auto features = at::cat(features_).to(torch::kFloat);
  features_.clear();
  check(
      y.numel() == 0 || features.size(0) % y.size(0) == 0,
      kHere,
      "each view must be of the whole batch, received {} features for {} labels",
      features.size(0),
      y.size(0));
  const auto views = y.numel() == 0 ? 0 : features.size(0) / y.size(0);
  learn_from(learn, features, y.repeat({views}));
}

void OnlineLinear::learn_from(Learner& learn, const Tensor& features, const Tensor& labels) {
  if (!weight_.defined()) {
    weight_ = torch::zeros({options_.classes, features.size(1)}, features.options());
    bias_ = torch::zeros({options_.classes}, features.options());
    std::vector<ParamGroup> groups(1);
    groups[0].params = {weight_, bias_};
    groups[0].lr = options_.lr;
    groups[0].weight_decay = options_.weight_decay;
    optimizer_ = std::make_unique<Sgd>(std::move(groups), SgdOptions{.momentum = options_.momentum});
    if (loaded_) {
      load_state(*std::exchange(loaded_, std::nullopt));
    }
  }
  const torch::NoGradGuard no_grad;
  const auto& group = learn.options.process_group;
  // Of softmax and cross-entropy in closed form: loss, right ones, and the gradient of weight and bias as one sum.
  const auto log_p = at::log_softmax(at::addmm(bias_, features, weight_.t()), 1);
  const auto target = at::one_hot(labels, options_.classes).to(log_p);
  const auto loss = -(log_p * target).sum();
  const auto right = log_p.argmax(1).eq(labels).sum().to(log_p);
  const auto error = log_p.exp() - target; // [rows,classes]
  auto sums = at::cat(
      {at::stack({loss, right, at::full({}, static_cast<double>(labels.numel()), log_p.options())}),
       error.t().mm(features).flatten(),
       error.sum(0)});
  group.sum(sums);
  const auto rows = sums[2].clamp_min(1);
  learn.log("linear_loss", sums[0] / rows);
  learn.log(kAccuracy, sums[1] / rows);
  if (learn.training) {
    weight_.mutable_grad() = (sums.narrow(0, 3, weight_.numel()) / rows).view_as(weight_);
    bias_.mutable_grad() = sums.narrow(0, 3 + weight_.numel(), bias_.numel()) / rows;
    optimizer_->step(sums.isfinite().all().logical_not().to(torch::kFloat)); // the head outlives a bad batch too
    optimizer_->zero_grad();
  }
}

void OnlineLinear::after_read(Learner& learn) {
  auto& count = learn.values.training ? train_ : valid_;
  for (const auto& [what, value] : learn.values.logged) {
    if (what == kAccuracy) {
      count.right += value * static_cast<double>(learn.values.samples);
      count.seen += static_cast<double>(learn.values.samples);
    }
  }
}

void OnlineLinear::after_epoch(Learner&) {
  const auto& count = valid_.seen > 0 ? valid_ : train_;
  if (count.seen > 0) {
    accuracies_.push_back(count.right / count.seen);
  }
  train_ = valid_ = {};
}

NamedTensors OnlineLinear::state() const {
  if (!weight_.defined()) {
    return loaded_.value_or(NamedTensors{numbers("accuracies", accuracies_)});
  }
  NamedTensors tensors{{"weight", weight_}, {"bias", bias_}, numbers("accuracies", accuracies_)};
  for (const auto& [name, tensor] : optimizer_->state()) {
    tensors.emplace_back("optimizer." + name, tensor);
  }
  return tensors;
}

void OnlineLinear::load_state(const NamedTensors& state) {
  accuracies_ = numbers_of<double>(state, "accuracies");
  if (!weight_.defined()) {
    loaded_ = state;
    return;
  }
  const std::string prefix = "optimizer.";
  NamedTensors of_optimizer;
  for (const auto& [name, tensor] : state) {
    if (name == "weight" || name == "bias") {
      (name == "weight" ? weight_ : bias_).copy_(tensor);
    } else if (name.rfind(prefix, 0) == 0) {
      of_optimizer.emplace_back(name.substr(prefix.size()), tensor);
    }
  }
  optimizer_->load_state(of_optimizer);
}

} // namespace barlow
