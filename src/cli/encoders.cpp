// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <barlow/encoder.h>
#include <barlow/nn.h>

#include "check.h"
#include "commands.h"
#include "nearest.h"

namespace barlow::cli {

int run_encoders(const Arguments& arguments) {
  std::string pattern = "*";
  bool details = false;
  const auto app = make_app(
      "encoders",
      "Names of the networks that --encoder takes. A plain name is timm's network, fastai:NAME is fastai's.",
      "barlow encoders 'resnet*' --details");
  add(*app, "pattern", pattern, "With * and ?");
  app->add_flag(
      "--details",
      details,
      "Parameters, features and input size too: makes each network, which takes time, and 11 GB for the largest");
  parse(*app, arguments);

  const auto names = list_encoders(pattern);
  if (names.empty()) {
    throw UsageError(
        fmt::format(
            "[encoders] no name matches '{}'; the nearest is '{}'", pattern, nearest(pattern, list_encoders())));
  }
  if (details) {
    fmt::print("{:<40}{:>14}{:>10}{:>8}\n", "name", "parameters", "features", "pixels");
  }
  for (const auto& name : names) {
    if (details) {
      const auto encoder = create_encoder(name);
      const auto& info = encoder->info();
      fmt::print("{:<40}{:>14}{:>10}{:>8}\n", name, count_parameters(*encoder), info.num_features, info.input_size);
      std::fflush(stdout);
    } else {
      fmt::print("{}\n", name);
    }
  }
  return 0;
}

} // namespace barlow::cli
