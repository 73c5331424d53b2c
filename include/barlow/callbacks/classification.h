// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <barlow/augment/pipeline.h>
#include <barlow/callback.h>
#include <barlow/data.h>

namespace barlow {

struct ClassificationOptions {
  std::optional<Pipeline> augment{}; ///< of training images; nullopt: `transform`
  std::optional<Pipeline> transform{}; ///< of the others: the normalisation that the encoder was trained with, say
  bool frozen_encoder = false; ///< the encoder stays in evaluation mode: its running statistics too are left alone
  double label_smoothing = 0; ///< in [0, 1)
};

/// Makes a Learner train a classifier: cross-entropy of the model's scores against the batch's labels, and `accuracy`
/// in the log. One of BarlowTwins and this. The fit throws Error for samples without a label, or labels beyond the
/// model's scores.
class Classification : public Callback {
 public:
  explicit Classification(ClassificationOptions options = {});
  std::string name() const override;
  int order() const override; ///< 9
  void before_fit(Learner& learn) override;
  void before_train(Learner& learn) override;
  void before_batch(Learner& learn) override;
  void before_validate(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;

  /// Share of the validation samples that were right, after each epoch of all fits.
  const std::vector<double>& accuracies() const {
    return accuracies_;
  }

 private:
  at::Tensor loss(Learner& learn, const at::Tensor& scores, const Batch& batch) const;

  ClassificationOptions options_;
  std::optional<std::function<at::Tensor(const at::Tensor&, const Batch&)>> replaced_loss_;
  std::vector<double> accuracies_;
  double right_ = 0, seen_ = 0; // of the validation under way
};

} // namespace barlow
