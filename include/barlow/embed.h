// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/augment/pipeline.h>
#include <barlow/data.h>
#include <barlow/encoder.h>
#include <barlow/model.h>

namespace barlow {

/// What a network makes of a data set, in the loader's order.
struct Embeddings {
  at::Tensor features; ///< [N,F] float32, on the CPU
  at::Tensor labels; ///< [N] int64, -1 for none; undefined if no sample has one
  std::vector<int64_t> index; ///< [N] in the data set
};

struct EmbedOptions {
  std::optional<at::Device> device{}; ///< nullopt: CUDA if there is one, else CPU. The network is moved there.
  std::optional<Pipeline> transform{}; ///< of the images before the network: the normalisation it was trained with, say
};

/// Features of an encoder, or embeddings of a model, for one pass over the loader: in evaluation mode (then as it was),
/// without gradients. The loader's images are of one size (LoaderOptions::resize), without views; of a training loader,
/// which leaves its last batch out, take DataLoader::in_order. Throws Error for images that the network does not take.
Embeddings embed(Encoder encoder, const DataLoader& loader, const EmbedOptions& options = {});
Embeddings embed(BarlowTwinsModel model, const DataLoader& loader, const EmbedOptions& options = {});

/// The images' own pixels in 0..1 as features [N,C*H*W]: what an encoder has to beat.
Embeddings embed_pixels(const DataLoader& loader, const EmbedOptions& options = {});

/// `.npy`: the features, for NumPy; `.safetensors`: features, labels, index. Throws Error for another ending, FileError
/// if the file cannot be written.
void save_embeddings(const std::filesystem::path& file, const Embeddings& embeddings);

} // namespace barlow
