// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/csv_log.h>

#include <fmt/format.h>

#include <barlow/learner.h>

#include "log_file.h"

namespace barlow {
namespace {

std::string field(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

} // namespace

CsvLog::CsvLog(std::filesystem::path file) : file_(std::make_shared<LogFile>(std::move(file), "CsvLog")) {}

std::string CsvLog::name() const {
  return "CsvLog";
}

int CsvLog::order() const {
  return 55;
}

void CsvLog::before_fit(Learner& learn) {
  file_->open(learn.options.process_group.is_main());
}

void CsvLog::after_epoch(Learner& learn) {
  const auto& line = learn.recorder.values.back();
  if (line.epoch == 0) {
    file_->write("epoch,train_loss,valid_loss,seconds");
  }
  file_->write(
      fmt::format("{},{},{},{:.3f}", line.epoch, field(line.train_loss), field(line.valid_loss), line.seconds));
}

void CsvLog::after_fit(Learner&) {
  file_->close();
}

NamedTensors CsvLog::state() const {
  return file_->state();
}

void CsvLog::load_state(const NamedTensors& state) {
  file_->load_state(state);
}

} // namespace barlow
