// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <barlow/weights.h>

namespace barlow {

/// The file of a callback that writes lines. A fit replaces what an earlier one wrote, but not before its first line; a
/// resumed fit goes on where the checkpoint was, and drops what was written after it. Lines reach the operating system
/// as they are written.
class LogFile {
 public:
  LogFile(std::filesystem::path path, std::string callback) : path_(std::move(path)), callback_(std::move(callback)) {}

  /// Keeps what is there. Throws FileError if it cannot be written. `here`: this process writes; else nothing does.
  void open(bool here);
  void write(const std::string& line);
  void close(); ///< removes a file that is still empty

  NamedTensors state() const;
  void load_state(const NamedTensors& state);

 private:
  void start(int64_t keep);

  std::filesystem::path path_;
  std::string callback_;
  std::ofstream out_;
  bool here_ = true;
  bool started_ = false; // a line of this fit is there
  int64_t bytes_ = 0;
};

} // namespace barlow
