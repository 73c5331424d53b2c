// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/data.h>

namespace barlow {

// Data sets for a DataLoader of one's own; DataLoaders::from_* are made of them. All throw FileError naming the file
// for what is wrong with files, Error for what is wrong with arguments.

/// Image files, each with a label or all without.
std::shared_ptr<Dataset> image_files(const std::vector<std::filesystem::path>& files, std::vector<int64_t> labels = {});

/// Images [N,C,H,W], uint8 or floating in 0..1, in memory; labels [N] int64, or none.
std::shared_ptr<Dataset> tensor_dataset(at::Tensor images, const at::Tensor& labels = {});

/// Paths in a text file, see DataLoaders::from_list.
std::vector<std::filesystem::path> read_path_list(const std::filesystem::path& file);

/// An IDX file of unsigned bytes, plain or gzip, of any rank: uint8.
/// Source: Y. LeCun, C. Cortes, "The MNIST database", section "File formats".
at::Tensor read_idx(const std::filesystem::path& file);

/// Records of a CIFAR binary file: labels [N,1] (CIFAR-10) or [N,2] (CIFAR-100: coarse, fine), images [N,3,32,32].
/// Source: A. Krizhevsky, "The CIFAR-10 dataset", section "Binary version".
struct CifarRecords {
  at::Tensor images, labels; ///< uint8, int64
};
enum class Cifar { Ten, Hundred };
CifarRecords read_cifar(const std::filesystem::path& file, Cifar kind);

struct TarOptions {
  int64_t samples = 0; ///< in all shards; 0: counted once, by reading the headers
  int64_t shuffle_buffer = 1000; ///< samples in memory to draw the next one from
  int64_t shuffle_bytes = int64_t{1} << 30; ///< of these, after which no more are taken
};

/// Samples of tar archives, plain or packed by gzip, bzip2, xz, zstd or lz4, read in sequence: files in a row with the
/// same path up to the first dot of the name are one sample; its image is the one with an image's suffix, its label the
/// number in .cls. Shuffled, the shards come in random order and samples are drawn from a buffer. A broken shard counts
/// as one bad sample, and ends there. Throws Error if this library was built without libarchive. Source: the WebDataset
/// format.
std::shared_ptr<StreamDataset> tar_dataset(
    const std::vector<std::filesystem::path>& shards,
    const TarOptions& options = {});

/// "train-{000..002}.tar" as the three paths it stands for, numbers as wide as the first; several ranges are all their
/// combinations, a path without braces is itself. Throws Error for a range out of order, or above 10,000,000 paths.
std::vector<std::filesystem::path> expand_shards(const std::string& pattern);

} // namespace barlow
