// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace barlow {

/// Whether something lies there; no for a path that nothing can lie at, with a name that is too long say.
inline bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// The same of a folder.
inline bool is_folder(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

} // namespace barlow
