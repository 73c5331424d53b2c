// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <iterator>
#include <numeric>

#include <barlow/datasets.h>
#include <barlow/random.h>

#include "../check.h"
#include "../paths.h"
#include "files.h"
#include "tar_samples.h"

namespace barlow {

namespace fs = std::filesystem;

namespace {
constexpr auto kHere = "tar_dataset";
constexpr int kShardBits = 32; // an index is the shard's number and the sample's in it
constexpr int64_t kBufferView = 0xfc; // keys the draws

// Shard after shard; what is wrong with one becomes an item without a sample.
class ShardStream : public SampleStream {
 public:
  ShardStream(std::vector<fs::path> shards, std::vector<int64_t> order)
      : shards_(std::move(shards)), order_(std::move(order)) {}

  std::optional<Item> next() override {
    while (true) {
      if (!samples_) {
        if (at_ == order_.size()) {
          return std::nullopt;
        }
        if (auto error = open()) {
          return error;
        }
      }
      try {
        if (auto group = samples_->next()) {
          if (auto item = item_of(std::move(*group))) {
            return item;
          }
          continue;
        }
        close();
      } catch (const FileError& e) {
        auto item = broken(e);
        close();
        return item;
      }
    }
  }

 private:
  const fs::path& shard() const {
    return shards_[static_cast<size_t>(order_[at_])];
  }
  int64_t index() const {
    return (order_[at_] << kShardBits) + number_;
  }

  std::optional<Item> open() {
    number_ = 0;
    try {
      reader_ = std::make_unique<TarReader>(shard());
      samples_.emplace(*reader_, /*only_count=*/false);
      return std::nullopt;
    } catch (const FileError& e) {
      auto item = broken(e);
      close();
      return item;
    }
  }

  void close() {
    samples_.reset();
    reader_.reset();
    ++at_;
  }

  Item broken(const FileError& e) const {
    return {.index = index(), .name = shard().string(), .sample = {}, .error = e.what()};
  }

  std::optional<Item> item_of(TarSamples::Group group) {
    if (!group.has_image) {
      return std::nullopt; // a file that describes the shard, say
    }
    Item item{
        .index = index(),
        .name = fmt::format("{}: {}", shard().string(), group.key),
        .sample = std::move(group.sample),
        .error = std::move(group.error)};
    if (item.error.empty() && item.sample.encoded.empty()) {
      item.error = "[tar_dataset] its image is empty";
    }
    ++number_;
    return item;
  }

  std::vector<fs::path> shards_;
  std::vector<int64_t> order_;
  size_t at_ = 0; // in the order
  int64_t number_ = 0; // samples of the shard so far
  std::unique_ptr<TarReader> reader_;
  std::optional<TarSamples> samples_;
};

// Draws the next sample from a buffer of those to come.
class BufferedStream : public SampleStream {
 public:
  BufferedStream(std::unique_ptr<SampleStream> from, const TarOptions& options, uint64_t seed, int64_t epoch)
      : from_(std::move(from)), options_(options), seed_(seed), epoch_(epoch) {}

  std::optional<Item> next() override {
    while (!ended_ && std::ssize(buffer_) < options_.shuffle_buffer && bytes_ < options_.shuffle_bytes) {
      if (auto item = from_->next()) {
        bytes_ += memory(*item);
        buffer_.push_back(std::move(*item));
      } else {
        ended_ = true;
      }
    }
    if (buffer_.empty()) {
      return std::nullopt;
    }
    KeyedRandom random(seed_, epoch_, given_++, kBufferView, 0);
    std::swap(buffer_[static_cast<size_t>(random.below(static_cast<int64_t>(buffer_.size())))], buffer_.back());
    auto item = std::move(buffer_.back());
    buffer_.pop_back();
    bytes_ -= memory(item);
    return item;
  }

 private:
  static int64_t memory(const Item& item) {
    return std::ssize(item.sample.encoded) + std::ssize(item.name);
  }

  std::unique_ptr<SampleStream> from_;
  TarOptions options_;
  uint64_t seed_;
  int64_t epoch_, given_ = 0;
  std::vector<Item> buffer_;
  int64_t bytes_ = 0; // of the buffer
  bool ended_ = false;
};

class TarShards : public StreamDataset {
 public:
  TarShards(std::vector<fs::path> shards, const TarOptions& options)
      : shards_(std::move(shards)), options_(options), size_(options.samples > 0 ? options.samples : count()) {}

  int64_t size() const override {
    return size_;
  }
  bool encoded() const override {
    return true;
  }
  std::unique_ptr<SampleStream> stream(uint64_t seed, int64_t epoch, bool shuffle) const override {
    if (!shuffle) {
      std::vector<int64_t> order(shards_.size());
      std::iota(order.begin(), order.end(), 0);
      return std::make_unique<ShardStream>(shards_, std::move(order));
    }
    return std::make_unique<BufferedStream>(
        std::make_unique<ShardStream>(shards_, random_permutation(static_cast<int64_t>(shards_.size()), seed, epoch)),
        options_,
        seed,
        epoch);
  }

 private:
  // Shards that cannot be read count as one sample, as they do in the stream.
  int64_t count() const {
    int64_t samples = 0;
    for (const auto& shard : shards_) {
      try {
        TarReader reader(shard);
        TarSamples groups(reader, /*only_count=*/true);
        while (const auto group = groups.next()) {
          samples += group->has_image ? 1 : 0;
        }
      } catch (const FileError&) {
        ++samples;
      }
    }
    return samples;
  }

  std::vector<fs::path> shards_;
  TarOptions options_;
  int64_t size_;
};

} // namespace

std::shared_ptr<StreamDataset> tar_dataset(const std::vector<fs::path>& shards, const TarOptions& options) {
  check(!shards.empty(), kHere, "there must be at least one shard");
  check(options.samples >= 0, kHere, "samples must be 0 (counted) or their number, received {}", options.samples);
  check(options.shuffle_buffer >= 1, kHere, "shuffle_buffer must be at least 1, received {}", options.shuffle_buffer);
  check(options.shuffle_bytes >= 1, kHere, "shuffle_bytes must be at least 1, received {}", options.shuffle_bytes);
  for (const auto& shard : shards) {
    check<FileError>(is_there(shard), kHere, "'{}' does not exist", shard.string());
  }
  return std::make_shared<TarShards>(shards, options);
}

std::vector<fs::path> expand_shards(const std::string& pattern) {
  constexpr auto here = "expand_shards";
  const auto open = pattern.find('{'), dots = pattern.find("..", open == std::string::npos ? 0 : open);
  const auto close = pattern.find('}', dots == std::string::npos ? 0 : dots);
  if (open == std::string::npos || dots == std::string::npos || close == std::string::npos) {
    return {pattern};
  }
  const auto first = pattern.substr(open + 1, dots - open - 1), last = pattern.substr(dots + 2, close - dots - 2);
  int64_t low = 0, high = 0;
  const auto number = [](const std::string& text, int64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  constexpr int64_t kMost = 10'000'000;
  check(
      number(first, low) && number(last, high) && 0 <= low && low <= high && high - low < kMost,
      here,
      "a range must be {{FIRST..LAST}} of whole numbers in order, received '{}'",
      pattern);
  const auto rest = expand_shards(pattern.substr(close + 1)); // more ranges
  check(
      (high - low + 1) * static_cast<int64_t>(rest.size()) <= kMost,
      here,
      "a pattern must stand for at most {} paths, received '{}'",
      kMost,
      pattern);
  std::vector<fs::path> paths;
  for (int64_t i = low; i <= high; ++i) {
    for (const auto& tail : rest) {
      paths.emplace_back(fmt::format("{}{:0{}}{}", pattern.substr(0, open), i, first.size(), tail.string()));
    }
  }
  return paths;
}

DataLoaders DataLoaders::from_tar(
    const std::vector<fs::path>& train,
    const LoaderOptions& options,
    const std::vector<fs::path>& valid) {
  const auto train_set = tar_dataset(train);
  DataLoaders loaders(DataLoader(
      std::shared_ptr<const StreamDataset>(train_set),
      training_options(options, train_set->size(), "DataLoaders::from_tar")));
  if (!valid.empty()) {
    loaders.valid = DataLoader(std::shared_ptr<const StreamDataset>(tar_dataset(valid)), validation_options(options));
  }
  return loaders;
}

} // namespace barlow
