// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cmath>
#include <cstdio>

#include <torch/torch.h>
#include <unistd.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/checkpoints.h>
#include <barlow/feature_extractor.h>
#include <barlow/nn.h>

#include "check.h"
#include "commands.h"
#include "encoder_use.h"
#include "evaluation.h"
#include "file.h"
#include "train.h"

namespace barlow::cli {
namespace {

namespace fs = std::filesystem;

// Says, after some steps, how long the run will take.
class Estimate : public Callback {
 public:
  std::string name() const override {
    return "Estimate";
  }
  int order() const override {
    return 59; // before Progress draws
  }
  void after_batch(Learner& learn) override {
    constexpr int64_t kFirst = 1, kSteps = 5; // the very first ones are slower
    const int64_t steps = std::min(kSteps, learn.n_iter - 1 - kFirst);
    if (!learn.training || told_ || steps < 1) {
      return;
    }
    if (learn.iter == kFirst) {
      start_ = Clock::now();
      started_ = true;
    }
    if (started_ && learn.iter == kFirst + steps) {
      told_ = true;
      const double step = std::chrono::duration<double>(Clock::now() - start_).count() / static_cast<double>(steps);
      const auto left = (learn.n_epoch - learn.epoch) * learn.n_iter - learn.iter - 1;
      if (learn.options.process_group.is_main()) {
        fmt::print(
            "{}{:.2f} s a step: about {} for the {} steps that are left, without validation\n",
            ::isatty(STDOUT_FILENO) == 1 ? "\r\033[K" : "", // over the progress bar
            step,
            duration(step * static_cast<double>(left)),
            left);
      }
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  static std::string duration(double seconds) {
    constexpr double kMinute = 60, kHour = 3600;
    return seconds < 2 * kMinute ? fmt::format("{:.0f} s", seconds)
        : seconds < 2 * kHour    ? fmt::format("{:.0f} min", seconds / kMinute)
                                 : fmt::format("{:.1f} h", seconds / kHour);
  }
  Clock::time_point start_;
  bool started_ = false, told_ = false;
};

// Writes the encoder as the fit ends, however it does, and before a report may fail.
class SaveEncoder : public Callback {
 public:
  explicit SaveEncoder(const Run& run) : run_(run) {}
  std::string name() const override {
    return "SaveEncoder";
  }
  int order() const override {
    return 66; // before Report
  }
  void after_fit(Learner& learn) override {
    if (learn.options.process_group.is_main() && !learn.recorder.losses.empty()) {
      save_encoder(
          learn.model->encoder,
          run_.out / "encoder.safetensors",
          {.size = run_.recipe.size, .stats = stats(run_.recipe), .metadata = {{"recipe", recipe_id(run_.recipe)}}});
    }
  }

 private:
  const Run& run_;
};

// A run that cannot keep its result is better not begun.
void check_space(const Run& run, const Learner& learn) {
  constexpr int64_t kBytes = 4, kState = 3; // a parameter, and with it what Adam keeps of it
  constexpr int64_t kFiles = 2; // a checkpoint, and the next one while it is written
  const auto needed = count_parameters(*learn.model) * kBytes * (kState * kFiles + 1);
  const auto free = static_cast<int64_t>(fs::space(run.out).available);
  constexpr double kMegabyte = 1e6;
  check<FileError>(
      free > needed,
      "pretrain",
      "'{}' has {:.0f} MB free, checkpoints and encoder take {:.0f}; free some, or name a folder elsewhere by --out",
      run.out.string(),
      static_cast<double>(free) / kMegabyte,
      static_cast<double>(needed) / kMegabyte);
}

void print_choices(const Resolved& resolved) {
  if (const auto& look = resolved.look) {
    fmt::print(
        "{:<17}{} to train on, {} to validate with, {} pixels{}\n",
        "images",
        look->train,
        look->valid,
        look->smallest == look->largest ? fmt::format("{}", look->smallest)
                                        : fmt::format("{} to {}", look->smallest, look->largest),
        look->classes > 0 ? fmt::format(", {} classes", look->classes) : ", without labels");
  }
  for (const auto& [what, value, why] : resolved.choices) {
    fmt::print("{:<17}{:<18}{}\n", what, value, why);
  }
}

void print_results(const Run& run, Learner& learn, const std::optional<EvaluationData>& data) {
  if (data && data->labelled) {
    EvaluationOptions options;
    options.how = {.device = learn.device, .transform = normalization(stats(run.recipe))};
    options.logistic = false;
    options.seed = run.data.seed;
    fmt::print(
        "\naccuracy of a vote of the k nearest neighbours\n{}",
        to_text(evaluate(learn.model->encoder, data->bank, data->queries, options)));
  }
  const auto out = run.out.string();
  std::vector<std::string> there;
  for (const auto* name :
       {"encoder.safetensors",
        "report.html",
        "views.png",
        "log.jsonl",
        "log.csv",
        "tensorboard",
        "config.toml",
        "checkpoints"}) {
    if (fs::exists(run.out / name)) {
      there.emplace_back(name);
    }
  }
  fmt::print(
      "\nin {0}: {1}\n"
      "next:  barlow evaluate {0}/encoder.safetensors {2}\n       barlow export {0}/encoder.safetensors\n",
      out,
      fmt::join(there, ", "),
      run.data.path);
}

} // namespace

int run_pretrain(const Arguments& arguments) {
  const auto resolved = resolve(
      "pretrain",
      "Trains an encoder on images, without looking at labels, by Barlow Twins. With a folder alone it looks at the\n"
      "images, picks what fits, says what and why, trains, evaluates if there are labels, and writes all results to "
      "one\n"
      "folder.",
      "barlow pretrain photos --epochs 20 --out run",
      arguments);
  const auto& run = resolved.run;
  const auto group = ProcessGroup::from_environment();
  if (group.is_main()) {
    check(
        run.resume || checkpoints_of(run.out).empty(),
        "pretrain",
        "'{}' holds an earlier run; go on with it by --resume, or name another folder by --out",
        run.out.string());
    print_choices(resolved);
    write_file(run.out / "config.toml", {to_toml(run)}, "pretrain");
    fmt::print("\n{}\n", to_toml(run));
    std::fflush(stdout);
  }
  const auto learn = make_learner(run, group);
  if (group.is_main()) {
    check_space(run, *learn);
  }
  const auto data = evaluation_data(run);
  add_records(*learn, run, data);
  learn->add(Checkpoints(
      {.folder = run.out / "checkpoints",
       .resume = run.resume ? Resume::Auto : Resume::Never,
       .every_steps = run.checkpoint_steps}));
  learn->add(Estimate());
  learn->add(SaveEncoder(run));
  if (group.is_main()) {
    learn->get<BarlowTwins>().show(std::min<int64_t>(run.recipe.batch_size, 8), run.out / "views.png");
  }
  try {
    fit(*learn, run.recipe);
  } catch (const Interrupted& e) {
    throw Interrupted(
        e.signal,
        fmt::format(
            "{}\ngo on with: barlow pretrain --config {} --resume", e.what(), (run.out / "config.toml").string()));
  }
  if (group.is_main()) {
    print_results(run, *learn, data);
  }
  return 0;
}

} // namespace barlow::cli
