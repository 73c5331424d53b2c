// SPDX-License-Identifier: Apache-2.0
#include <barlow/data.h>

#include <algorithm>
#include <cmath>
#include <map>

#include <torch/cuda.h>

#include <barlow/random.h>

#include "../check.h"
#include "../file.h"
#include "../threads.h"
#include "batch_stream.h"
#include "report.h"

namespace barlow {
namespace {

constexpr auto kHere = "DataLoader";

void check_options(const LoaderOptions& o, int64_t samples, bool streamed) {
  check(samples > 0, kHere, "the data set must not be empty");
  check(o.batch_size >= 1, kHere, "batch_size must be at least 1, received {}", o.batch_size);
  check(
      !o.drop_last || o.batch_size <= samples,
      kHere,
      "batch_size {} is larger than the set of {} samples; use at most {}",
      o.batch_size,
      samples,
      samples);
  check(o.channels >= 1, kHere, "channels must be at least 1, received {}", o.channels);
  check(o.resize >= 0, kHere, "resize must be 0 or a number of pixels, received {}", o.resize);
  check(o.num_workers >= -1, kHere, "num_workers must be -1, 0 or a number of threads, received {}", o.num_workers);
  check(o.max_bad >= 0 && o.max_bad <= 1, kHere, "max_bad must be a share in [0, 1], received {}", o.max_bad);
  check(
      o.time_limit >= 0 && std::isfinite(o.time_limit),
      kHere,
      "time_limit must be a number of seconds, or 0, received {}",
      o.time_limit);
  check(o.max_pixels >= 1, kHere, "max_pixels must be at least 1, received {}", o.max_pixels);
  check(!o.pin_memory || torch::cuda::is_available(), kHere, "pin_memory needs a GPU, and there is none; leave it out");
  check(
      !streamed || o.on_bad != OnBad::Replace,
      kHere,
      "OnBad::Replace needs samples by number; a StreamDataset can have OnBad::Skip or OnBad::Stop");
}

// Some samples of another data set.
class Subset : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> index)
      : whole_(std::move(whole)), index_(std::move(index)) {}

  int64_t size() const override {
    return static_cast<int64_t>(index_.size());
  }
  Sample get(int64_t index) const override {
    return whole_->get(of_whole(index));
  }
  int64_t label(int64_t index) const override {
    return whole_->label(of_whole(index));
  }
  std::string sample_name(int64_t index) const override {
    return whole_->sample_name(of_whole(index));
  }
  bool encoded() const override {
    return whole_->encoded();
  }

 private:
  int64_t of_whole(int64_t index) const {
    return index_[static_cast<size_t>(index)];
  }
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> index_;
};

} // namespace

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : dataset_(std::move(dataset)), options_(options), report_(std::make_shared<Report>()) {
  check_options(options_, dataset_ == nullptr ? 0 : dataset_->size(), /*streamed=*/false);
}

DataLoader::DataLoader(std::shared_ptr<const StreamDataset> dataset, const LoaderOptions& options)
    : stream_(std::move(dataset)), options_(options), report_(std::make_shared<Report>()) {
  check_options(options_, stream_ == nullptr ? 0 : stream_->size(), /*streamed=*/true);
}

DataLoader DataLoader::with_views(std::vector<Pipeline> pipelines) const {
  for (const auto& pipeline : pipelines) {
    check(
        pipeline.leading_crop() > 0,
        "DataLoader::with_views",
        "a pipeline must begin with RandomResizedCrop, received one of {} transforms that does not",
        pipeline.transforms().size());
  }
  auto loader = *this;
  loader.views_ = std::move(pipelines);
  return loader;
}

DataLoader DataLoader::shard(const Shard& part) const {
  check(
      part.count >= 1 && part.rank >= 0 && part.rank < part.count && part.local_count >= 1,
      "DataLoader::shard",
      "part {} of {} does not exist",
      part.rank,
      part.count);
  auto loader = *this;
  loader.part_ = part;
  return loader;
}

DataLoader DataLoader::labelled_share(double share, uint64_t seed) const {
  constexpr auto here = "DataLoader::labelled_share";
  check(share > 0 && share <= 1, here, "share must be in (0, 1], received {}", share);
  check(dataset_ != nullptr, here, "the samples must have numbers, which those of a StreamDataset do not");
  std::map<int64_t, std::vector<int64_t>> by_label;
  for (const auto i : random_permutation(samples(), seed, 0)) {
    by_label[dataset_->label(i)].push_back(i);
  }
  check(by_label.begin()->first >= 0, here, "every sample needs a label");
  std::vector<int64_t> index;
  for (const auto& [label, all] : by_label) {
    constexpr double kRounding = 1e-9; // 0.07 * 100 is a little more than 7
    const auto count = static_cast<std::ptrdiff_t>(std::ceil(share * static_cast<double>(all.size()) - kRounding));
    index.insert(index.end(), all.begin(), all.begin() + count);
  }
  std::sort(index.begin(), index.end());
  auto loader = *this;
  loader.dataset_ = std::make_shared<Subset>(dataset_, std::move(index));
  loader.options_.batch_size = std::min(options_.batch_size, loader.samples());
  loader.report_ = std::make_shared<Report>();
  return loader;
}

DataLoader DataLoader::in_order() const {
  auto loader = *this;
  loader.options_.shuffle = loader.options_.drop_last = false;
  return loader;
}

int64_t DataLoader::largest_label() const {
  check(
      dataset_ != nullptr,
      "DataLoader::largest_label",
      "the samples must have numbers, which those of a StreamDataset do not");
  int64_t largest = -1;
  for (int64_t i = 0; i < samples(); ++i) {
    largest = std::max(largest, dataset_->label(i));
  }
  return largest;
}

bool DataLoader::can_crop(const std::vector<Pipeline>& pipelines) const {
  const bool encoded = dataset_ != nullptr ? dataset_->encoded() : stream_->encoded();
  return encoded && options_.resize == 0 &&
      std::all_of(pipelines.begin(), pipelines.end(), [](const Pipeline& p) { return p.leading_crop() > 0; });
}

int64_t DataLoader::workers() const {
  constexpr int64_t kMost = 16;
  return options_.num_workers >= 0 ? options_.num_workers : std::min(share_of_cores(part_.local_count), kMost);
}

std::string DataLoader::description() const {
  auto text = fmt::format(
      "{} samples in {}{} batches of {}{}, seed {}",
      samples(),
      batches(),
      options_.shuffle ? " shuffled" : "",
      options_.batch_size,
      options_.drop_last ? ", the last one full" : "",
      options_.seed);
  if (dataset_ != nullptr) {
    constexpr int64_t kNames = 16;
    std::string names; // without folders: a data set may be moved
    for (int64_t i = 0; i < kNames; ++i) {
      names += std::filesystem::path(dataset_->sample_name(i * samples() / kNames)).filename().string() + '\n';
    }
    text += fmt::format(", names {:08x}", crc32(names));
  }
  return text;
}

BatchStream DataLoader::epoch(int64_t number, int64_t first_batch) const {
  check(
      first_batch >= 0 && first_batch <= batches(),
      "DataLoader::epoch",
      "first_batch must be 0 to {}, received {}",
      batches(),
      first_batch);
  auto state = std::make_shared<BatchStream::State>(*this, number, first_batch);
  BatchStream stream(state); // stops the workers that have started if another one cannot
  state->start_workers(workers());
  return stream;
}

int64_t DataLoader::batches() const {
  const int64_t whole = samples() / options_.batch_size;
  return options_.drop_last || samples() % options_.batch_size == 0 ? whole : whole + 1;
}

int64_t DataLoader::samples() const {
  return dataset_ != nullptr ? dataset_->size() : stream_->size();
}

std::vector<BadSample> DataLoader::bad_samples() const {
  const std::lock_guard lock(report_->mutex);
  std::vector<BadSample> samples;
  samples.reserve(report_->bad.size());
  for (const auto& [index, sample] : report_->bad) {
    samples.push_back(sample);
  }
  return samples;
}

LoaderTimes DataLoader::times() const {
  const auto seconds = [](const std::atomic<int64_t>& nanoseconds) { return 1e-9 * static_cast<double>(nanoseconds); };
  const auto& times = report_->times;
  return {seconds(times.read), seconds(times.decode), seconds(times.crop), report_->samples};
}

BatchStream::BatchStream(std::shared_ptr<State> state) : state_(std::move(state)) {}

BatchStream::BatchStream(BatchStream&&) noexcept = default;

BatchStream& BatchStream::operator=(BatchStream&& other) noexcept {
  BatchStream mine(std::move(other));
  std::swap(state_, mine.state_);
  return *this;
}

BatchStream::~BatchStream() {
  if (state_ != nullptr) {
    state_->stop();
  }
}

std::optional<Batch> BatchStream::next() {
  return state_->next();
}

LoaderPosition BatchStream::position() const {
  return {state_->epoch, state_->taken};
}

} // namespace barlow
