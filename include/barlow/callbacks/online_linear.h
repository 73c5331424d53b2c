// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/callback.h>

namespace barlow {

class Optimizer;

struct OnlineLinearOptions {
  int64_t classes = 0; ///< must be given
  double lr = 0.1, momentum = 0.9, weight_decay = 0; ///< of SGD
};

/// A linear head that learns classes from the encoder's features of the views while the encoder trains: how good they
/// are, for the price of a small matrix product. The features are detached, so training notices nothing of it. Its loss
/// and accuracy are logged as `linear_loss` and `linear_accuracy`. Source: solo-learn's online classifier.
class OnlineLinear : public Callback {
 public:
  explicit OnlineLinear(const OnlineLinearOptions& options); ///< throws Error for options out of range
  ~OnlineLinear() override;
  OnlineLinear(OnlineLinear&&) noexcept;
  std::string name() const override;
  int order() const override; ///< 51: after the views are made; not in lr_find, whose steps are taken back
  void before_fit(Learner& learn) override;
  void before_pred(Learner& learn) override;
  void after_pred(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  /// Share of the validation views that were right (of the training's, without validation), after each epoch.
  const std::vector<double>& accuracies() const {
    return accuracies_;
  }

 private:
  void learn_from(Learner& learn, const at::Tensor& features, const at::Tensor& labels);

  OnlineLinearOptions options_;
  at::Tensor weight_, bias_; // from the first batch on
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<NamedTensors> loaded_; // before there is a head
  std::vector<at::Tensor> features_; // of the present batch
  std::vector<double> accuracies_;
  struct Count {
    double right = 0, seen = 0;
  };
  Count train_, valid_; // of the present epoch
};

} // namespace barlow
