// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <torch/torch.h>

#include "check.h"
#include "commands.h"
#include "encoder_use.h"

namespace barlow::cli {
namespace {

// The validation set's rows after the training set's, whose numbers go on after them.
Embeddings joined(Embeddings train, const Embeddings& valid, int64_t samples) {
  train.features = torch::cat({train.features, valid.features});
  const bool labelled = train.labels.defined() && valid.labels.defined();
  train.labels = labelled ? torch::cat({train.labels, valid.labels}) : at::Tensor();
  for (const auto i : valid.index) {
    train.index.push_back(i + samples);
  }
  return train;
}

} // namespace

int run_embed(const Arguments& arguments) {
  EncoderUse use;
  use.data.valid_pct = 0;
  std::string out = "features.safetensors", split = "all";
  const auto app = make_app(
      "embed",
      "An encoder's features of images: a row of numbers for each.",
      "barlow embed run/encoder.safetensors photos --out features.npy");
  use.add_options(*app);
  add(*app, "--out", out, ".npy: the features; .safetensors: features, labels and the images' numbers");
  only(add(*app, "--split", split, "Which images, where the data has a split"), {"all", "train", "valid"});
  parse(*app, arguments);

  check(
      out.ends_with(".npy") || out.ends_with(".safetensors"),
      "embed",
      "--out must end in .npy or .safetensors, received '{}'",
      out);
  const auto features = use.load();
  const auto dls = use.open(features);
  check<FileError>(
      split != "valid" || dls.valid, "embed", "'{}' has no validation split; leave --split away", use.data.path);
  const auto of = [&](const DataLoader& loader) {
    return embed(features.encoder, loader.in_order(), use.how(features));
  };
  auto all = of(split == "valid" ? *dls.valid : dls.train);
  if (split == "all" && dls.valid) {
    all = joined(std::move(all), of(*dls.valid), dls.train.samples());
  }
  save_embeddings(out, all);
  fmt::print("{} images, {} features each: {}\n", all.features.size(0), all.features.size(1), out);
  return 0;
}

} // namespace barlow::cli
