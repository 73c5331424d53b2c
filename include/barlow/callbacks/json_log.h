// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>

#include <barlow/callback.h>

namespace barlow {

class LogFile;

/// Writes one JSON object a line: each training step (step, epoch, loss, lr, and what Learner::log was given) and each
/// epoch (epoch, train_loss, valid_loss, seconds, data_wait), at the end each bad sample (bad_sample, reason). The
/// first line of a fit replaces what an earlier one wrote: a fit that fails before its first step loses nothing. A
/// resumed fit goes on where its checkpoint was. Throws FileError, before any step, if it cannot be written.
class JsonLog : public Callback {
 public:
  explicit JsonLog(std::filesystem::path file);
  std::string name() const override;
  int order() const override;
  void before_fit(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  std::shared_ptr<LogFile> file_;
};

} // namespace barlow
