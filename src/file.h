// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace barlow {

/// The bytes of a regular file. Throws FileError "[name] ..." naming the path, also for one larger than `limit`.
std::vector<char> read_file(
    const std::filesystem::path& path,
    std::string_view name,
    uint64_t limit = std::numeric_limits<uint64_t>::max());

/// The first bytes, as many as there are up to `count`.
std::string read_start(const std::filesystem::path& path, std::string_view name, size_t count);

/// Writes the parts under a temporary name beside the path, brings them to the disk, then renames: the path holds the
/// old file or the whole new one, also after a crash of the machine. Makes the folder if there is none. Throws
/// FileError.
void write_file(const std::filesystem::path& path, const std::vector<std::string_view>& parts, std::string_view name);

/// zlib's CRC-32; `before`: of the bytes that come first.
uint32_t crc32(std::string_view bytes, uint32_t before = 0);

} // namespace barlow
