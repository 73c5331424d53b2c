// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>

#include <c10/core/Event.h>

#include <barlow/learner.h>

namespace barlow {

/// The values of steps on their way from the device: the host asks for them `lag` steps later, when they have come, so
/// that it need not wait for the device within a step.
class LateValues {
 public:
  LateValues(const at::Device& device, int64_t lag) : device_(device), lag_(lag) {}

  /// Starts the copy of loss and logged scalars; `step` has what the host knows.
  void push(StepValues step, const at::Tensor& loss, const std::vector<std::pair<std::string, at::Tensor>>& logged);

  /// The oldest step's values if it is more than `lag` steps old, or if `all`.
  std::optional<StepValues> pop(bool all);

  void clear() {
    pending_.clear();
  }

 private:
  struct Pending {
    StepValues step;
    at::Tensor numbers; // float64, on the host when the event has come
    std::optional<c10::Event> arrived;
  };
  at::Device device_;
  int64_t lag_;
  std::deque<Pending> pending_;
};

} // namespace barlow
