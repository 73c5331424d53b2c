// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>

#include <barlow/callbacks/report.h>

#include "check.h"
#include "commands.h"
#include "train.h"

namespace barlow::cli {
namespace {

namespace fs = std::filesystem;

// Ends a fit before it trains on.
class Stop : public Callback {
 public:
  std::string name() const override {
    return "Stop";
  }
  void before_train(Learner&) override {
    throw CancelFit();
  }
};

} // namespace

int run_report(const Arguments& arguments) {
  fs::path folder, out;
  const auto app = make_app(
      "report",
      "Writes a run as one HTML page that needs no other file: losses, correlation matrix before and after, accuracy "
      "of\n"
      "neighbours, a map of the images. Of a run that goes on, as it is at its last checkpoint; its images must be "
      "where\n"
      "they were.",
      "barlow report run --out report.html");
  app->add_option("run", folder, "Folder that pretrain wrote")->required();
  app->add_option("--out", out, "The HTML file; without it report.html in the run's folder");
  parse(*app, arguments);
  const auto config = folder / "config.toml";
  check<FileError>(
      fs::exists(config), "report", "'{}' has no config.toml; give a folder that pretrain wrote", folder.string());
  if (out.empty()) {
    out = folder / "report.html";
  }

  auto run = resolve("pretrain", "", "", {"--config", config.string()}).run;
  const auto checkpoints = checkpoints_of(folder);
  check<FileError>(!checkpoints.empty(), "report", "'{}' has no checkpoints of a run", folder.string());
  const auto& checkpoint = checkpoints.back();
  run.progress = false;
  const auto learn = make_learner(run);
  run.out = std::move(folder);
  const auto data = evaluation_data(run);
  add_neighbours(*learn, run, data);
  add_report(*learn, run, data, out);
  learn->add(Stop());
  learn->resume(checkpoint);
  fit(*learn, run.recipe);
  fmt::print("{}, of {}\n", out.string(), checkpoint.string());
  return 0;
}

} // namespace barlow::cli
