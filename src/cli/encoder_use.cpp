// SPDX-License-Identifier: Apache-2.0
#include "encoder_use.h"

#include <algorithm>

namespace barlow::cli {

void EncoderUse::add_options(CLI::App& app) {
  app.add_option("encoder", file, "File of an encoder, as pretrain writes it")->required();
  add_data_options(app, data);
  add_positive(app, "--batch-size", batch_size, "Images at once");
  add_device(app, device);
}

FeatureExtractor EncoderUse::load() const {
  return FeatureExtractor(file, {.device = device_of(device)});
}

DataLoaders EncoderUse::open(const FeatureExtractor& features) const {
  auto source = data;
  source.channels = features.encoder->n_in();
  const auto samples = cli::open(source, 1).train.samples(); // a batch must not be larger
  return cli::open(source, std::min(batch_size, samples), features.size());
}

EmbedOptions EncoderUse::how(const FeatureExtractor& features) const {
  return {.device = device_of(device), .transform = normalization(features.stats())};
}

std::optional<Pipeline> normalization(const std::optional<Stats>& stats) {
  return stats ? std::optional(Pipeline({std::make_shared<Normalize>(*stats)})) : std::nullopt;
}

Pipeline crops(const FeatureExtractor& features, Range scale, bool flip) {
  std::vector<TransformPtr> all{std::make_shared<RandomResizedCrop>(features.size(), CropOptions{.scale = scale})};
  if (flip) {
    all.push_back(std::make_shared<RandomHorizontalFlip>());
  }
  if (features.stats()) {
    all.push_back(std::make_shared<Normalize>(*features.stats()));
  }
  return Pipeline(std::move(all));
}

} // namespace barlow::cli
