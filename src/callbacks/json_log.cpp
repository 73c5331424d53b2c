// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/json_log.h>

#include <nlohmann/json.hpp>

#include <barlow/learner.h>

#include "../check.h"

namespace barlow {
namespace {

nlohmann::json optional_number(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

} // namespace

JsonLog::JsonLog(std::filesystem::path file) : file_(std::move(file)) {}

std::string JsonLog::name() const {
  return "JsonLog";
}

int JsonLog::order() const {
  return 55; // after Recorder, whose values it writes
}

void JsonLog::before_fit(Learner&) {
  std::error_code ignored;
  std::filesystem::create_directories(file_.parent_path(), ignored);
  empty_ = true;
  out_.open(file_, std::ios::app); // tells whether it can be written, and keeps what is there
  check<FileError>(out_.good(), "JsonLog", "'{}' cannot be written", file_.string());
}

void JsonLog::write(const std::string& line) {
  if (empty_) {
    out_.close();
    out_.open(file_, std::ios::trunc);
    empty_ = false;
  }
  out_ << line << '\n';
}

void JsonLog::after_batch(Learner& learn) {
  if (!learn.training) {
    return;
  }
  nlohmann::ordered_json line{
      {"step", learn.train_iter},
      {"epoch", learn.epoch},
      {"loss", learn.loss_value},
      {"lr", learn.opt->groups().back().lr}};
  for (const auto& [key, value] : learn.step_values) {
    line[key] = value;
  }
  write(line.dump());
}

void JsonLog::after_epoch(Learner& learn) {
  const auto& values = learn.recorder.values.back();
  const nlohmann::ordered_json line{
      {"epoch", values.epoch},
      {"train_loss", optional_number(values.train_loss)},
      {"valid_loss", optional_number(values.valid_loss)},
      {"seconds", values.seconds},
      {"data_wait", optional_number(values.data_wait)}};
  write(line.dump());
  out_.flush();
}

void JsonLog::after_fit(Learner& learn) {
  for (const auto* loader : {&learn.dls.train, learn.dls.valid ? &*learn.dls.valid : nullptr}) {
    for (const auto& bad : loader != nullptr ? loader->bad_samples() : std::vector<BadSample>{}) {
      write(
          nlohmann::ordered_json{{"bad_sample", bad.name}, {"reason", bad.reason}}.dump(
              -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)); // a file's name may be no UTF-8
    }
  }
  out_.close();
  std::error_code ignored;
  if (empty_ && std::filesystem::file_size(file_, ignored) == 0) {
    std::filesystem::remove(file_, ignored);
  }
}

} // namespace barlow
