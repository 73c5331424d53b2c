// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "commands.h"
#include "train.h"

namespace barlow::cli {

int run_lr_find(const Arguments& arguments) {
  const auto [run, choices, look] = resolve(
      "lr-find",
      "Trains a hundred steps with rates that rise from 1e-7 to 10, and says which one the losses advise (Smith, "
      "2015).\n"
      "Takes the options of pretrain; the picture goes to OUT/lr_find.png.",
      "barlow lr-find photos --batch-size 64",
      arguments);
  const auto learn = make_learner(run);
  const auto plot = run.out / "lr_find.png";
  const auto found = learn->lr_find({.plot = plot});
  fmt::print(
      "valley    {:.2e}   the middle of the longest fall of the loss: the one to take\n"
      "steepest  {:.2e}   where it falls fastest\n"
      "minimum   {:.2e}   a tenth of the rate with the least loss\n"
      "{}\ntrain with: barlow pretrain {} --lr {:.2g}\n",
      found.valley,
      found.steepest,
      found.minimum,
      plot.string(),
      run.data.path,
      found.valley);
  return 0;
}

} // namespace barlow::cli
