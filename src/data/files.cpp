// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <algorithm>
#include <array>
#include <set>

#include <barlow/datasets.h>

#include "../check.h"
#include "../file.h"
#include "../image/encoded_image.h"
#include "../paths.h"

namespace barlow {

namespace fs = std::filesystem;

namespace {

constexpr auto kImageFiles = "image_files";

class ImageFiles : public Dataset {
 public:
  ImageFiles(PathList files, std::vector<int64_t> labels, bool found)
      : files_(std::move(files)), labels_(std::move(labels)), found_(found) {}

  int64_t size() const override {
    return files_.size();
  }
  Sample get(int64_t index) const override {
    check_index(index, size(), kImageFiles);
    const auto file = files_[index];
    auto bytes = read(file);
    check<FileError>(!bytes.empty(), "DataLoader", "'{}' is empty", file.string());
    return {.image = {}, .label = label(index), .encoded = std::move(bytes)};
  }
  int64_t label(int64_t index) const override {
    check_index(index, size(), kImageFiles);
    return labels_.empty() ? -1 : labels_[static_cast<size_t>(index)];
  }
  std::string sample_name(int64_t index) const override {
    check_index(index, size(), kImageFiles);
    return files_[index].string();
  }
  bool encoded() const override {
    return true;
  }

 private:
  std::vector<char> read(const fs::path& file) const {
    constexpr auto here = "DataLoader";
    try {
      return read_file(file, here, kLargestImageFile);
    } catch (const FileError&) {
      check<FileGone>(
          !found_ || is_there(file),
          here,
          "'{}' was there when its folder was listed, and is gone; put it back, and go on from the last checkpoint",
          file.string());
      throw;
    }
  }

  PathList files_;
  std::vector<int64_t> labels_;
  bool found_;
};

void add(PathList& list, const fs::path& file) {
  list.add(list.add_folder(file.parent_path().string()), file.filename().string());
}

} // namespace

std::shared_ptr<Dataset> image_files(PathList files, std::vector<int64_t> labels, bool found) {
  check(
      labels.empty() || static_cast<int64_t>(labels.size()) == files.size(),
      kImageFiles,
      "there must be a label for each file or none, received {} for {}",
      labels.size(),
      files.size());
  return std::make_shared<ImageFiles>(std::move(files), std::move(labels), found);
}

std::shared_ptr<Dataset> image_files(const std::vector<fs::path>& files, std::vector<int64_t> labels) {
  PathList list;
  for (const auto& file : files) {
    add(list, file);
  }
  return image_files(std::move(list), std::move(labels), /*found=*/false);
}

void check_index(int64_t index, int64_t size, std::string_view name) {
  check(index >= 0 && index < size, name, "a sample's number must be 0 to {}, received {}", size - 1, index);
}

bool is_image_name(const fs::path& path) {
  constexpr std::array<std::string_view, 8> kSuffixes{
      ".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp"};
  auto suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

PathList find_images(const fs::path& folder) {
  PathList images;
  std::vector<fs::path> to_visit{folder};
  std::set<fs::path> visited;
  std::error_code error;
  while (!to_visit.empty()) {
    const auto here = std::move(to_visit.back());
    to_visit.pop_back();
    if (!visited.insert(fs::canonical(here, error)).second) {
      continue; // a link back
    }
    const auto number = images.add_folder(here.string());
    for (fs::directory_iterator entry(here, error), end; !error && entry != end; entry.increment(error)) {
      std::error_code gone;
      if (entry->is_directory(gone)) {
        to_visit.push_back(entry->path());
      } else if (is_image_name(entry->path()) && entry->is_regular_file(gone)) {
        images.add(number, entry->path().filename().string());
      }
    }
    if (error) {
      add(images, here);
    }
  }
  images.sort();
  return images;
}

void for_each_path(std::string_view text, const std::function<void(std::string_view)>& take) {
  const char separator = text.find('\0') == std::string_view::npos ? '\n' : '\0';
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (separator == '\n' && line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (!line.empty()) {
      take(line);
    }
  }
}

std::vector<fs::path> parse_path_list(std::string_view text) {
  std::vector<fs::path> paths;
  for_each_path(text, [&](std::string_view path) { paths.emplace_back(path); });
  return paths;
}

PathList read_paths(const fs::path& file) {
  constexpr auto here = "read_path_list";
  const auto bytes = read_file(file, here);
  PathList paths;
  for_each_path({bytes.data(), bytes.size()}, [&](std::string_view path) { // an absolute path stays
    add(paths, (file.parent_path() / path).lexically_normal());
  });
  check<FileError>(paths.size() > 0, here, "'{}' names no file", file.string());
  return paths;
}

std::vector<fs::path> read_path_list(const fs::path& file) {
  const auto list = read_paths(file);
  std::vector<fs::path> paths;
  paths.reserve(static_cast<size_t>(list.size()));
  for (int64_t i = 0; i < list.size(); ++i) {
    paths.push_back(list[i]);
  }
  return paths;
}

} // namespace barlow
