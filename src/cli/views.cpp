// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>

#include <torch/torch.h>

#include <barlow/callbacks/barlow_twins.h>

#include "commands.h"
#include "train.h"

namespace barlow::cli {

int run_views(const Arguments& arguments) {
  constexpr int64_t kRows = 8;
  auto [run, choices, look] = resolve(
      "views",
      "Draws what the augmentations do: a row for each image, the pairs of views that a step of pretraining sees side\n"
      "by side. Takes the options of pretrain; the picture goes to OUT/views.png.",
      "barlow views photos --views paper --size 96 --out look",
      arguments);
  run.recipe.batch_size = std::min(kRows, look ? look->train : kRows);
  run.recipe.encoder = "resnet18"; // there must be one; it is not looked at
  run.recipe.stem = StemType::Network;
  run.weights.clear();
  const auto learn = make_learner(run);
  const auto& twins = learn->get<BarlowTwins>();
  const auto file = run.out / "views.png";
  twins.show(run.recipe.batch_size, file);
  const auto pipelines = aug_pipelines(run.recipe);
  std::cout << "left   " << pipelines[0] << "\nright  " << pipelines[1] << '\n' << file.string() << '\n';
  return 0;
}

} // namespace barlow::cli
