// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <sys/stat.h>
#include <zlib.h>

#include "check.h"
#include "descriptor.h"

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

namespace {

bool write_all(Descriptor& out, const std::vector<std::string_view>& parts) {
  int64_t at = 0;
  const auto put = [&](std::string_view part) {
    return out.write(part, std::exchange(at, at + static_cast<int64_t>(part.size())));
  };
  return out && std::all_of(parts.begin(), parts.end(), put) && out.sync() && out.close();
}

} // namespace

void write_file(const fs::path& path, const std::vector<std::string_view>& parts, std::string_view name) {
  std::error_code error;
  if (path.has_parent_path()) {
    fs::create_directories(path.parent_path(), error);
    check<FileError>(!error, name, "the folder of '{}' cannot be made: {}", path.string(), error.message());
  }
  auto temporary = path;
  temporary += fmt::format(".{}.tmp", ::getpid());
  Descriptor out(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  const bool written = write_all(out, parts) && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!written) {
    const auto reason = std::string(std::strerror(errno));
    fs::remove(temporary, error);
    check<FileError>(false, name, "'{}' cannot be written: {}", path.string(), reason);
  }
  const Descriptor folder(path.has_parent_path() ? path.parent_path() : ".", O_RDONLY | O_DIRECTORY);
  if (folder) {
    folder.sync(); // the new name; not every file system can
  }
}

uint32_t crc32(std::string_view bytes, uint32_t before) {
  if (bytes.empty()) { // zlib takes a null pointer for the beginning
    return before;
  }
  return static_cast<uint32_t>(::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

} // namespace barlow
