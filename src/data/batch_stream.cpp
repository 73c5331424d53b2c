// SPDX-License-Identifier: Apache-2.0
#include "batch_stream.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include <torch/torch.h>

#include <barlow/random.h>

#include "../check.h"
#include "../threads.h"
#include "files.h"

namespace barlow {
namespace {

using torch::Tensor;
constexpr auto kHere = "DataLoader";
constexpr int64_t kReplacementView = 0xfe; // keys the draws of replacements
constexpr int64_t kReplacements = 100;

// One of each sample, together; bytes among floats become floats. torch::stack would start threads.
template <class Name>
Tensor stack(const std::vector<const Made*>& samples, size_t which, bool pinned, const Name& name) {
  const auto image_of = [&](size_t i) -> const Tensor& { return samples[i]->images[which]; };
  auto type = image_of(0).scalar_type();
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto& image = image_of(i);
    check(
        image.sizes() == image_of(0).sizes(),
        kHere,
        "the images of a batch must be of one size, received {} from {} and {} from {}; give a size, .resize = 224 "
        "say, or pipelines that begin with a crop",
        describe(image),
        name(samples[i]->index),
        describe(image_of(0)),
        name(samples[0]->index));
    type = c10::promoteTypes(type, image.scalar_type());
  }
  auto shape = image_of(0).sizes().vec();
  shape.insert(shape.begin(), static_cast<int64_t>(samples.size()));
  auto batch = torch::empty(shape, torch::dtype(type).pinned_memory(pinned));
  auto* to = static_cast<char*>(batch.data_ptr());
  for (size_t i = 0; i < samples.size(); ++i) {
    auto image = image_of(i);
    if (image.scalar_type() != type) {
      const bool bytes = image.scalar_type() == torch::kByte;
      image = bytes ? image.to(type).div_(255) : image.to(type);
    }
    image = image.contiguous();
    std::memcpy(to, image.data_ptr(), image.nbytes());
    to += image.nbytes();
  }
  return batch;
}

// What the exception that is being handled says.
std::string reason() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception that says nothing";
  }
}

void remove_rows(Batch& batch) {
  const auto none = [](Tensor& x) {
    if (x.defined()) {
      x = x.narrow(0, 0, 0);
    }
  };
  none(batch.x);
  none(batch.y);
  std::for_each(batch.views.begin(), batch.views.end(), none);
  batch.index.clear();
}

} // namespace

BatchStream::State::State(const DataLoader& loader_, int64_t epoch_, int64_t first_batch)
    : loader(loader_),
      epoch(epoch_),
      taken(first_batch),
      maker_(loader.options(), loader.views_),
      batches_(loader.batches()),
      opened_(first_batch) {
  const auto& o = loader.options();
  if (loader.stream_ != nullptr) {
    stream_ = loader.stream_->stream(o.seed, epoch, o.shuffle);
    check(stream_ != nullptr, kHere, "the data set gave no stream of its samples");
    to_skip_ = first_batch * o.batch_size;
  } else if (o.shuffle) {
    order_ = random_permutation(loader.samples(), o.seed, epoch);
  } else {
    order_.resize(static_cast<size_t>(loader.samples()));
    std::iota(order_.begin(), order_.end(), 0);
  }
}

void BatchStream::State::start_workers(int64_t count) {
  const int64_t batch = loader.options().batch_size, threads = std::max<int64_t>(count, 1);
  chunk_ = static_cast<size_t>(count == 0 ? batch : std::clamp<int64_t>(batch / (4 * threads), 1, 32));
  window_ = static_cast<size_t>(2 + threads / batch);
  for (int64_t i = 0; i < count; ++i) {
    add_worker();
  }
}

void BatchStream::State::add_worker() {
  auto worker = std::make_shared<Worker>();
  workers_.push_back(worker);
  worker->thread = std::thread([self = shared_from_this(), worker] { self->work(worker); });
}

void BatchStream::State::stop() {
  std::unique_lock lock(mutex_);
  stopped_ = true;
  room_.notify_all();
  const auto all_done = [&] {
    return std::all_of(workers_.begin(), workers_.end(), [](const auto& w) { return w->done; });
  };
  if (const double limit = loader.options().time_limit; limit > 0) {
    finished_.wait_for(lock, std::chrono::duration<double>(limit), all_done);
  } else {
    finished_.wait(lock, all_done);
  }
  const auto workers = std::exchange(workers_, {});
  for (const auto& worker : workers) {
    worker->abandoned = !worker->done;
  }
  lock.unlock();
  for (const auto& worker : workers) {
    worker->abandoned ? worker->thread.detach() : worker->thread.join();
  }
}

// --- taking batches

bool BatchStream::State::all_claimed() const {
  return again_.empty() && (ended_ || opened_ == batches_) &&
      (slots_.empty() || slots_.back()->claimed == slots_.back()->size);
}

std::optional<Batch> BatchStream::State::next() {
  Worker caller; // for a loader without workers
  std::unique_lock lock(mutex_);
  while (true) {
    if (slots_.empty() && all_claimed()) {
      return std::nullopt;
    }
    if (slots_.empty() || !slots_.front()->ready) {
      if (workers_.empty()) {
        lock.unlock();
        if (claim(caller)) {
          do_job(caller);
        }
        lock.lock();
      } else if (const double limit = loader.options().time_limit; limit > 0) {
        finished_.wait_for(lock, std::chrono::duration<double>(std::min(limit / 4, 1.)));
        leave_overdue_behind();
      } else {
        finished_.wait(lock);
      }
      continue;
    }
    const auto slot = std::move(slots_.front());
    slots_.pop_front();
    ++taken;
    room_.notify_all();
    if (slot->error) {
      std::rethrow_exception(slot->error);
    }
    if (slot->batch.size() > 0 || loader.part_.count > 1) { // else all its samples were bad
      return std::move(slot->batch);
    }
  }
}

// --- claiming samples

std::shared_ptr<BatchStream::State::Slot> BatchStream::State::slot_to_fill() {
  if (!slots_.empty() && slots_.back()->claimed < slots_.back()->size) {
    return slots_.back();
  }
  if (ended_ || opened_ == batches_ || slots_.size() >= window_) {
    return nullptr;
  }
  const auto& o = loader.options();
  auto slot = std::make_shared<Slot>();
  slot->size = static_cast<size_t>(std::min(o.batch_size, loader.samples() - opened_ * o.batch_size));
  slot->made.resize(slot->size);
  const auto rank = static_cast<size_t>(loader.part_.rank), count = static_cast<size_t>(loader.part_.count);
  slot->begin = slot->size * rank / count;
  slot->end = slot->size * (rank + 1) / count;
  slots_.push_back(slot);
  ++opened_;
  return slot;
}

// False if there is nothing left to do.
bool BatchStream::State::claim(Worker& worker) {
  const std::lock_guard feed(feed_);
  std::unique_lock lock(mutex_);
  Job job;
  room_.wait(lock, [&] {
    return stopped_ || worker.abandoned || !again_.empty() || (job.slot = slot_to_fill()) != nullptr || all_claimed();
  });
  if (stopped_ || worker.abandoned || (again_.empty() && job.slot == nullptr)) {
    return false;
  }
  if (!again_.empty()) {
    job = std::move(again_.front());
    again_.pop_front();
  } else {
    job.first = job.slot->claimed;
    const size_t count = std::min(chunk_, job.slot->size - job.first);
    worker.reading = true;
    worker.since = Clock::now();
    lock.unlock();
    const bool all = read_items(job, count);
    lock.lock();
    worker.reading = false;
    worker.since.reset();
    job.slot->claimed += job.items.size();
    if (!job.items.empty() && job.first == 0) {
      job.slot->first_index = job.items[0].index;
    }
    keep_part(job);
    job.slot->pending += job.items.size();
    if (!all) {
      finish_short(job.slot);
    }
    if (job.items.empty()) { // or else who makes its samples finishes the batch
      finish_if_complete(job.slot, lock);
    }
  }
  worker.job = std::move(job);
  worker.next = 0;
  return true;
}

// False if the stream ended before.
bool BatchStream::State::read_items(Job& job, size_t count) {
  if (stream_ == nullptr) {
    const auto begin = static_cast<size_t>((opened_ - 1) * loader.options().batch_size) + job.first;
    for (size_t i = 0; i < count; ++i) {
      job.items.push_back({.index = order_[begin + i]});
    }
    return true;
  }
  const Timed timed(loader.report_->times.read);
  try {
    for (; to_skip_ > 0; --to_skip_) {
      if (!stream_->next()) {
        return false;
      }
    }
    while (job.items.size() < count) {
      auto item = stream_->next();
      if (!item) {
        return false;
      }
      job.items.push_back(std::move(*item));
    }
    return true;
  } catch (...) {
    const std::lock_guard lock(mutex_);
    job.slot->error = std::current_exception();
    return false;
  }
}

// Samples of other processes are read, as far as reading is needed, and left.
void BatchStream::State::keep_part(Job& job) {
  if (job.slot->begin == job.slot->end && job.first == 0 && !job.items.empty()) {
    job.items.resize(1); // one of another process tells what images are like
    return;
  }
  const auto first = std::max(job.first, job.slot->begin);
  const auto end = std::min(job.first + job.items.size(), job.slot->end);
  if (first >= end) {
    job.items.clear();
    return;
  }
  const auto at = [&](size_t place) { return job.items.begin() + static_cast<std::ptrdiff_t>(place - job.first); };
  std::vector<SampleStream::Item> own(std::make_move_iterator(at(first)), std::make_move_iterator(at(end)));
  job.items = std::move(own);
  job.first = first;
}

// The stream has no more samples for the slot, the last one.
void BatchStream::State::finish_short(const std::shared_ptr<Slot>& slot) {
  ended_ = true;
  slot->size = slot->claimed;
  slot->made.resize(slot->size);
  const bool dropped = slot->error == nullptr &&
      (slot->size == 0 ||
       (loader.options().drop_last && static_cast<int64_t>(slot->size) < loader.options().batch_size));
  if (dropped) {
    slots_.pop_back();
  }
  finished_.notify_all();
  room_.notify_all();
}

// Makes the batch, without the lock, by who brought its last sample.
void BatchStream::State::finish_if_complete(const std::shared_ptr<Slot>& slot, std::unique_lock<std::mutex>& lock) {
  if (slot->pending > 0 || slot->claimed < slot->size || slot->ready) {
    return;
  }
  lock.unlock();
  complete(*slot);
  lock.lock();
  slot->ready = true;
  finished_.notify_all();
}

// --- the work

void BatchStream::State::work(const std::shared_ptr<Worker>& worker) {
  keep_to_this_thread();
  while (claim(*worker)) {
    do_job(*worker);
  }
  const std::lock_guard lock(mutex_);
  worker->done = true;
  finished_.notify_all();
}

void BatchStream::State::do_job(Worker& worker) {
  const auto slot = worker.job.slot;
  std::unique_lock lock(mutex_);
  while (!worker.abandoned && !stopped_ && worker.next < worker.job.items.size()) {
    const auto item = std::move(worker.job.items[worker.next]);
    worker.job.items[worker.next] = {.index = item.index, .name = item.name}; // should this worker be left behind
    const size_t place = worker.job.first + worker.next;
    worker.since = Clock::now();
    lock.unlock();
    Made made;
    std::exception_ptr error;
    try {
      made = fetch(item, slot->first_index);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    worker.since.reset();
    if (worker.abandoned) {
      return; // somebody else has done it
    }
    ++worker.next;
    slot->made[place] = std::move(made);
    if (error && !slot->error) {
      slot->error = error;
    }
    --slot->pending;
    finish_if_complete(slot, lock);
  }
}

std::string BatchStream::State::name_of(int64_t index) const {
  return loader.dataset_ != nullptr ? loader.dataset_->sample_name(index) : fmt::format("sample {}", index);
}

Made BatchStream::State::fetch_or_throw(const SampleStream::Item& item, int64_t first_index) {
  if (!item.error.empty()) {
    throw Error(item.error);
  }
  auto& report = *loader.report_;
  const double limit = loader.options().time_limit;
  const auto deadline = limit > 0
      ? Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit))
      : Clock::time_point::max();
  Sample read;
  if (stream_ == nullptr) {
    const Timed timed(report.times.read);
    read = loader.dataset_->get(item.index);
  }
  const auto& sample = stream_ == nullptr ? read : item.sample;
  const auto name = stream_ == nullptr ? name_of(item.index) : item.name;
  auto images = maker_.make(sample, name, {epoch, item.index, first_index}, deadline, report.times);
  ++report.samples;
  return {std::move(images), item.index, sample.label};
}

Made BatchStream::State::fetch(const SampleStream::Item& item, int64_t first_index) {
  try {
    return fetch_or_throw(item, first_index);
  } catch (const FileGone&) {
    throw;
  } catch (...) {
    if (loader.options().on_bad == OnBad::Stop) {
      throw;
    }
    record_bad(item.index, stream_ == nullptr ? name_of(item.index) : item.name, reason());
  }
  return loader.options().on_bad == OnBad::Replace ? replacement(item.index, first_index) : Made{};
}

Made BatchStream::State::replacement(int64_t index, int64_t first_index) {
  for (int64_t attempt = 0; attempt < kReplacements; ++attempt) {
    KeyedRandom random(loader.options().seed, epoch, index, kReplacementView, attempt);
    const int64_t other = random.below(loader.samples());
    try {
      return fetch_or_throw({.index = other}, first_index);
    } catch (const FileGone&) {
      throw;
    } catch (...) {
      record_bad(other, name_of(other), reason());
    }
  }
  throw Error(
      fmt::format(
          "[{}] no good sample found to replace {} in {} draws; look at DataLoader::bad_samples",
          kHere,
          name_of(index),
          kReplacements));
}

void BatchStream::State::record_bad(int64_t index, const std::string& name, const std::string& reason) {
  auto& report = *loader.report_;
  const std::lock_guard lock(report.mutex);
  report.bad.insert({index, {index, name, reason}});
  const auto bad = static_cast<double>(report.bad.size()), all = static_cast<double>(loader.samples());
  check(
      bad <= loader.options().max_bad * all,
      kHere,
      "{} of {} samples are bad, more than the share max_bad {}; the last one: {}: {}",
      report.bad.size(),
      loader.samples(),
      loader.options().max_bad,
      name,
      reason);
}

void BatchStream::State::complete(Slot& slot) {
  if (slot.error) {
    return;
  }
  std::vector<const Made*> good;
  for (const auto& made : slot.made) {
    if (!made.images.empty()) {
      good.push_back(&made);
    }
  }
  if (good.empty()) {
    complete_without_rows(slot);
    return;
  }
  auto& batch = slot.batch;
  const auto& o = loader.options();
  try {
    const auto together = [&](size_t which) {
      return stack(good, which, o.pin_memory, [&](int64_t index) { return name_of(index); });
    };
    if (loader.views_.empty()) {
      batch.x = together(0);
    }
    for (size_t v = 0; v < loader.views_.size(); ++v) {
      batch.views.push_back(together(v));
    }
    std::vector<int64_t> labels;
    bool labelled = false;
    for (const auto* made : good) {
      batch.index.push_back(made->index);
      labels.push_back(made->label);
      labelled = labelled || made->label >= 0;
    }
    if (labelled) {
      batch.y = torch::tensor(labels, torch::kLong);
    }
    batch.epoch = epoch;
    batch.seed = o.seed;
    batch.first = slot.first_index;
    if (slot.begin == slot.end) {
      remove_rows(batch);
    }
    if (loader.part_.count > 1) {
      const std::lock_guard lock(mutex_);
      labelled_ = labelled;
      shapes_.clear();
      for (const auto& image : good[0]->images) {
        shapes_.push_back(image.unsqueeze(0).narrow(0, 0, 0));
      }
    }
  } catch (...) {
    slot.error = std::current_exception();
  }
  slot.made.clear();
}

// A process has to go with the others though it has no good sample: with images of no rows.
void BatchStream::State::complete_without_rows(Slot& slot) {
  if (loader.part_.count == 1) {
    return;
  }
  std::unique_lock lock(mutex_);
  auto shapes = shapes_;
  bool labelled = labelled_;
  lock.unlock();
  try {
    if (shapes.empty()) {
      check(
          stream_ == nullptr,
          kHere,
          "the first batch of a stream has no good sample for process {}",
          loader.part_.rank);
      const auto other = replacement(slot.first_index, slot.first_index);
      labelled = other.label >= 0;
      for (const auto& image : other.images) {
        shapes.push_back(image.unsqueeze(0).narrow(0, 0, 0));
      }
    }
    auto& batch = slot.batch;
    if (loader.views_.empty()) {
      batch.x = shapes.at(0);
    } else {
      batch.views = std::move(shapes);
    }
    if (labelled) {
      batch.y = torch::empty({0}, torch::kLong);
    }
    batch.epoch = epoch;
    batch.seed = loader.options().seed;
    batch.first = slot.first_index;
  } catch (...) {
    slot.error = std::current_exception();
  }
  slot.made.clear();
}

// --- workers that do not come back

bool BatchStream::State::is_overdue(const Worker& worker) const {
  return worker.since && Clock::now() - *worker.since >= std::chrono::duration<double>(loader.options().time_limit);
}

// Their samples are bad; what else they had to do others do. A stream cannot be read past a sample that hangs.
void BatchStream::State::leave_overdue_behind() {
  const auto workers = workers_;
  for (const auto& worker : workers) {
    if (!is_overdue(*worker)) {
      continue;
    }
    const double limit = loader.options().time_limit;
    check(
        !worker->reading,
        kHere,
        "the data set gave no sample within the time limit of {} s; is its storage there?",
        limit);
    auto& job = worker->job;
    Job rest{.slot = job.slot, .first = job.first + worker->next};
    for (size_t i = worker->next; i < job.items.size(); ++i) {
      rest.items.push_back(std::move(job.items[i]));
    }
    rest.items[0].error =
        fmt::format("[DataLoader] reading or decoding took longer than the time limit of {} s", limit);
    again_.push_back(std::move(rest));
    worker->abandoned = true;
    worker->thread.detach();
    std::erase(workers_, worker);
    add_worker();
    room_.notify_all();
  }
}

} // namespace barlow
