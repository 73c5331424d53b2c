// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include <unistd.h>

#include "check.h"

namespace barlow {

namespace fs = std::filesystem;

std::vector<char> read_file(const fs::path& path, std::string_view name) {
  std::error_code error;
  const auto status = fs::status(path, error);
  check<FileError>(fs::exists(status), name, "'{}' does not exist", path.string());
  check<FileError>(fs::is_regular_file(status), name, "'{}' is not a regular file", path.string());
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  check<FileError>(in.good(), name, "'{}' cannot be opened: {}", path.string(), std::strerror(errno));
  std::vector<char> bytes(static_cast<size_t>(in.tellg()));
  in.seekg(0);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  check<FileError>(in.good() || bytes.empty(), name, "'{}' cannot be read: {}", path.string(), std::strerror(errno));
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
