// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <barlow/callback.h>

namespace barlow {

/// Writes one JSON object a line: each training step (step, epoch, loss, lr, and what callbacks give in step_values)
/// and each epoch (epoch, train_loss, valid_loss, seconds). The first line of a fit replaces what an earlier one wrote:
/// a fit that fails before its first step loses nothing. Throws FileError, before any step, if it cannot be written.
class JsonLog : public Callback {
 public:
  explicit JsonLog(std::filesystem::path file);
  std::string name() const override;
  int order() const override;
  void before_fit(Learner& learn) override;
  void after_batch(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;

 private:
  void write(const std::string& line);

  std::filesystem::path file_;
  bool empty_ = true; // nothing written in this fit
  std::ofstream out_;
};

} // namespace barlow
