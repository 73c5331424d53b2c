// SPDX-License-Identifier: Apache-2.0
#include <barlow/data.h>

#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <variant>

#include <torch/torch.h>

#include <barlow/random.h>

#include "check.h"

namespace barlow {
namespace {

using torch::Tensor;

int64_t worker_count(int64_t asked) {
  if (asked >= 0) {
    return asked;
  }
  return std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, 8);
}

// torch::stack without its threads: the workers are the parallelism.
Tensor stack(const std::vector<Tensor>& images) {
  auto shape = images[0].sizes().vec();
  shape.insert(shape.begin(), static_cast<int64_t>(images.size()));
  auto batch = torch::empty(shape, images[0].options());
  auto* to = static_cast<char*>(batch.data_ptr());
  for (const auto& image : images) {
    std::memcpy(to, image.contiguous().data_ptr(), image.nbytes());
    to += image.nbytes();
  }
  return batch;
}

Batch collate(const Dataset& dataset, std::vector<int64_t> index) {
  std::vector<Tensor> images;
  std::vector<int64_t> labels;
  bool labelled = false;
  for (const auto i : index) {
    auto sample = dataset.get(i);
    check(
        sample.image.defined() && sample.image.dim() == 3 && sample.image.is_cpu(),
        "DataLoader",
        "an image must be [C,H,W] on the CPU, received {} from {}",
        describe(sample.image),
        dataset.sample_name(i));
    check(
        images.empty() ||
            (sample.image.sizes() == images[0].sizes() && sample.image.scalar_type() == images[0].scalar_type()),
        "DataLoader",
        "the images of a batch must be alike, received {} from {} and {} from {}; give a size, "
        "FolderOptions{{.resize = 224}} say",
        describe(sample.image),
        dataset.sample_name(i),
        images.empty() ? "" : describe(images[0]),
        dataset.sample_name(index[0]));
    images.push_back(std::move(sample.image));
    labels.push_back(sample.label);
    labelled = labelled || sample.label >= 0;
  }
  Batch batch;
  batch.x = stack(images);
  if (labelled) {
    batch.y = torch::tensor(labels, torch::kLong);
  }
  batch.index = std::move(index);
  return batch;
}

} // namespace

// Workers claim batch numbers in order and leave the results in `ready`; at most `window` batches exist at a time.
struct BatchStream::Impl {
  using Result = std::variant<Batch, std::exception_ptr>;

  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  int64_t number = 0, batches = 0;
  std::vector<int64_t> order;

  std::mutex mutex;
  std::condition_variable changed;
  int64_t claimed = 0, taken = 0, window = 0;
  bool stopped = false;
  std::map<int64_t, Result> ready;
  std::vector<std::thread> workers;

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopped = true;
    }
    changed.notify_all();
    for (auto& worker : workers) {
      worker.join();
    }
  }

  Batch fetch(int64_t b) const {
    const int64_t first = b * options.batch_size;
    const int64_t last = std::min<int64_t>(first + options.batch_size, static_cast<int64_t>(order.size()));
    auto batch = collate(*dataset, {order.begin() + first, order.begin() + last});
    batch.epoch = number;
    batch.seed = options.seed;
    return batch;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return stopped || claimed == batches || claimed < taken + window; });
      if (stopped || claimed == batches) {
        return;
      }
      const int64_t b = claimed++;
      lock.unlock();
      Result result;
      try {
        result = fetch(b);
      } catch (...) {
        result = std::current_exception();
      }
      lock.lock();
      ready.emplace(b, std::move(result));
      changed.notify_all();
    }
  }

  Batch take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ready.count(taken) != 0; });
    auto result = std::move(ready.extract(taken).mapped());
    ++taken;
    lock.unlock();
    changed.notify_all();
    if (auto* error = std::get_if<std::exception_ptr>(&result)) {
      std::rethrow_exception(*error);
    }
    return std::get<Batch>(std::move(result));
  }
};

BatchStream::BatchStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BatchStream::BatchStream(BatchStream&&) noexcept = default;
BatchStream& BatchStream::operator=(BatchStream&&) noexcept = default;
BatchStream::~BatchStream() = default;

std::optional<Batch> BatchStream::next() {
  if (impl_->taken == impl_->batches) {
    return std::nullopt;
  }
  return impl_->workers.empty() ? impl_->fetch(impl_->taken++) : impl_->take();
}

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : dataset_(std::move(dataset)), options_(options) {
  constexpr auto here = "DataLoader";
  check(dataset_ != nullptr && dataset_->size() > 0, here, "the data set must not be empty");
  check(options_.batch_size >= 1, here, "batch_size must be at least 1, received {}", options_.batch_size);
  check(
      !options_.drop_last || options_.batch_size <= samples(),
      here,
      "batch_size {} is larger than the set of {} samples; use at most {}",
      options_.batch_size,
      samples(),
      samples());
}

BatchStream DataLoader::epoch(int64_t number) const {
  auto impl = std::make_unique<BatchStream::Impl>();
  impl->dataset = dataset_;
  impl->options = options_;
  impl->number = number;
  impl->batches = batches();
  if (options_.shuffle) {
    impl->order = random_permutation(samples(), options_.seed, number);
  } else {
    impl->order.resize(static_cast<size_t>(samples()));
    std::iota(impl->order.begin(), impl->order.end(), 0);
  }
  const int64_t workers = std::min(worker_count(options_.num_workers), impl->batches);
  impl->window = 2 * workers;
  for (int64_t i = 0; i < workers; ++i) {
    impl->workers.emplace_back(&BatchStream::Impl::work, impl.get());
  }
  return BatchStream(std::move(impl));
}

int64_t DataLoader::batches() const {
  const int64_t whole = samples() / options_.batch_size;
  return options_.drop_last || samples() % options_.batch_size == 0 ? whole : whole + 1;
}

int64_t DataLoader::samples() const {
  return dataset_->size();
}

} // namespace barlow
