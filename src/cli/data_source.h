// SPDX-License-Identifier: Apache-2.0
// Images that a person names by a path: what they are, and how to read them.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include <barlow/data.h>

namespace barlow::cli {

struct DataSource {
  std::string path{}, format = "auto";
  double valid_pct = 0.1; ///< held out where the folder has no split
  int64_t channels = 3, workers = -1;
  std::string on_bad = "skip";
  uint64_t seed = 42;
};

/// The positional DIR and what goes with it. `channels` where no encoder says them.
void add_data_options(CLI::App& app, DataSource& source);

/// What the path holds: folder, list, tar, mnist or cifar. Throws FileError for one that is not there.
std::string format_of(const DataSource& source);

/// `resize`: pixels a side that every image is brought to; 0: as they are.
DataLoaders open(const DataSource& source, int64_t batch_size, int64_t resize = 0);

/// What some images of a data set tell.
struct Look {
  int64_t train = 0, valid = 0, classes = 0; ///< classes 0: no labels
  int64_t shown = 0; ///< images that were looked at
  int64_t smallest = 0, median = 0, largest = 0; ///< shorter sides, pixels
  int64_t channels = 3; ///< 1 if none of them has colour
};

/// Reads some images. Throws FileError if none of them can be read.
Look look_at(const DataSource& source);

} // namespace barlow::cli
