// SPDX-License-Identifier: Apache-2.0
// A pretraining run as a person asks for it: a recipe, what it is used on, and where the results go.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <barlow/recipe.h>

#include "arguments.h"
#include "data_source.h"

namespace barlow::cli {

struct Run {
  DataSource data{};
  std::string recipe_name = "auto";
  Recipe recipe{.name = "custom", .source = "options of the program"};
  std::string optimizer = "adam"; ///< these two say the recipe's variant in words
  double weight_decay = 0;
  double crop_min = 0, crop_max = 0; ///< 0: the views' own
  bool normalize = true;
  std::string weights{}; ///< the encoder's first ones; empty: random
  std::string device{};
  int64_t threads = 0; ///< 0: as LibTorch chooses
  int64_t micro_batch = 0, accumulate = 1;
  double clip = 0; ///< 0: none
  double max_minutes = 0; ///< 0: no limit
  double fraction = 1; ///< of each epoch
  bool skip_non_finite = false;
  std::filesystem::path out = "barlow_run";
  bool resume = false, report = true, tensorboard = false;
  bool progress = true; ///< what the Learner prints; no option
  int64_t checkpoint_steps = 0, knn_epochs = 1;
};

/// A choice that nobody made, and why it was made so.
struct Choice {
  std::string what, value, why;
};

/// What the arguments come to: a recipe's fields or, without one, choices by what the images are; then those of the
/// configuration file, then the command line's.
struct Resolved {
  Run run;
  std::vector<Choice> choices;
  std::optional<Look> look; ///< at the data, if choices needed it
};
Resolved
resolve(const std::string& command, const std::string& what, const std::string& example, const Arguments& arguments);

/// Every option as a TOML file that --config takes.
std::string to_toml(const Run& run);

} // namespace barlow::cli
