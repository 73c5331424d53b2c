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

namespace {

// A regular file that is open, and its size.
class OpenFile {
 public:
  OpenFile(const fs::path& path, std::string_view name) : path_(path), name_(name) {
    // Not blocking: what was a file when its folder was listed may be a pipe by now.
    file_ = Descriptor(path, O_RDONLY | O_NONBLOCK);
    check<FileError>(file_ || errno != ENOENT, name, "'{}' does not exist", path.string());
    check<FileError>(static_cast<bool>(file_), name, "'{}' cannot be opened: {}", path.string(), std::strerror(errno));
    struct stat status{};
    check<FileError>(
        ::fstat(file_.get(), &status) == 0 && S_ISREG(status.st_mode),
        name,
        "'{}' is not a regular file",
        path.string());
    size = static_cast<uint64_t>(status.st_size);
  }

  template <class Bytes>
  Bytes read(size_t count) {
    Bytes bytes(count, '\0');
    for (size_t at = 0; at < bytes.size();) {
      const auto got = ::read(file_.get(), bytes.data() + at, bytes.size() - at);
      if (got < 0 && errno == EINTR) {
        continue;
      }
      check<FileError>(got >= 0, name_, "'{}' cannot be read: {}", path_.string(), std::strerror(errno));
      if (got == 0) { // it has become shorter
        bytes.resize(at);
      }
      at += static_cast<size_t>(got);
    }
    return bytes;
  }

  uint64_t size = 0;

 private:
  const fs::path& path_;
  std::string_view name_;
  Descriptor file_;
};

} // namespace

std::vector<char> read_file(const fs::path& path, std::string_view name, uint64_t limit) {
  OpenFile file(path, name);
  check<FileError>(file.size <= limit, name, "'{}' has {} bytes; {} can be read", path.string(), file.size, limit);
  try {
    return file.read<std::vector<char>>(file.size);
  } catch (const std::bad_alloc&) {
    throw FileError(fmt::format("[{}] '{}' has {} bytes, more than fit in memory", name, path.string(), file.size));
  }
}

std::string read_start(const fs::path& path, std::string_view name, size_t count) {
  OpenFile file(path, name);
  return file.read<std::string>(std::min<uint64_t>(count, file.size));
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
