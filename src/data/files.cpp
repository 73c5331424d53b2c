// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <algorithm>
#include <array>
#include <set>

#include <barlow/datasets.h>

#include "../check.h"
#include "../file.h"

namespace barlow {

namespace fs = std::filesystem;

namespace {

class ImageFiles : public Dataset {
 public:
  ImageFiles(std::vector<fs::path> files, std::vector<int64_t> labels)
      : files_(std::move(files)), labels_(std::move(labels)) {}

  int64_t size() const override {
    return static_cast<int64_t>(files_.size());
  }
  Sample get(int64_t index) const override {
    const auto i = static_cast<size_t>(index);
    auto bytes = read_file(files_[i], "DataLoader");
    check<FileError>(!bytes.empty(), "DataLoader", "'{}' is empty", files_[i].string());
    return {.image = {}, .label = label(index), .encoded = std::move(bytes)};
  }
  int64_t label(int64_t index) const override {
    return labels_.empty() ? -1 : labels_[static_cast<size_t>(index)];
  }
  std::string sample_name(int64_t index) const override {
    return files_[static_cast<size_t>(index)].string();
  }
  bool encoded() const override {
    return true;
  }

 private:
  std::vector<fs::path> files_;
  std::vector<int64_t> labels_;
};

} // namespace

std::shared_ptr<Dataset> image_files(std::vector<fs::path> files, std::vector<int64_t> labels) {
  check(
      labels.empty() || labels.size() == files.size(),
      "image_files",
      "there must be a label for each file or none, received {} for {}",
      labels.size(),
      files.size());
  return std::make_shared<ImageFiles>(std::move(files), std::move(labels));
}

bool is_image_name(const fs::path& path) {
  constexpr std::array<std::string_view, 8> kSuffixes{
      ".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp"};
  auto suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

std::vector<fs::path> find_images(const fs::path& folder) {
  std::vector<fs::path> images, to_visit{folder};
  std::set<fs::path> visited;
  std::error_code error;
  while (!to_visit.empty()) {
    const auto here = std::move(to_visit.back());
    to_visit.pop_back();
    if (!visited.insert(fs::canonical(here, error)).second) {
      continue; // a link back
    }
    for (fs::directory_iterator entry(here, error), end; !error && entry != end; entry.increment(error)) {
      std::error_code gone;
      if (entry->is_directory(gone)) {
        to_visit.push_back(entry->path());
      } else if (is_image_name(entry->path()) && entry->is_regular_file(gone)) {
        images.push_back(entry->path());
      }
    }
    if (error) {
      images.push_back(here);
    }
  }
  std::sort(images.begin(), images.end());
  return images;
}

std::vector<fs::path> parse_path_list(std::string_view text) {
  const char separator = text.find('\0') == std::string_view::npos ? '\n' : '\0';
  std::vector<fs::path> paths;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (separator == '\n' && line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (!line.empty()) {
      paths.emplace_back(line);
    }
  }
  return paths;
}

std::vector<fs::path> read_path_list(const fs::path& file) {
  constexpr auto here = "read_path_list";
  const auto bytes = read_file(file, here);
  auto paths = parse_path_list({bytes.data(), bytes.size()});
  check<FileError>(!paths.empty(), here, "'{}' names no file", file.string());
  for (auto& path : paths) {
    path = (file.parent_path() / path).lexically_normal(); // an absolute path stays
  }
  return paths;
}

} // namespace barlow
