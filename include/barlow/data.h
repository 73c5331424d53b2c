// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace barlow {

struct Sample {
  at::Tensor image; ///< [C,H,W], uint8, or floating in 0..1
  int64_t label = -1; ///< -1: none
};

/// Where samples come from. get() is called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual Sample get(int64_t index) const = 0;

  /// What an error calls a sample: a path, say.
  virtual std::string sample_name(int64_t index) const {
    return "sample " + std::to_string(index);
  }
};

struct Batch {
  at::Tensor x; ///< [N,C,H,W], of the samples' type
  at::Tensor y; ///< [N] int64; undefined if no sample has a label
  std::vector<int64_t> index; ///< [N] in the data set
  int64_t epoch = 0;
  uint64_t seed = 0; ///< of the loader; with epoch and index it keys every random number of the batch

  int64_t size() const {
    return static_cast<int64_t>(index.size());
  }
};

struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = false; ///< a new order each epoch
  bool drop_last = false; ///< leave out a last batch that is not full
  uint64_t seed = 42;
  int64_t num_workers = -1; ///< threads that fetch and decode; 0: the calling thread, -1: one a core, 8 at most
};

class BatchStream;

/// Batches of a data set. Order and content depend on seed and epoch alone, never on the number of workers.
class DataLoader {
 public:
  /// Throws Error for an empty data set, a batch size below 1, or larger than the set with drop_last.
  DataLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options = {});

  /// The batches of an epoch; fetching starts at once.
  BatchStream epoch(int64_t number) const;

  int64_t batches() const; ///< an epoch
  int64_t samples() const; ///< in the data set
  const LoaderOptions& options() const {
    return options_;
  }
  const Dataset& dataset() const {
    return *dataset_;
  }

 private:
  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;
};

/// One epoch's batches in order. Its destruction stops the workers.
class BatchStream {
 public:
  BatchStream(BatchStream&&) noexcept;
  BatchStream& operator=(BatchStream&&) noexcept;
  ~BatchStream();

  /// The next batch, or nothing at the end. Throws what fetching it threw.
  std::optional<Batch> next();

 private:
  friend class DataLoader;
  struct Impl;
  explicit BatchStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct FolderOptions {
  int64_t batch_size = 64;
  int64_t channels = 3; ///< 1 or 3; images are converted
  int64_t resize = 0; ///< pixels: the shorter side is scaled to it, then a centred square cut; 0: as they are
  std::string train = "train", valid = "valid"; ///< names of the splits' folders; valid = "": no validation
  uint64_t seed = 42;
  int64_t num_workers = -1; ///< as LoaderOptions
};

/// What a Learner trains and validates on.
class DataLoaders {
 public:
  explicit DataLoaders(DataLoader train_loader, std::optional<DataLoader> valid_loader = std::nullopt);

  /// Images of a folder. With train/CLASS/* and valid/CLASS/*: split and labelled by these folders, as fastai's
  /// GrandparentSplitter; else the images right in the folder, unlabelled, without validation. Training batches are
  /// shuffled and full. Formats: PNG, JPEG, BMP, TIFF, WebP.
  /// Throws FileError for a missing folder, one without images or without one of the splits.
  static DataLoaders from_folder(const std::filesystem::path& folder, const FolderOptions& options = {});

  DataLoader train;
  std::optional<DataLoader> valid;
  std::vector<std::string> classes; ///< names of the labels 0, 1, ...; empty without labels
};

} // namespace barlow
