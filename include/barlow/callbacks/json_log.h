// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>

#include <barlow/callback.h>

namespace barlow {

/// Writes one JSON object a line: each training step (step, epoch, loss, lr, and what callbacks give in step_values)
/// and each epoch (epoch, train_loss, valid_loss, seconds). A fit starts the file anew. Throws FileError if it cannot.
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
  std::filesystem::path file_;
  std::ofstream out_;
};

} // namespace barlow
