// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/json_log.h>

#include <nlohmann/json.hpp>

#include <barlow/learner.h>

#include "log_file.h"

namespace barlow {
namespace {

nlohmann::json optional_number(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

} // namespace

JsonLog::JsonLog(std::filesystem::path file) : file_(std::make_shared<LogFile>(std::move(file), "JsonLog")) {}

std::string JsonLog::name() const {
  return "JsonLog";
}

int JsonLog::order() const {
  return 55; // after Recorder, whose values it writes
}

void JsonLog::before_fit(Learner& learn) {
  file_->open(learn.options.process_group.is_main());
}

void JsonLog::after_read(Learner& learn) {
  const auto& step = learn.values;
  if (!step.training) {
    return;
  }
  nlohmann::ordered_json line{{"step", step.step}, {"epoch", step.epoch}, {"loss", step.loss}, {"lr", step.lr}};
  for (const auto& [key, value] : step.logged) {
    line[key] = value;
  }
  file_->write(line.dump());
}

void JsonLog::after_epoch(Learner& learn) {
  const auto& values = learn.recorder.values.back();
  const nlohmann::ordered_json line{
      {"epoch", values.epoch},
      {"train_loss", optional_number(values.train_loss)},
      {"valid_loss", optional_number(values.valid_loss)},
      {"seconds", values.seconds},
      {"data_wait", optional_number(values.data_wait)}};
  file_->write(line.dump());
}

void JsonLog::after_fit(Learner& learn) {
  for (const auto* loader : {&learn.dls.train, learn.dls.valid ? &*learn.dls.valid : nullptr}) {
    for (const auto& bad : loader != nullptr ? loader->bad_samples() : std::vector<BadSample>{}) {
      file_->write(
          nlohmann::ordered_json{{"bad_sample", bad.name}, {"reason", bad.reason}}.dump(
              -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)); // a file's name may be no UTF-8
    }
  }
  file_->close();
}

NamedTensors JsonLog::state() const {
  return file_->state();
}

void JsonLog::load_state(const NamedTensors& state) {
  file_->load_state(state);
}

} // namespace barlow
