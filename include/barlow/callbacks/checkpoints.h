// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include <barlow/callback.h>
#include <barlow/distributed.h>

namespace barlow {

/// What to do with checkpoints that are there already.
enum class Resume {
  Never, ///< they are of an earlier run: an error, so that none is overwritten
  Auto, ///< the first fit goes on from the newest that is whole; it starts anew if there is none
};

struct CheckpointOptions {
  std::filesystem::path folder; ///< of this run's checkpoints
  Resume resume = Resume::Never;
  int64_t every_epochs = 1; ///< 0: none at the end of epochs but the last
  int64_t every_steps = 0; ///< 0: none within epochs
  int64_t keep = 3; ///< the newest that stay; older ones are removed
  bool keep_best = true; ///< best.safetensors: a copy of the one after the epoch with the least loss
  bool signals = true; ///< SIGTERM, SIGUSR1 and SIGINT end the fit after the step, saved
};

/// Saves the run's state as step-000001234.safetensors, by the steps of all fits, and goes on from there. A save that
/// fails, for a full disk say, leaves the older files alone, is told on stderr, and the fit goes on. When a signal
/// came, fit saves and throws Interrupted; a program should then end with kExitInterrupted, so that a scheduler can
/// start it again. Of several processes rank 0 writes and reads the files, and a signal to one ends all. A second
/// SIGINT ends the process at once. Throws Error for options out of range, or for checkpoints of an earlier run in the
/// folder.
class Checkpoints : public Callback {
 public:
  explicit Checkpoints(CheckpointOptions options);
  std::string name() const override;
  int order() const override; ///< 80: after those that record the step and the epoch
  void added(Learner& learn) override;
  void before_fit(Learner& learn) override;
  void after_batch(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_cancel_fit(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  int64_t failures() const { ///< saves of this fit that failed
    return failures_;
  }

 private:
  bool save(Learner& learn);
  void save_best(Learner& learn);
  void remove_old() const;
  void leave_if_asked(Learner& learn);
  void resume_newest(Learner& learn) const;
  std::vector<std::filesystem::path> rank_0s_checkpoints(const ProcessGroup& group) const;

  CheckpointOptions options_;
  std::shared_ptr<void> signals_; // while a fit runs
  std::optional<double> best_;
  int64_t saved_at_ = -1, failures_ = 0;
  int64_t steps_before_ = 0; // of earlier fits: names go on
  bool looked_ = false; // the first fit may go on, a later one is a new one
};

} // namespace barlow
