// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/augment/pipeline.h>
#include <barlow/distributed.h>

namespace barlow {

// --- where samples come from

struct Sample {
  at::Tensor image; ///< [C,H,W], uint8, or floating in 0..1; undefined if `encoded` has it
  int64_t label = -1; ///< -1: none
  std::vector<char> encoded{}; ///< an image file's bytes, which the loader decodes
};

/// Samples by their number. get() is called from several threads at once; what it throws makes a bad sample.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual Sample get(int64_t index) const = 0;

  /// get(index).label; override it if that is cheaper.
  virtual int64_t label(int64_t index) const {
    return get(index).label;
  }

  /// What an error calls a sample: a path, say.
  virtual std::string sample_name(int64_t index) const {
    return "sample " + std::to_string(index);
  }

  /// Whether samples are encoded. Then views are cropped where they are decoded, see DataLoader::with_views.
  virtual bool encoded() const {
    return false;
  }
};

/// One pass over a StreamDataset; never called from two threads at once.
class SampleStream {
 public:
  struct Item {
    int64_t index = 0; ///< the same for a sample in every epoch: keys its random numbers
    std::string name{}; ///< what an error calls it
    Sample sample{};
    std::string error{}; ///< not empty: it could not be read, and why
  };
  virtual ~SampleStream() = default;
  virtual std::optional<Item> next() = 0; ///< nothing at the end; what it throws ends the epoch
};

/// Samples that come one after the other: archives, a database's cursor.
class StreamDataset {
 public:
  virtual ~StreamDataset() = default;
  virtual int64_t size() const = 0; ///< of an epoch
  /// The samples of an epoch, in an order that is a function of the arguments.
  virtual std::unique_ptr<SampleStream> stream(uint64_t seed, int64_t epoch, bool shuffle) const = 0;
  virtual bool encoded() const {
    return false;
  }
};

// --- the loader

struct Batch {
  at::Tensor x; ///< [N,C,H,W], uint8 or floating; undefined if the loader made `views`
  at::Tensor y; ///< [N] int64; undefined if no sample has a label
  std::vector<int64_t> index; ///< [N] in the data set
  std::vector<at::Tensor> views{}; ///< [V] of [N,C,S,S], cropped and mirrored: see DataLoader::with_views
  int64_t epoch = 0;
  uint64_t seed = 0; ///< of the loader; with epoch and index it keys every random number of the batch
  std::optional<int64_t>
      first{}; ///< index of the sample that draws for the whole batch, of all processes; else index[0]

  int64_t size() const {
    return static_cast<int64_t>(index.size());
  }
};

/// What to do with a sample that cannot be read or decoded. A file that from_folder found and that is gone later ends
/// the run whatever this says, as does a stream that gives nothing within the time limit.
enum class OnBad {
  Skip, ///< leave it out of its batch, go on
  Replace, ///< take another one of the data set, drawn by its key; not for a StreamDataset
  Stop, ///< throw what it threw
};

struct LoaderOptions {
  int64_t batch_size = 64; ///< of all processes together
  int64_t channels = 3; ///< of decoded images: 1 and 3 (RGB) are converted to, other numbers must be the file's own
  int64_t resize = 0; ///< pixels: the shorter side is scaled to it, then a centred square cut; 0: as they are
  bool shuffle = false; ///< a new order each epoch
  bool drop_last = false; ///< leave out a last batch that is not full
  uint64_t seed = 42;
  int64_t num_workers = -1; ///< threads; 0: the calling thread, -1: one for each core of the process, 16 at most
  OnBad on_bad = OnBad::Skip;
  double max_bad = 0.1; ///< share of the data set that may be bad; more is an error
  double time_limit = 60; ///< seconds for a sample, then it is bad; 0: none. Needs workers.
  int64_t max_pixels = int64_t{1} << 27; ///< of an image; larger ones are bad
  bool pin_memory = false; ///< batches in page-locked memory, for copies to the GPU; a Learner on CUDA sets it
};

struct BadSample {
  int64_t index;
  std::string name, reason;
};

/// What the workers of a loader did so far: seconds, of all of them together.
struct LoaderTimes {
  double read = 0, decode = 0, crop = 0;
  int64_t samples = 0;
};

class BatchStream;

/// Batches of a data set. Order and content depend on seed and epoch alone, never on the number of workers. Copies
/// share the counts of bad samples and times.
class DataLoader {
 public:
  /// Throws Error for an empty data set, options out of range, or a batch larger than the set with drop_last.
  DataLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options = {});
  DataLoader(std::shared_ptr<const StreamDataset> dataset, const LoaderOptions& options = {});

  /// This loader, with batches that have `views` in place of x: what the crop and the mirror that begin each pipeline
  /// make of an image, drawn as the pipeline draws. Files are decoded once for all views, and only as far as the crops
  /// reach; 8-bit images are resized as by Pillow and stay 8 bits. The rest is Pipeline::operator()(x, keys, skip).
  /// Throws Error for a pipeline that does not begin with RandomResizedCrop.
  DataLoader with_views(std::vector<Pipeline> pipelines) const;

  /// Whether with_views can be called for them, and is of use: the images are encoded and not resized.
  bool can_crop(const std::vector<Pipeline>& pipelines) const;

  /// This loader, with the rows of each batch that a process works on: of n rows those from n * rank / count on. Order,
  /// samples and their random numbers are those of the whole. A part may have no rows: [0,C,H,W].
  DataLoader shard(const Shard& part) const;

  /// This loader, of a share of each label's samples (rounded up), drawn by the seed: 1 % or 10 % of the labels, for
  /// semi-supervised fine-tuning. Throws Error for a share outside (0, 1], unlabelled samples, a StreamDataset.
  DataLoader labelled_share(double share, uint64_t seed = 42) const;

  /// This loader, with every sample once in the data set's order: a training set as the bank of an evaluation.
  DataLoader in_order() const;

  /// The largest label, -1 without labels: one less than the number of classes. Throws Error for a StreamDataset.
  int64_t largest_label() const;

  /// The batches of an epoch from `first_batch` on; fetching starts at once.
  BatchStream epoch(int64_t number, int64_t first_batch = 0) const;

  int64_t batches() const; ///< an epoch; fewer come if all samples of one are bad or a stream ends early
  int64_t samples() const; ///< in the data set
  const LoaderOptions& options() const {
    return options_;
  }
  void pin_memory(bool pinned) {
    options_.pin_memory = pinned;
  }
  int64_t workers() const; ///< threads
  const Shard& part() const { ///< of each batch that this loader gives
    return part_;
  }

  /// Samples, options and some of the samples' names, in words: two loaders of one data set give the same batches if
  /// these are equal. What a resumed run compares.
  std::string description() const;

  /// The samples that were bad so far, each once, by index.
  std::vector<BadSample> bad_samples() const;
  LoaderTimes times() const;

 private:
  friend class BatchStream;
  struct Report;
  std::shared_ptr<const Dataset> dataset_; // one of these two
  std::shared_ptr<const StreamDataset> stream_;
  LoaderOptions options_;
  std::vector<Pipeline> views_;
  Shard part_;
  std::shared_ptr<Report> report_;
};

/// Where a BatchStream stands: DataLoader::epoch(epoch, batch) goes on from there.
struct LoaderPosition {
  int64_t epoch = 0, batch = 0;
};

/// One epoch's batches in order. Its destruction stops the workers.
class BatchStream {
 public:
  BatchStream(BatchStream&&) noexcept;
  BatchStream& operator=(BatchStream&&) noexcept;
  ~BatchStream();

  /// The next batch, or nothing at the end. Throws Error for images that do not fit together or too many bad samples.
  std::optional<Batch> next();

  LoaderPosition position() const; ///< of the batch that next() would give

 private:
  friend class DataLoader;
  struct State;
  explicit BatchStream(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// --- data sets

/// SPLIT/CLASS/image: these two folders. An empty `valid`: no validation.
struct GrandparentSplitter {
  std::string train = "train", valid = "valid";
};
/// A random share, drawn by the seed.
struct RandomSplitter {
  double valid_pct = 0.2;
  uint64_t seed = 42;
};
/// The images that a text file names, one a line, relative to the folder.
struct FileSplitter {
  std::filesystem::path file;
};
/// Which images are for validation, named as in fastai. The first: as GrandparentSplitter if one of its folders is
/// there, else none.
using Splitter = std::variant<std::monostate, GrandparentSplitter, RandomSplitter, FileSplitter>;

/// What a Learner trains and validates on. In what the functions return, training batches are shuffled and full
/// whatever the options say, and both sets draw different random numbers. They throw Error for a batch_size above the
/// number of training images, or a RandomSplitter's share outside (0, 1).
class DataLoaders {
 public:
  explicit DataLoaders(DataLoader train_loader, std::optional<DataLoader> valid_loader = std::nullopt);

  /// Images (.png .jpg .jpeg .jpe .bmp .tif .tiff .webp) anywhere under a folder; links are followed. The folder that
  /// an image lies in is its label; those right in the folder, or in the split's, have none. Throws FileError for a
  /// missing folder, one without images or without one of the splits.
  static DataLoaders
  from_folder(const std::filesystem::path& folder, const LoaderOptions& options = {}, const Splitter& splitter = {});

  /// Images named in a text file, unlabelled: a path a line, or separated by zero bytes; relative to the file's folder.
  /// Throws Error for a GrandparentSplitter, FileError for a file that is missing or empty.
  static DataLoaders
  from_list(const std::filesystem::path& file, const LoaderOptions& options = {}, const Splitter& splitter = {});

  /// The four files of MNIST and its relatives, plain or .gz: {train,t10k}-{images-idx3,labels-idx1}-ubyte. Labels and
  /// the test set (for validation) may be missing.
  static DataLoaders from_mnist(const std::filesystem::path& folder, const LoaderOptions& options = {});

  /// The binary files of CIFAR-10 (data_batch_1..5.bin, test_batch.bin) or CIFAR-100 (train.bin, test.bin; fine
  /// labels). The test set (for validation) may be missing.
  static DataLoaders from_cifar(const std::filesystem::path& folder, const LoaderOptions& options = {});

  /// Shards in the WebDataset convention, see tar_dataset; `valid` may be empty. Reads all of them once to count. With
  /// many shards take DataLoader(tar_dataset(shards, {.samples = N}), ...).
  static DataLoaders from_tar(
      const std::vector<std::filesystem::path>& train,
      const LoaderOptions& options = {},
      const std::vector<std::filesystem::path>& valid = {});

  DataLoader train;
  std::optional<DataLoader> valid;
  std::vector<std::string> classes; ///< names of the labels 0, 1, ...; empty without names
};

} // namespace barlow
