// SPDX-License-Identifier: Apache-2.0
#include "log_file.h"

#include "../check.h"
#include "numbers.h"

namespace barlow {

namespace fs = std::filesystem;

void LogFile::open(bool here) {
  here_ = here;
  if (!here) {
    return;
  }
  std::error_code ignored;
  fs::create_directories(path_.parent_path(), ignored);
  started_ = false;
  bytes_ = 0;
  out_.open(path_, std::ios::app);
  check<FileError>(out_.good(), callback_, "'{}' cannot be written", path_.string());
}

void LogFile::start(int64_t keep) {
  out_.close();
  std::error_code error;
  fs::resize_file(path_, static_cast<uintmax_t>(keep), error);
  check<FileError>(!error, callback_, "'{}' cannot be written: {}", path_.string(), error.message());
  out_.open(path_, std::ios::app);
  started_ = true;
  bytes_ = keep;
}

void LogFile::write(const std::string& line) {
  if (!here_) {
    return;
  }
  if (!started_) {
    start(0);
  }
  out_ << line << '\n' << std::flush;
  bytes_ += static_cast<int64_t>(line.size()) + 1;
}

void LogFile::close() {
  if (!here_) {
    return;
  }
  out_.close();
  std::error_code ignored;
  if (!started_ && fs::file_size(path_, ignored) == 0) {
    fs::remove(path_, ignored);
  }
}

NamedTensors LogFile::state() const {
  return {numbers<int64_t>("bytes", {bytes_})};
}

void LogFile::load_state(const NamedTensors& state) {
  if (!here_) {
    return;
  }
  const auto bytes = numbers_of<int64_t>(state, "bytes", 1)[0];
  std::error_code ignored;
  const auto there = fs::file_size(path_, ignored);
  // A log that was lost, or is another one, begins anew; the run is worth more.
  start(bytes >= 0 && !ignored && static_cast<uintmax_t>(bytes) <= there ? bytes : 0);
}

} // namespace barlow
