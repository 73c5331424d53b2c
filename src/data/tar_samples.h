// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include <barlow/data.h>

#include "archive.h"

namespace barlow {

/// Samples of one archive: groups of its files by name. Throws FileError where the archive is damaged.
class TarSamples {
 public:
  TarSamples(TarReader& reader, bool only_count) : reader_(reader), only_count_(only_count) {}

  struct Group {
    std::string key{};
    Sample sample{};
    bool has_image = false;
    std::string error{};
  };
  std::optional<Group> next();

 private:
  void take(Group& group, const std::string& path);

  TarReader& reader_;
  bool only_count_;
  std::optional<std::string> path_{}; // of a file that belongs to the next group
  bool begun_ = false;
};

/// "a/b.c.jpg": "a/b", what its sample's files have in common.
std::string tar_key(const std::string& path);

} // namespace barlow
