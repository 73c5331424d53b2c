// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace barlow {

/// Cores that this process may use: its affinity, cut to the CPU quota of its control group (a container's allowance).
int64_t available_cores();

/// Its share of them, when `processes` run on this machine: all of them if the launcher gave each its own.
int64_t share_of_cores(int64_t processes);

/// From now on OpenMP, and what stands on it in LibTorch, works in the calling thread alone.
void keep_to_this_thread();

} // namespace barlow
