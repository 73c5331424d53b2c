// SPDX-License-Identifier: Apache-2.0
#include "path_list.h"

#include <algorithm>

namespace barlow {

uint32_t PathList::add_folder(const std::string& folder) {
  const auto [entry, is_new] = names_->numbers.try_emplace(folder, static_cast<uint32_t>(names_->folders.size()));
  if (is_new) {
    names_->folders.push_back(folder);
  }
  return entry->second;
}

void PathList::add(uint32_t folder, std::string_view name) {
  auto& names = *names_;
  order_.push_back(static_cast<uint32_t>(names.folder.size()));
  names.folder.push_back(folder);
  names.text += name;
  names.begins.push_back(names.text.size());
}

std::filesystem::path PathList::operator[](int64_t i) const {
  const auto file = order_[static_cast<size_t>(i)];
  return std::filesystem::path(names_->folders[names_->folder[file]]) / names_->name(file);
}

uint32_t PathList::folder(int64_t i) const {
  return names_->folder[order_[static_cast<size_t>(i)]];
}

PathList PathList::select(const std::vector<int64_t>& which) const {
  PathList some;
  some.names_ = names_;
  some.order_.reserve(which.size());
  for (const auto i : which) {
    some.order_.push_back(order_[static_cast<size_t>(i)]);
  }
  return some;
}

void PathList::sort() {
  std::sort(order_.begin(), order_.end(), [this](uint32_t a, uint32_t b) { return names_->less(a, b); });
}

std::string_view PathList::Names::name(uint32_t file) const {
  return std::string_view(text).substr(begins[file], begins[file + 1] - begins[file]);
}

bool PathList::Names::less(uint32_t a, uint32_t b) const {
  if (folder[a] == folder[b]) {
    return name(a) < name(b);
  }
  const std::string_view folder_a = folders[folder[a]], folder_b = folders[folder[b]];
  // What follows the part that both folders begin with; a separator is the least of characters.
  const auto shared = static_cast<size_t>(
      std::mismatch(folder_a.begin(), folder_a.end(), folder_b.begin(), folder_b.end()).first - folder_a.begin());
  const auto character = [](std::string_view in, std::string_view file, size_t i) {
    const size_t begin = in.size() + (in.empty() ? 0 : 1);
    const char c = i < in.size() ? in[i] : i < begin ? '/' : file[i - begin];
    return c == '/' ? 0 : 1 + static_cast<int>(static_cast<unsigned char>(c));
  };
  const auto length = [](std::string_view in, std::string_view file) {
    return in.size() + (in.empty() ? 0 : 1) + file.size();
  };
  const auto name_a = name(a), name_b = name(b);
  const auto length_a = length(folder_a, name_a), length_b = length(folder_b, name_b);
  for (size_t i = shared; i < std::min(length_a, length_b); ++i) {
    const int in_a = character(folder_a, name_a, i), in_b = character(folder_b, name_b, i);
    if (in_a != in_b) {
      return in_a < in_b;
    }
  }
  return length_a < length_b;
}

} // namespace barlow
