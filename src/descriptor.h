// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace barlow {

/// An open file of the operating system; errno says why something failed.
class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    close();
  }

  /// All of them, from this place of the file on.
  bool write(std::string_view bytes, int64_t at) const {
    while (!bytes.empty()) {
      const auto put = ::pwrite(fd_, bytes.data(), bytes.size(), at);
      if (put < 0 && errno == EINTR) {
        continue;
      }
      if (put < 0) {
        return false;
      }
      bytes.remove_prefix(static_cast<size_t>(put));
      at += put;
    }
    return true;
  }
  bool sync() const {
    return ::fsync(fd_) == 0;
  }
  bool close() {
    return fd_ < 0 || ::close(std::exchange(fd_, -1)) == 0;
  }
  int get() const {
    return fd_;
  }
  explicit operator bool() const {
    return fd_ >= 0;
  }

 private:
  int fd_ = -1;
};

} // namespace barlow
