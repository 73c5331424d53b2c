// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <utility>
#include <vector>

namespace barlow {

/// Notes these signals while it lives, in place of what they do otherwise. SIGINT is noted once: a second one acts as
/// it did before.
class SignalWatch {
 public:
  explicit SignalWatch(const std::vector<int>& signals);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  static int received(); ///< the last one, 0 if there was none

 private:
  std::vector<std::pair<int, struct sigaction>> old_;
};

} // namespace barlow
