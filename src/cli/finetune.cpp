// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>

#include <torch/torch.h>

#include <barlow/callbacks/classification.h>
#include <barlow/callbacks/json_log.h>
#include <barlow/classifier.h>
#include <barlow/weights.h>

#include "check.h"
#include "commands.h"
#include "encoder_use.h"

namespace barlow::cli {

int run_finetune(const Arguments& arguments) {
  EncoderUse use;
  std::filesystem::path out = "barlow_classifier";
  int64_t epochs = 5;
  double labels = 1;
  FineTuneOptions tuning;
  bool flip = true;
  const auto app = make_app(
      "finetune",
      "Trains a classifier: the encoder with the documented library's head, first the head, then all at rates by "
      "layer.\n"
      "Images need labels: a folder of each class.",
      "barlow finetune run/encoder.safetensors photos --labels 0.1 --epochs 10");
  use.add_options(*app);
  add(*app, "--labels", labels, "Share of each class to learn from: 0.01 is semi-supervised")
      ->check(CLI::Range(0., 1.));
  add_positive(*app, "--epochs", epochs, "Epochs of the whole, after those of the head");
  add(*app, "--freeze-epochs", tuning.freeze_epochs, "Epochs of the head alone")->check(CLI::NonNegativeNumber);
  add_positive(*app, "--lr", tuning.lr, "Highest rate of the head");
  add_flag(*app, "flip", flip, "Mirrored images too");
  app->add_option("--out", out, "Folder of what is written")->default_str(out.string());
  parse(*app, arguments);

  torch::manual_seed(use.data.seed);
  const auto features = use.load();
  auto dls = use.open(features);
  check(dls.classes.size() >= 2, "finetune", "'{}' has no classes; make a folder of each class", use.data.path);
  if (labels < 1) {
    dls.train = dls.train.labelled_share(labels, use.data.seed);
  }
  auto options = fine_tune_options(tuning);
  options.device = device_of(use.device);
  const auto classes = static_cast<int64_t>(dls.classes.size());
  auto model = create_model(features.encoder, classes);
  Learner learn(dls, model, options);
  const auto& classification = learn.add(
      Classification({.augment = crops(features, {0.35, 1}, flip), .transform = normalization(features.stats())}));
  learn.add(JsonLog(out / "log.jsonl"));
  fine_tune(learn, epochs, tuning);

  save_weights(*model, out / "classifier.safetensors", {{"classes", fmt::format("{}", fmt::join(dls.classes, "\n"))}});
  save_encoder(
      model->encoder,
      out / "encoder.safetensors",
      {.size = features.size(), .stats = features.stats(), .metadata = {{"finetuned", use.data.path}}});
  if (!classification.accuracies().empty()) {
    fmt::print("accuracy {:.3f} on {} images\n", classification.accuracies().back(), dls.valid->samples());
  }
  fmt::print("in {}: classifier.safetensors, encoder.safetensors, log.jsonl\n", out.string());
  return 0;
}

} // namespace barlow::cli
