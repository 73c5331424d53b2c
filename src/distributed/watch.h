// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/core/ivalue.h>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <barlow/distributed.h>

namespace barlow {

/// Signs of life. Each process counts up a number in the store, each second; rank 0 looks at all of them, the others at
/// rank 0's and at what it found. Nothing follows from a silent process until an operation waits for it: then that
/// operation fails.
class Watch {
 public:
  using FuturePtr = c10::intrusive_ptr<c10::ivalue::Future>;

  /// `store`: for this watch alone. `names`: of the processes, by rank. `abort`: ends what waits on the device.
  Watch(
      const ProcessGroupOptions& options,
      c10::intrusive_ptr<c10d::Store> store,
      std::vector<std::string> names,
      std::function<void()> abort);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// The same result, or an error once a process is lost.
  FuturePtr guard(const FuturePtr& result);
  /// Work in line on a device, of which the host learns late.
  void note(c10::intrusive_ptr<c10d::Work> on_device);

  /// Throws ProcessGroupError for an operation that failed by `error`, when it is known why, with the name of the
  /// process to blame if one is lost.
  [[noreturn]] void explain(const std::string& operation, const std::string& error);

  /// Whether an operation has failed: its threads may wait for ever, so that nobody must wait for them.
  bool failed() const;

  /// No more signs of life: for one that is left to itself, since its threads may wait for ever.
  void retire();
  std::chrono::milliseconds interval() const; ///< between two looks

 private:
  using Clock = std::chrono::steady_clock;
  // Outlives this object: callbacks of operations that never end have it.
  struct State {
    std::mutex mutex{};
    std::condition_variable changed{};
    std::list<FuturePtr> pending{};
    c10::intrusive_ptr<c10d::Work> on_device{};
    Clock::time_point answered = Clock::now(); // the store
    std::string lost{}; // who, in words; empty while all are there
    bool acts = false; // the lost process is waited for, or was
    bool failed = false, told = false, stop = false;
  };

  template <class Work>
  void repeat(Work work);
  void beat();
  void tick();
  void judge();
  void look_at(const std::vector<int64_t>& ranks);
  void lose(const std::string& who);
  bool waits_for_device() const;
  void fail_pending();
  void end_if_stuck();
  std::string key(int64_t rank) const;

  const ProcessGroupOptions options_;
  const c10::intrusive_ptr<c10d::Store> store_;
  const std::vector<std::string> names_;
  const std::function<void()> abort_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();

  struct Seen {
    std::vector<uint8_t> beat{};
    Clock::time_point at = Clock::now();
  };
  std::vector<Seen> seen_; // by rank
  int64_t beats_ = 0;
  std::optional<Clock::time_point> acted_{};
  bool aborted_ = false;
  std::thread beating_{}, judging_{}; // the one may have to wait for the store, the other never waits
};

} // namespace barlow
