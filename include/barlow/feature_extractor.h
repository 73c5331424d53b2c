// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/augment/random_transforms.h>
#include <barlow/encoder.h>

namespace barlow {

struct SaveEncoderOptions {
  int64_t size = 0; ///< pixels a side of the images it was trained on; 0: the encoder's input_size
  std::optional<Stats> stats{}; ///< of the normalisation it was trained with; nullopt: none, pixels in 0..1
  std::map<std::string, std::string> metadata{}; ///< more: recipe_id, the data's name ...
};

/// Writes an encoder alone: a safetensors file with timm's or fastai's keys, whose metadata tell how to make it again.
/// Throws Error for a network that create_encoder did not make (save_weights takes any), FileError.
void save_encoder(Encoder encoder, const std::filesystem::path& file, const SaveEncoderOptions& options = {});

struct FeatureExtractorOptions {
  std::optional<at::Device> device{}; ///< nullopt: CUDA if there is one, else CPU
  int64_t batch_size = 64; ///< of files
};

/// A trained encoder in use:
///
///     barlow::FeatureExtractor features("encoder.safetensors");
///     at::Tensor x = features({"a.jpg", "b.jpg"}); // [2,F]
class FeatureExtractor {
 public:
  /// Of a file that save_encoder wrote. Throws FileError for another one, or if it cannot be read.
  explicit FeatureExtractor(const std::filesystem::path& file, const FeatureExtractorOptions& options = {});

  /// Image files -> [N,F] float32 on the CPU: the shorter side scaled to size(), a centred square cut, normalised as in
  /// training. Throws FileError for one that cannot be read.
  at::Tensor operator()(const std::vector<std::filesystem::path>& files) const;

  /// Images [N,C,H,W], uint8, or floating in 0..1, of a size that the encoder takes -> [N,F] float32 on the CPU.
  at::Tensor operator()(const at::Tensor& images) const;

  int64_t size() const { ///< pixels a side
    return size_;
  }
  const std::optional<Stats>& stats() const { ///< what images are normalised with; nullopt: nothing
    return stats_;
  }
  const std::map<std::string, std::string>& metadata() const { ///< all that the file tells
    return metadata_;
  }

  Encoder encoder{nullptr};

 private:
  std::map<std::string, std::string> metadata_;
  FeatureExtractorOptions options_;
  int64_t size_ = 0;
  std::optional<Stats> stats_;
};

} // namespace barlow
