// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <barlow/data.h>

namespace barlow {

/// What limits a training, the data or the model, and what to change. `wait` of `seconds` went by without data.
std::string data_summary(double wait, double seconds, const LoaderTimes& work, int64_t workers, int64_t cores);

/// The samples that could not be read, a line each, 20 at most; empty if there are none.
std::string bad_sample_report(const DataLoaders& dls);

} // namespace barlow
