// SPDX-License-Identifier: Apache-2.0
#include "log_file.h"

#include <algorithm>
#include <cstring>
#include <iostream>

#include <sys/stat.h>

#include "../check.h"
#include "../file.h"
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
  started_ = told_ = false;
  bytes_ = 0;
  pending_.clear();
  out_ = Descriptor(path_, O_WRONLY | O_CREAT);
  check<FileError>(
      static_cast<bool>(out_), callback_, "'{}' cannot be written: {}", path_.string(), std::strerror(errno));
}

void LogFile::start(int64_t keep) {
  check<FileError>(
      ::ftruncate(out_.get(), keep) == 0,
      callback_,
      "'{}' cannot be written: {}",
      path_.string(),
      std::strerror(errno));
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
  pending_ += line + '\n';
  flush();
}

void LogFile::flush() {
  if (out_.write(pending_, bytes_)) { // a half written line is written over the next time
    bytes_ += static_cast<int64_t>(pending_.size());
    pending_.clear();
  } else if (!std::exchange(told_, true)) {
    tell(fmt::format("cannot be written: {}; its lines are kept until they can be", std::strerror(errno)));
  }
}

void LogFile::close() {
  if (!here_ || !out_) {
    return;
  }
  flush();
  if (!pending_.empty()) {
    if (::ftruncate(out_.get(), bytes_) != 0) { // whole lines alone
      tell("may end in half a line");
    }
    tell(fmt::format("lacks its last {} lines", std::count(pending_.begin(), pending_.end(), '\n')));
  }
  struct stat ours{}, there{};
  const bool moved = ::fstat(out_.get(), &ours) == 0 &&
      (::stat(path_.c_str(), &there) != 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev);
  out_.close();
  std::error_code ignored;
  if (moved) {
    tell(fmt::format("is there no more: '{}' was moved or removed meanwhile", path_.parent_path().string()));
  } else if (!started_ && ours.st_size == 0) {
    fs::remove(path_, ignored);
  }
}

void LogFile::tell(const std::string& what) const {
  std::cerr << fmt::format("[{}] '{}' {}\n", callback_, path_.string(), what);
}

NamedTensors LogFile::state() const {
  return {numbers<int64_t>("bytes", {bytes_})};
}

void LogFile::load_state(const NamedTensors& state) {
  if (!here_) {
    return;
  }
  const auto bytes = std::max<int64_t>(0, numbers_of<int64_t>(state, "bytes", 1)[0]);
  const auto there = read_file(path_, callback_);
  auto keep = std::min(static_cast<size_t>(bytes), there.size());
  while (keep > 0 && there[keep - 1] != '\n') { // of a log that has become shorter, the whole lines
    --keep;
  }
  start(static_cast<int64_t>(keep));
}

} // namespace barlow
