// SPDX-License-Identifier: Apache-2.0
// The workers of a loader and the order they keep. Samples are claimed in their order, a few at a time; a batch is made
// of all its samples, whichever worker brings them, so the first batch is every worker's first work.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include <barlow/data.h>

#include "report.h"
#include "sample_maker.h"

namespace barlow {

/// A sample ready for its batch.
struct Made {
  std::vector<at::Tensor> images{}; ///< one, or one of each view; none: the sample was bad
  int64_t index = 0, label = -1;
};

struct BatchStream::State : std::enable_shared_from_this<BatchStream::State> {
  State(const DataLoader& loader_, int64_t epoch_, int64_t first_batch);

  void start_workers(int64_t count);
  std::optional<Batch> next();

  /// Ends the workers, and waits for them; one that does not come back within the time limit is left behind, with a
  /// share in this state.
  void stop();

  const DataLoader loader;
  const int64_t epoch;
  int64_t taken; ///< batches that next() gave, or began with

 private:
  using Clock = std::chrono::steady_clock;

  struct Slot { // a batch in the making
    size_t begin = 0, end = 0; // the part that this loader gives, all of it but with DataLoader::shard
    size_t size = 0, claimed = 0, pending = 0; // samples: wanted, given to workers, not finished by them
    std::vector<Made> made{};
    int64_t first_index = 0;
    bool ready = false;
    std::exception_ptr error{};
    Batch batch{};
  };
  struct Job { // samples in a row of a slot
    std::shared_ptr<Slot> slot{};
    size_t first = 0; // place in the slot
    std::vector<SampleStream::Item> items{};
  };
  struct Worker {
    std::thread thread{};
    Job job{};
    size_t next = 0; // item of the job
    std::optional<Clock::time_point> since{}; // it has been at this sample, or reading the stream
    bool reading = false, abandoned = false, done = false;
  };

  // With `mutex` held:
  bool all_claimed() const;
  std::shared_ptr<Slot> slot_to_fill();
  void leave_overdue_behind();
  void finish_short(const std::shared_ptr<Slot>& slot);
  void finish_if_complete(const std::shared_ptr<Slot>& slot, std::unique_lock<std::mutex>& lock);

  // Without:
  void work(const std::shared_ptr<Worker>& worker);
  void add_worker();
  bool claim(Worker& worker);
  bool read_items(Job& job, size_t count);
  static void keep_part(Job& job);
  void do_job(Worker& worker);
  Made fetch(const SampleStream::Item& item, int64_t first_index);
  Made fetch_or_throw(const SampleStream::Item& item, int64_t first_index);
  Made replacement(int64_t index, int64_t first_index);
  void record_bad(int64_t index, const std::string& name, const std::string& reason);
  std::string name_of(int64_t index) const;
  void complete(Slot& slot);
  void complete_without_rows(Slot& slot);

  bool is_overdue(const Worker& worker) const;

  SampleMaker maker_;
  int64_t batches_;
  std::vector<int64_t> order_{}; // of a Dataset
  std::unique_ptr<SampleStream> stream_{};
  int64_t to_skip_ = 0; // of the stream
  size_t chunk_ = 1; // samples claimed at once
  size_t window_ = 2; // slots at a time

  std::mutex feed_{}; // who holds it claims samples; taken before mutex_
  std::mutex mutex_{}; // for what follows
  std::condition_variable room_{}, finished_{};
  std::deque<std::shared_ptr<Slot>> slots_{}; // the first is batch `taken`
  std::vector<at::Tensor> shapes_{}; // images [0,...] of a batch, once there was one
  bool labelled_ = false; // whether it had labels
  std::deque<Job> again_{}; // what workers left behind had still to do
  std::vector<std::shared_ptr<Worker>> workers_{};
  int64_t opened_; // batches that have or had a slot
  bool stopped_ = false, ended_ = false; // ended: the stream has no more
};

} // namespace barlow
