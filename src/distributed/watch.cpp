// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <cstdlib>
#include <iostream>
#include <numeric>
#include <utility>

#include <barlow/callback.h>

#include "../check.h"

namespace barlow {
namespace {

using Seconds = std::chrono::duration<double>;
constexpr auto kLost = "lost";
constexpr auto kEnded = "ended";

std::vector<uint8_t> bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

} // namespace

Watch::Watch(
    const ProcessGroupOptions& options,
    c10::intrusive_ptr<c10d::Store> store,
    std::vector<std::string> names,
    std::function<void()> abort)
    : options_(options),
      store_(std::move(store)),
      names_(std::move(names)),
      abort_(std::move(abort)),
      seen_(static_cast<size_t>(options.size)) {
  beating_ = std::thread([this] { repeat([this] { beat(); }); });
  judging_ = std::thread([this] { repeat([this] { judge(); }); });
}

Watch::~Watch() {
  retire();
  judging_.join();
  beating_.join();
  try {
    store_->set(key(options_.rank), bytes(kEnded));
  } catch (const std::exception&) { // NOLINT(bugprone-empty-catch): the store has gone before
  }
}

std::string Watch::key(int64_t rank) const {
  return fmt::format("beat/{}", rank);
}

Watch::FuturePtr Watch::guard(const FuturePtr& result) {
  auto guarded = c10::make_intrusive<c10::ivalue::Future>(result->elementType());
  {
    const std::lock_guard lock(state_->mutex);
    state_->pending.push_back(guarded);
  }
  result->addCallback([state = state_, guarded](c10::ivalue::Future& done) {
    {
      const std::lock_guard lock(state->mutex);
      const auto at = std::find(state->pending.begin(), state->pending.end(), guarded);
      if (at == state->pending.end()) {
        return; // it was failed before
      }
      state->pending.erase(at);
      state->failed = state->failed || done.hasError();
    }
    if (done.hasError()) {
      guarded->setError(done.exception_ptr());
    } else {
      guarded->markCompleted(done.value());
    }
  });
  return guarded;
}

void Watch::note(c10::intrusive_ptr<c10d::Work> on_device) {
  const std::lock_guard lock(state_->mutex);
  state_->on_device = std::move(on_device);
}

bool Watch::failed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failed;
}

void Watch::explain(const std::string& operation, const std::string& error) {
  std::unique_lock lock(state_->mutex);
  state_->failed = true;
  const auto limit = Seconds(options_.death_after + 2);
  const bool known = state_->changed.wait_for(lock, limit, [&] { return !state_->lost.empty(); });
  state_->told = true;
  const auto reason = known ? state_->lost : first_line(error);
  lock.unlock();
  throw ProcessGroupError(
      fmt::format(
          "[ProcessGroup] rank {} of {} could not finish '{}': {}; start the processes again, checkpoints are whole",
          options_.rank,
          options_.size,
          operation,
          reason));
}

void Watch::retire() {
  const std::lock_guard lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
}

std::chrono::milliseconds Watch::interval() const {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * std::min(1., options_.death_after / 5)));
}

template <class Work>
void Watch::repeat(Work work) {
  std::unique_lock lock(state_->mutex);
  while (!state_->changed.wait_for(lock, interval(), [&] { return state_->stop; })) {
    lock.unlock();
    work();
    lock.lock();
  }
}

void Watch::beat() {
  try {
    tick();
    const std::lock_guard lock(state_->mutex);
    state_->answered = Clock::now();
  } catch (const std::exception&) { // it is gone, or busy if the launcher keeps it
    if (!options_.launcher_store) {
      lose(fmt::format("rank 0 ({}) is gone", names_[0]));
    }
  }
}

void Watch::judge() {
  Clock::time_point answered;
  {
    const std::lock_guard lock(state_->mutex);
    answered = state_->answered;
  }
  if (Clock::now() - answered > Seconds(options_.death_after)) {
    lose(
        fmt::format(
            "{} has not answered for {} s",
            options_.launcher_store ? std::string("the launcher's store") : fmt::format("rank 0 ({})", names_[0]),
            options_.death_after));
  }
  fail_pending();
  end_if_stuck();
}

void Watch::tick() {
  store_->set(key(options_.rank), bytes(std::to_string(++beats_)));
  if (store_->check({kLost})) {
    const auto text = store_->get(kLost);
    lose({text.begin(), text.end()});
  }
  std::vector<int64_t> ranks{0};
  if (options_.rank == 0) {
    ranks.resize(static_cast<size_t>(options_.size) - 1);
    std::iota(ranks.begin(), ranks.end(), 1);
  }
  look_at(ranks);
}

void Watch::look_at(const std::vector<int64_t>& ranks) {
  std::vector<std::string> keys;
  keys.reserve(ranks.size());
  for (const auto rank : ranks) {
    keys.push_back(key(rank));
  }
  const auto beats = store_->multiGet(keys);
  for (size_t i = 0; i < ranks.size(); ++i) {
    auto& seen = seen_[static_cast<size_t>(ranks[i])];
    const auto who = fmt::format("rank {} ({})", ranks[i], names_[static_cast<size_t>(ranks[i])]);
    if (beats[i] != seen.beat) {
      seen = {beats[i], Clock::now()};
    }
    std::string lost;
    if (seen.beat == bytes(kEnded)) {
      lost = who + " has ended";
    } else if (Clock::now() - seen.at > Seconds(options_.death_after)) {
      lost = fmt::format("{} has given no sign of life for {} s", who, options_.death_after);
    }
    if (!lost.empty()) {
      store_->compareSet(kLost, {}, bytes(lost));
      lose(lost);
    }
  }
}

void Watch::lose(const std::string& who) {
  const std::lock_guard lock(state_->mutex);
  if (state_->lost.empty()) {
    state_->lost = who;
    state_->changed.notify_all();
  }
}

// Without the lock: CUDA may take its time.
bool Watch::waits_for_device() const {
  c10::intrusive_ptr<c10d::Work> work;
  {
    const std::lock_guard lock(state_->mutex);
    work = state_->on_device;
  }
  try {
    return work != nullptr && !work->isCompleted();
  } catch (const std::exception&) { // it has failed: nothing to wait for
    return false;
  }
}

// What waits for a lost process since the last look fails now.
void Watch::fail_pending() {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->lost.empty()) {
      return;
    }
  }
  const bool on_device = waits_for_device();
  std::list<FuturePtr> pending;
  std::string lost;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->pending.empty() && !on_device) {
      state_->acts = false;
      return;
    }
    if (!std::exchange(state_->acts, true)) {
      return; // it may be through in a moment
    }
    state_->failed = true;
    pending.swap(state_->pending);
    lost = state_->lost;
  }
  if (!acted_) {
    acted_ = Clock::now();
    std::cerr << fmt::format("ProcessGroup: rank {}: {}\n", options_.rank, lost) << std::flush;
  }
  for (const auto& future : pending) {
    future->setError(std::make_exception_ptr(ProcessGroupError(lost)));
  }
  if (on_device && !std::exchange(aborted_, true)) {
    std::thread(abort_).detach(); // it waits for what it ends
  }
}

void Watch::end_if_stuck() {
  const std::lock_guard lock(state_->mutex);
  if (acted_ && !state_->told && Clock::now() - *acted_ > Seconds(options_.death_after)) {
    std::cerr << fmt::format("ProcessGroup: rank {} does not come back from its device and is ended\n", options_.rank)
              << std::flush;
    std::_Exit(kExitInterrupted);
  }
}

} // namespace barlow
