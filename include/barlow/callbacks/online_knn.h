// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <barlow/augment/pipeline.h>
#include <barlow/callback.h>
#include <barlow/data.h>

namespace barlow {

struct OnlineKnnOptions {
  int64_t every_epochs = 1;
  int64_t k = 20;
  double temperature = 0.1;
  std::optional<Pipeline> transform{}; ///< as EmbedOptions::transform
};

/// Accuracy of a k-nearest-neighbour vote on the encoder's features while it trains: after an epoch, of labelled
/// queries by a labelled bank. Rank 0 does it and prints a line with the table of epochs; training notices nothing of
/// it.
class OnlineKnn : public Callback {
 public:
  /// Throws Error for options out of range.
  OnlineKnn(DataLoader bank, DataLoader queries, OnlineKnnOptions options = {});
  std::string name() const override;
  int order() const override; ///< 62: after the table's line
  void after_epoch(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  /// Epochs of all fits that were measured, counted from 1, and the shares of queries that were right.
  const std::vector<std::pair<int64_t, double>>& history() const {
    return history_;
  }

 private:
  DataLoader bank_, queries_;
  OnlineKnnOptions options_;
  std::vector<std::pair<int64_t, double>> history_;
};

} // namespace barlow
