// SPDX-License-Identifier: Apache-2.0
// Accuracy of features as a table: pixels, an untrained encoder, the trained one.
#pragma once

#include <string>
#include <vector>

#include <barlow/data.h>
#include <barlow/embed.h>
#include <barlow/encoder.h>

namespace barlow::cli {

struct EvaluationOptions {
  std::vector<int64_t> ks{1, 20, 200}; ///< neighbours that vote; those beyond the bank are left out
  double temperature = 0.1;
  bool logistic = true, baselines = true;
  EmbedOptions how{};
  uint64_t seed = 42; ///< of the untrained network's weights
};

/// Accuracies of one kind of features, shares of the queries that are right; in the order of the table's columns.
struct EvaluationRow {
  std::string features;
  std::vector<double> accuracies;
};

struct Evaluation {
  std::vector<std::string> columns; ///< "k 20", "k 20 top-5", "logistic" ...
  std::vector<EvaluationRow> rows;
};

/// Of labelled data. Throws Error for data without labels.
Evaluation
evaluate(Encoder encoder, const DataLoader& bank, const DataLoader& queries, const EvaluationOptions& options);

std::string to_text(const Evaluation& evaluation); ///< a table
std::string to_json(const Evaluation& evaluation);

} // namespace barlow::cli
