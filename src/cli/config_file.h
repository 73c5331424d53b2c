// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

namespace barlow::cli {

/// --config FILE: the application's options as TOML, or YAML if the name ends so; the command line's win. Parsing
/// throws UsageError for a YAML file that is no map of options to single values.
CLI::Option* add_config(CLI::App& app);

} // namespace barlow::cli
