// SPDX-License-Identifier: Apache-2.0
// Archives and compressed files, through libarchive.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barlow {

/// The first `limit` bytes, at most, of what gzip packed. Throws FileError naming `name`.
std::vector<char> gunzip(std::string_view bytes, size_t limit, std::string_view name);

/// Reads the members of a tar archive in sequence: plain, or packed once by gzip, bzip2, xz, zstd or lz4. Throws
/// FileError when the archive is damaged, or unpacks to more than 16 MiB and 100 times its size.
class TarReader {
 public:
  explicit TarReader(const std::filesystem::path& file);
  /// The same of an archive in memory, which must stay there.
  TarReader(std::string_view bytes, std::string name);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// The path of the next regular file, or nothing at the end.
  std::optional<std::string> next();
  /// Its bytes; nothing if there are more than `limit`, or it is sparse.
  std::optional<std::vector<char>> read(size_t limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace barlow
