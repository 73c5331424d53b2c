// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>

#include <barlow/callback.h>

namespace barlow {

class LogFile;

/// Writes epoch,train_loss,valid_loss,seconds: a line an epoch below a head, as fastai's CSVLogger. Files are kept,
/// replaced and continued as by JsonLog. Throws FileError, before any step, if it cannot be written.
class CsvLog : public Callback {
 public:
  explicit CsvLog(std::filesystem::path file = "history.csv");
  std::string name() const override;
  int order() const override; ///< 55: after Recorder, whose values it writes
  void before_fit(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  std::shared_ptr<LogFile> file_;
};

} // namespace barlow
