// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string_view>

#include <torch/cuda.h>

#include "check.h"

namespace barlow {

/// Throws Error "[name] ..." unless the device is the CPU or a GPU that is there.
inline void check_device(const at::Device& device, std::string_view name) {
  check(
      device.is_cpu() ||
          (device.is_cuda() && std::max<int>(device.index(), 0) < static_cast<int>(torch::cuda::device_count())),
      name,
      "there is no device '{}' here; use the CPU",
      device.str());
}

} // namespace barlow
