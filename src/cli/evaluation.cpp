// SPDX-License-Identifier: Apache-2.0
#include "evaluation.h"

#include <algorithm>

#include <fmt/ranges.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include <barlow/knn.h>
#include <barlow/linear_probe.h>

#include "check.h"

namespace barlow::cli {
namespace {

std::vector<int64_t> possible(std::vector<int64_t> ks, int64_t rows) {
  std::erase_if(ks, [&](int64_t k) { return k > rows; });
  return ks.empty() ? std::vector<int64_t>{rows} : ks;
}

EvaluationRow row(
    const std::string& name,
    const Embeddings& bank,
    const Embeddings& queries,
    bool with_top5,
    const EvaluationOptions& options) {
  EvaluationRow found{name, {}};
  for (const auto& accuracy : knn_accuracy(bank, queries, options.ks, options.temperature)) {
    found.accuracies.push_back(accuracy.top1);
    if (with_top5) {
      found.accuracies.push_back(accuracy.top5);
    }
  }
  if (options.logistic) {
    found.accuracies.push_back(accuracy(fit_logistic(bank), queries).top1);
  }
  return found;
}

} // namespace

Evaluation
evaluate(Encoder encoder, const DataLoader& bank, const DataLoader& queries, const EvaluationOptions& asked) {
  const auto theirs = embed(encoder, bank, asked.how), ours = embed(encoder, queries, asked.how);
  const auto all_labelled = [](const Embeddings& e) {
    return e.labels.defined() && e.labels.numel() > 0 && e.labels.min().item<int64_t>() >= 0;
  };
  check(
      all_labelled(theirs) && all_labelled(ours),
      "evaluate",
      "the images need labels: a folder of each class, as in train/CLASS/image.jpg");
  auto options = asked;
  options.ks = possible(asked.ks, theirs.features.size(0));
  constexpr int64_t kFew = 5; // classes of which the best five are all
  const bool with_top5 = theirs.labels.max().item<int64_t>() + 1 > kFew;

  Evaluation found;
  for (const auto k : options.ks) {
    found.columns.push_back(fmt::format("k {}", k));
    if (with_top5) {
      found.columns.push_back(fmt::format("k {} top-5", k));
    }
  }
  if (options.logistic) {
    found.columns.emplace_back("logistic");
  }
  if (options.baselines) {
    found.rows.push_back(row("pixels", embed_pixels(bank), embed_pixels(queries), with_top5, options));
    auto origin = *encoder->origin();
    origin.options.pretrained = false;
    origin.options.weights.clear();
    torch::manual_seed(options.seed);
    const auto untrained = create_encoder(origin.name, origin.options);
    found.rows.push_back(
        row("untrained encoder",
            embed(untrained, bank, options.how),
            embed(untrained, queries, options.how),
            with_top5,
            options));
  }
  found.rows.push_back(row("encoder", theirs, ours, with_top5, options));
  return found;
}

std::string to_text(const Evaluation& evaluation) {
  std::string text = fmt::format("{:<20}", "features");
  for (const auto& column : evaluation.columns) {
    text += fmt::format("{:>14}", column);
  }
  for (const auto& line : evaluation.rows) {
    text += fmt::format("\n{:<20}", line.features);
    for (const double accuracy : line.accuracies) {
      text += fmt::format("{:>14.3f}", accuracy);
    }
  }
  return text + '\n';
}

std::string to_json(const Evaluation& evaluation) {
  nlohmann::ordered_json json;
  for (const auto& line : evaluation.rows) {
    for (size_t i = 0; i < line.accuracies.size(); ++i) {
      json[line.features][evaluation.columns[i]] = line.accuracies[i];
    }
  }
  return json.dump(2) + '\n';
}

} // namespace barlow::cli
