// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>

#include <barlow/data.h>

#include "sample_maker.h"

namespace barlow {

/// What a loader and its copies know of their samples.
struct DataLoader::Report {
  std::mutex mutex;
  std::map<int64_t, BadSample> bad; // by index
  WorkTimes times;
  std::atomic<int64_t> samples = 0;
};

} // namespace barlow
