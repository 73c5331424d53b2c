// SPDX-License-Identifier: Apache-2.0
#include "signals.h"

#include <atomic>

namespace barlow {
namespace {

std::atomic<int> last_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void note(int signal) {
  last_signal = signal;
}

} // namespace

SignalWatch::SignalWatch(const std::vector<int>& signals) {
  last_signal = 0;
  for (const int signal : signals) {
    struct sigaction action{};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    if (signal == SIGINT) {
      action.sa_flags |= static_cast<int>(SA_RESETHAND);
    }
    struct sigaction old{};
    if (::sigaction(signal, &action, &old) == 0) {
      old_.emplace_back(signal, old);
    }
  }
}

SignalWatch::~SignalWatch() {
  for (const auto& [signal, old] : old_) {
    ::sigaction(signal, &old, nullptr);
  }
}

int SignalWatch::received() {
  return last_signal;
}

} // namespace barlow
