// SPDX-License-Identifier: Apache-2.0
#include "threads.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <thread>

#include <dlfcn.h>
#include <sched.h>

#include <ATen/Parallel.h>

namespace barlow {
namespace {

// Cores' worth of time in a period: version 2 has both numbers in a file, version 1 one in each.
std::optional<double> quota() {
  std::string first;
  double period = 0;
  if (std::ifstream in("/sys/fs/cgroup/cpu.max"); in >> first >> period) {
    return first == "max" || period <= 0 ? std::nullopt : std::optional(std::stod(first) / period);
  }
  double time = 0;
  std::ifstream time_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (time_file >> time && period_file >> period && time > 0 && period > 0) {
    return time / period;
  }
  return std::nullopt;
}

int64_t cores_of_affinity() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                     : static_cast<int64_t>(std::thread::hardware_concurrency());
}

} // namespace

int64_t share_of_cores(int64_t processes) {
  const bool own = cores_of_affinity() * processes <= static_cast<int64_t>(std::thread::hardware_concurrency());
  return own ? available_cores() : std::max<int64_t>(available_cores() / processes, 1);
}

int64_t available_cores() {
  const auto cores = cores_of_affinity();
  const double limit = quota().value_or(std::numeric_limits<double>::infinity());
  return std::clamp<int64_t>(
      cores, 1, std::isfinite(limit) ? std::max<int64_t>(std::llround(std::ceil(limit)), 1) : cores);
}

void keep_to_this_thread() {
  at::get_num_threads(); // ATen sets a thread's number at its first call, and must not do so later
  using SetThreads = void (*)(int);
  // LibTorch's own OpenMP, whichever it is; at::set_num_threads would set every thread's.
  static const auto set_threads = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads")); // NOLINT
  if (set_threads != nullptr) {
    set_threads(1);
  }
}

} // namespace barlow
