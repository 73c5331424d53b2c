// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <barlow/linear_probe.h>

#include "check.h"
#include "commands.h"
#include "encoder_use.h"
#include "evaluation.h"
#include "file.h"

namespace barlow::cli {
namespace {

LinearProbeOptions probe_options(const std::string& name, const FeatureExtractor& features) {
  auto options = name == "paper" ? LinearProbeOptions::paper() : LinearProbeOptions::solo_learn();
  options.augment = crops(features, {0.08, 1}, /*flip=*/true);
  options.transform = normalization(features.stats());
  return options;
}

} // namespace

int run_evaluate(const Arguments& arguments) {
  EncoderUse use;
  std::string linear = "logistic", json;
  EvaluationOptions options;
  int64_t epochs = 100;
  const auto app = make_app(
      "evaluate",
      "Accuracy of a vote of the nearest neighbours and of a linear classifier on an encoder's features, beside those\n"
      "of raw pixels and of the untrained network. Images need labels: a folder of each class. The training split is\n"
      "the bank, the validation split is asked; without a split a share is held out.",
      "barlow evaluate run/encoder.safetensors photos --k 20");
  use.add_options(*app);
  add(*app, "--k", options.ks, "Neighbours that vote");
  add_positive(*app, "--temperature", options.temperature, "A neighbour's vote is exp(similarity / temperature)");
  only(
      add(*app, "--linear", linear, "Linear classifier: the optimum at once, or as papers train it"),
      {"none", "logistic", "paper", "solo-learn"});
  add_positive(*app, "--epochs", epochs, "Of the paper's or solo-learn's classifier");
  add_flag(*app, "baselines", options.baselines, "Pixels and the untrained network, too");
  app->add_option("--json", json, "Write the figures to this file, too");
  parse(*app, arguments);

  options.logistic = linear == "logistic";
  const auto features = use.load();
  const auto dls = use.open(features);
  check(
      dls.valid.has_value(),
      "evaluate",
      "a share of the images must be held out; --valid-pct says how many, of a folder or a list");
  options.how = use.how(features);
  options.seed = use.data.seed;
  auto found = evaluate(features.encoder, dls.train.in_order(), *dls.valid, options);
  if (linear == "paper" || linear == "solo-learn") {
    auto how = probe_options(linear, features);
    how.device = options.how.device;
    how.epochs = epochs;
    const auto accuracy = linear_probe(features.encoder, dls, how);
    found.columns.push_back("linear, " + linear);
    found.rows.back().accuracies.push_back(accuracy.top1);
  }
  fmt::print("{}", to_text(found));
  if (!json.empty()) {
    write_file(json, {to_json(found)}, "evaluate");
  }
  return 0;
}

} // namespace barlow::cli
