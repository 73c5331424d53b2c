// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

namespace barlow {

namespace fs = std::filesystem;

std::vector<char> read_file(const fs::path& path, std::string_view name) {
  // Not blocking: what was a file when its folder was listed may be a pipe by now.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  check<FileError>(file >= 0 || errno != ENOENT, name, "'{}' does not exist", path.string());
  check<FileError>(file >= 0, name, "'{}' cannot be opened: {}", path.string(), std::strerror(errno));
  const std::unique_ptr<const int, void (*)(const int*)> closer(&file, [](const int* f) { ::close(*f); });
  struct stat status{};
  check<FileError>(
      ::fstat(file, &status) == 0 && S_ISREG(status.st_mode), name, "'{}' is not a regular file", path.string());
  std::vector<char> bytes(static_cast<size_t>(status.st_size));
  for (size_t at = 0; at < bytes.size();) {
    const auto got = ::read(file, bytes.data() + at, bytes.size() - at);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    check<FileError>(got >= 0, name, "'{}' cannot be read: {}", path.string(), std::strerror(errno));
    if (got == 0) { // it has become shorter
      bytes.resize(at);
    }
    at += static_cast<size_t>(got);
  }
  return bytes;
}

void write_file(const fs::path& path, const std::vector<std::string_view>& parts, std::string_view name) {
  std::error_code error;
  if (path.has_parent_path()) {
    fs::create_directories(path.parent_path(), error);
    check<FileError>(!error, name, "the folder of '{}' cannot be made: {}", path.string(), error.message());
  }
  auto temporary = path;
  temporary += fmt::format(".{}.tmp", ::getpid());
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  for (const auto part : parts) {
    out.write(part.data(), static_cast<std::streamsize>(part.size()));
  }
  out.close();
  const auto reason = std::string(std::strerror(errno));
  if (!out) {
    fs::remove(temporary, error);
    check<FileError>(false, name, "'{}' cannot be written: {}", path.string(), reason);
  }
  fs::rename(temporary, path, error);
  if (error) {
    const auto why = error.message();
    fs::remove(temporary, error);
    check<FileError>(false, name, "'{}' cannot be written: {}", path.string(), why);
  }
}

} // namespace barlow
