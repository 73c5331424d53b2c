// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/checkpoints.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <iostream>
#include <limits>
#include <sstream>
#include <utility>

#include <barlow/learner.h>

#include "../check.h"
#include "../signals.h"
#include "numbers.h"

namespace barlow {
namespace {

namespace fs = std::filesystem;

constexpr auto kHere = "Checkpoints";
constexpr auto kBest = "best.safetensors";
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// step-*.safetensors, the newest last.
std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".safetensors")) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// What a process that was killed while it saved has left. The folder is this run's alone.
void remove_temporary(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".tmp") {
      fs::remove(entry.path(), ignored);
    }
  }
}

void tell(const Learner& learn, const std::string& line) {
  if (learn.options.process_group.is_main()) {
    std::cerr << line << '\n';
  }
}

} // namespace

Checkpoints::Checkpoints(CheckpointOptions options) : options_(std::move(options)) {
  check(!options_.folder.empty(), kHere, "the folder must not be empty");
  check(
      options_.every_epochs >= 0 && options_.every_steps >= 0,
      kHere,
      "every_epochs and every_steps must not be negative, received {} and {}",
      options_.every_epochs,
      options_.every_steps);
  check(options_.keep >= 1, kHere, "keep must be at least 1, received {}", options_.keep);
}

std::string Checkpoints::name() const {
  return kHere;
}

int Checkpoints::order() const {
  return 80;
}

void Checkpoints::added(Learner& learn) {
  check(
      options_.resume == Resume::Auto || !learn.options.process_group.is_main() ||
          checkpoints_in(options_.folder).empty(),
      kHere,
      "'{}' holds the checkpoints of an earlier run; choose another folder, or go on with that run by Resume::Auto",
      options_.folder.string());
}

void Checkpoints::resume_newest(Learner& learn) const {
  for (auto files = rank_0s_checkpoints(learn.options.process_group); !files.empty(); files.pop_back()) {
    try {
      learn.resume(files.back());
      tell(learn, fmt::format("{}: going on from '{}'", kHere, files.back().string()));
      return;
    } catch (const FileError& e) {
      tell(learn, fmt::format("{}; trying the one before", e.what()));
    }
  }
}

// The folder need not be there on other machines.
std::vector<fs::path> Checkpoints::rank_0s_checkpoints(const ProcessGroup& group) const {
  std::string names;
  for (const auto& file : group.is_main() ? checkpoints_in(options_.folder) : std::vector<fs::path>()) {
    names += file.filename().string() + '\n';
  }
  std::istringstream lines(group.broadcast(names));
  std::vector<fs::path> files;
  for (std::string name; std::getline(lines, name);) {
    files.push_back(options_.folder / name);
  }
  return files;
}

void Checkpoints::before_fit(Learner& learn) {
  best_.reset();
  saved_at_ = -1;
  failures_ = 0;
  if (learn.options.process_group.is_main()) {
    remove_temporary(options_.folder);
  }
  if (options_.resume == Resume::Auto && !std::exchange(looked_, true)) {
    resume_newest(learn);
  }
  if (options_.signals) {
    signals_ = std::make_shared<SignalWatch>(std::vector<int>{SIGTERM, SIGUSR1, SIGINT});
  }
}

bool Checkpoints::save(Learner& learn) {
  const auto file = options_.folder / fmt::format("step-{:09}.safetensors", steps_before_ + learn.train_iter);
  try {
    learn.save(file);
  } catch (const FileError& e) {
    ++failures_;
    tell(learn, fmt::format("{}; the earlier checkpoints are as they were, the run goes on", e.what()));
    return false;
  }
  saved_at_ = learn.train_iter;
  if (learn.options.process_group.is_main()) {
    remove_old();
  }
  return true;
}

void Checkpoints::remove_old() const {
  const auto files = checkpoints_in(options_.folder);
  std::error_code ignored;
  for (size_t i = 0; i + static_cast<size_t>(options_.keep) < files.size(); ++i) {
    fs::remove(files[i], ignored);
  }
}

void Checkpoints::leave_if_asked(Learner& learn) {
  if (!options_.signals) {
    return;
  }
  const auto signals = learn.options.process_group.all_gather(SignalWatch::received()); // they come to some, or late
  const auto signal = static_cast<int>(*std::max_element(signals.begin(), signals.end()));
  if (signal == 0) {
    return;
  }
  const bool saved = saved_at_ == learn.train_iter || save(learn);
  throw Interrupted(
      signal,
      fmt::format(
          "[Checkpoints] the fit was ended by signal {} after step {}{}",
          signal,
          learn.train_iter,
          saved ? "; it goes on from there with Resume::Auto" : ", and its state could not be saved"));
}

void Checkpoints::after_batch(Learner& learn) {
  if (!learn.training) {
    return;
  }
  if (options_.every_steps > 0 && learn.train_iter % options_.every_steps == 0) {
    save(learn);
  }
  leave_if_asked(learn);
}

void Checkpoints::save_best(Learner& learn) {
  const auto loss = learn.recorder.values.back().monitored();
  if (!options_.keep_best || !loss || !(*loss < best_.value_or(std::numeric_limits<double>::infinity()))) {
    return;
  }
  best_ = loss;
  try {
    learn.save(options_.folder / kBest);
  } catch (const FileError& e) {
    ++failures_;
    tell(learn, fmt::format("{}; the run goes on", e.what()));
  }
}

void Checkpoints::after_epoch(Learner& learn) {
  save_best(learn);
  const bool last = learn.epoch + 1 == learn.n_epoch;
  if (last || (options_.every_epochs > 0 && (learn.epoch + 1) % options_.every_epochs == 0)) {
    save(learn);
  }
  leave_if_asked(learn);
}

void Checkpoints::after_cancel_fit(Learner& learn) {
  if (saved_at_ != learn.train_iter) {
    save(learn);
  }
}

void Checkpoints::after_fit(Learner& learn) {
  signals_.reset();
  steps_before_ += learn.train_iter;
}

NamedTensors Checkpoints::state() const {
  return {numbers<double>("best", {best_.value_or(kNone)}), numbers<int64_t>("steps_before", {steps_before_})};
}

void Checkpoints::load_state(const NamedTensors& state) {
  const double best = numbers_of<double>(state, "best", 1)[0];
  best_ = std::isnan(best) ? std::nullopt : std::optional(best);
  steps_before_ = numbers_of<int64_t>(state, "steps_before", 1)[0];
}

} // namespace barlow
