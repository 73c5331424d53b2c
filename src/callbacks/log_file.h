// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <barlow/weights.h>

#include "../descriptor.h"

namespace barlow {

/// The file of a callback that writes lines. A fit replaces what an earlier one wrote, but not before its first line; a
/// resumed fit goes on where the checkpoint was, and drops what was written after it. Lines reach the operating system
/// as they are written; those that cannot be are told, kept, and written when there is room again.
class LogFile {
 public:
  LogFile(std::filesystem::path path, std::string callback) : path_(std::move(path)), callback_(std::move(callback)) {}

  /// Keeps what is there. Throws FileError if it cannot be written. `here`: this process writes; else nothing does.
  void open(bool here);
  void write(const std::string& line);
  void close(); ///< removes a file that is still empty, tells of one that has been moved away

  NamedTensors state() const;
  void load_state(const NamedTensors& state);

 private:
  void start(int64_t keep);
  void flush();
  void tell(const std::string& what) const;

  std::filesystem::path path_;
  std::string callback_;
  Descriptor out_{};
  bool here_ = true;
  bool started_ = false; // a line of this fit is there
  int64_t bytes_ = 0; // in the file
  std::string pending_{}; // not yet in it
  bool told_ = false;
};

} // namespace barlow
