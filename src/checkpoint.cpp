// SPDX-License-Identifier: Apache-2.0
#include <barlow/checkpoint.h>

#include <algorithm>

#include "check.h"
#include "file.h"
#include "safetensors.h"

namespace barlow {
namespace {

constexpr auto kFormat = "barlow.checkpoint", kVersion = "1";
constexpr std::string_view kNoChecksum = "00000000";
constexpr std::string_view kChecksumKey = "\"checksum\":\"";

// Where the checksum's digits stand; npos if there is none.
size_t checksum_at(std::string_view header) {
  const auto key = header.find(kChecksumKey);
  return key == std::string_view::npos || key + kChecksumKey.size() + kNoChecksum.size() > header.size()
      ? std::string_view::npos
      : key + kChecksumKey.size();
}

uint32_t checksum(const std::vector<std::string_view>& parts) {
  uint32_t sum = 0;
  for (const auto part : parts) {
    sum = crc32(part, sum);
  }
  return sum;
}

} // namespace

void save_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint) {
  constexpr auto here = "save_checkpoint";
  auto info = checkpoint.info;
  info["format"] = kFormat;
  info["version"] = kVersion;
  info["checksum"] = kNoChecksum;
  auto packed = pack_safetensors(checkpoint.tensors, info, here);
  const auto sum = fmt::format("{:08x}", checksum(packed.parts()));
  packed.header.replace(checksum_at(packed.header), sum.size(), sum);
  write_file(file, packed.parts(), here);
}

Checkpoint load_checkpoint(const std::filesystem::path& file) {
  return parse_checkpoint(read_file(file, "load_checkpoint"), file.string());
}

Checkpoint parse_checkpoint(std::vector<char> bytes, const std::string& name) {
  constexpr auto here = "load_checkpoint";
  const auto at = checksum_at({bytes.data(), bytes.size()});
  check<FileError>(at != std::string_view::npos, here, "'{}' is no checkpoint, or damaged", name);
  const std::string stated(bytes.data() + at, kNoChecksum.size());
  std::copy(kNoChecksum.begin(), kNoChecksum.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  const auto found = fmt::format("{:08x}", checksum({{bytes.data(), bytes.size()}}));
  check<FileError>(
      found == stated,
      here,
      "'{}' is damaged: its checksum is {} and should be {}; take an earlier checkpoint",
      name,
      found,
      stated);
  Checkpoint checkpoint;
  checkpoint.tensors = parse_safetensors(bytes, name, &checkpoint.info);
  auto& info = checkpoint.info;
  check<FileError>(info["format"] == kFormat, here, "'{}' is no checkpoint", name);
  check<FileError>(
      info["version"] == kVersion,
      here,
      "'{}' is of version {}, this library reads version {}; use a newer library",
      name,
      info["version"],
      kVersion);
  return checkpoint;
}

} // namespace barlow
