// SPDX-License-Identifier: Apache-2.0
// Paths of millions of files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace barlow {

/// Each folder once and all names in one piece of memory: a file takes its name and 20 bytes, where a vector of paths
/// takes hundreds. Copies and selections share the names.
class PathList {
 public:
  /// The number of a folder, which is kept.
  uint32_t add_folder(const std::string& folder);
  void add(uint32_t folder, std::string_view name);

  int64_t size() const {
    return static_cast<int64_t>(order_.size());
  }
  std::filesystem::path operator[](int64_t i) const;
  uint32_t folder(int64_t i) const; ///< number of the folder that file i is in
  const std::vector<std::string>& folders() const {
    return names_->folders;
  }

  PathList select(const std::vector<int64_t>& which) const;
  void sort(); ///< in the order of std::filesystem::path: by components

 private:
  struct Names {
    std::vector<std::string> folders{};
    std::unordered_map<std::string, uint32_t> numbers{};
    std::string text{}; // of all files
    std::vector<uint64_t> begins{0};
    std::vector<uint32_t> folder{}; // of each file

    std::string_view name(uint32_t file) const;
    bool less(uint32_t a, uint32_t b) const;
  };
  std::shared_ptr<Names> names_ = std::make_shared<Names>();
  std::vector<uint32_t> order_{};
};

} // namespace barlow
