// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include <c10/core/Stream.h>

#include <barlow/data.h>

namespace barlow {

/// Brings batches to a device on a stream of its own, so that the device copies one while it computes on the last.
class BatchUpload {
 public:
  explicit BatchUpload(const at::Device& device);

  /// The batch's tensors on the device, as the present stream may use them: nobody waits if they are page-locked.
  void move(Batch& batch) const;

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_; // none for the CPU
};

} // namespace barlow
