// SPDX-License-Identifier: Apache-2.0
// What the commands share that use a trained encoder on images.
#pragma once

#include <string>

#include <barlow/augment/pipeline.h>
#include <barlow/augment/random_transforms.h>
#include <barlow/embed.h>
#include <barlow/feature_extractor.h>

#include "arguments.h"
#include "data_source.h"

namespace barlow::cli {

struct EncoderUse {
  std::string file, device;
  DataSource data;
  int64_t batch_size = 64;

  void add_options(CLI::App& app);

  FeatureExtractor load() const; ///< of save_encoder's file
  DataLoaders open(const FeatureExtractor& features) const; ///< images of the encoder's size and channels
  EmbedOptions how(const FeatureExtractor& features) const;
};

/// What is done to images before an encoder that was trained with these stats; nullopt: nothing.
std::optional<Pipeline> normalization(const std::optional<Stats>& stats);

/// For training with labels: crops of these shares of the area, mirrored or not, normalised as the encoder wants it.
Pipeline crops(const FeatureExtractor& features, Range scale, bool flip);

} // namespace barlow::cli
