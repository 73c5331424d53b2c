// SPDX-License-Identifier: Apache-2.0
#include <barlow/data.h>

#include <algorithm>
#include <array>
#include <map>

#include <barlow/image.h>

#include "check.h"

namespace barlow {
namespace {

namespace fs = std::filesystem;
constexpr auto kHere = "DataLoaders::from_folder";

bool is_image(const fs::path& path) {
  constexpr std::array<std::string_view, 8> kSuffixes{
      ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".jpe"};
  auto suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

std::vector<fs::path> images_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && is_image(entry.path())) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct LabelledFile {
  fs::path path;
  std::string label;
};

// SPLIT/CLASS/image
std::vector<LabelledFile> images_of_split(const fs::path& folder) {
  std::vector<fs::path> classes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) {
      classes.push_back(entry.path());
    }
  }
  std::sort(classes.begin(), classes.end());
  std::vector<LabelledFile> files;
  for (const auto& c : classes) {
    for (auto& path : images_in(c)) {
      files.push_back({std::move(path), c.filename().string()});
    }
  }
  check<FileError>(
      !files.empty(),
      kHere,
      "'{}' has no images; expected {}/CLASS/*.png or another format",
      folder.string(),
      folder.string());
  return files;
}

class ImageFiles : public Dataset {
 public:
  ImageFiles(std::vector<fs::path> files, std::vector<int64_t> labels, const FolderOptions& options)
      : files_(std::move(files)), labels_(std::move(labels)), channels_(options.channels), resize_(options.resize) {}

  int64_t size() const override {
    return static_cast<int64_t>(files_.size());
  }

  Sample get(int64_t index) const override {
    const auto i = static_cast<size_t>(index);
    auto image = read_image(files_[i], channels_);
    return {resize_ > 0 ? resize_to_square(image, resize_) : image, labels_.empty() ? -1 : labels_[i]};
  }

  std::string sample_name(int64_t index) const override {
    return fmt::format("'{}'", files_[static_cast<size_t>(index)].string());
  }

 private:
  std::vector<fs::path> files_;
  std::vector<int64_t> labels_;
  int64_t channels_, resize_;
};

std::shared_ptr<Dataset> labelled_set(
    const std::vector<LabelledFile>& files,
    const std::map<std::string, int64_t>& classes,
    const FolderOptions& options) {
  std::vector<fs::path> paths;
  std::vector<int64_t> labels;
  for (const auto& file : files) {
    paths.push_back(file.path);
    labels.push_back(classes.at(file.label));
  }
  return std::make_shared<ImageFiles>(std::move(paths), std::move(labels), options);
}

DataLoader training_loader(std::shared_ptr<Dataset> set, const fs::path& folder, const FolderOptions& o) {
  check(
      o.batch_size <= set->size(),
      kHere,
      "batch_size {} is larger than the {} training images of '{}'; use at most {}",
      o.batch_size,
      set->size(),
      folder.string(),
      set->size());
  return DataLoader(
      std::move(set),
      {.batch_size = o.batch_size, .shuffle = true, .drop_last = true, .seed = o.seed, .num_workers = o.num_workers});
}

constexpr uint64_t kValidSeed = 0x9e3779b97f4a7c15; // so that sample i of both sets draws different views

} // namespace

DataLoaders::DataLoaders(DataLoader train_loader, std::optional<DataLoader> valid_loader)
    : train(std::move(train_loader)), valid(std::move(valid_loader)) {}

DataLoaders DataLoaders::from_folder(const fs::path& folder, const FolderOptions& o) {
  check<FileError>(fs::is_directory(folder), kHere, "'{}' is not a folder", folder.string());
  check(o.channels == 1 || o.channels == 3, kHere, "channels must be 1 or 3, received {}", o.channels);
  check(o.batch_size >= 1, kHere, "batch_size must be at least 1, received {}", o.batch_size);
  check(o.resize >= 0, kHere, "resize must be 0 or a number of pixels, received {}", o.resize);

  const auto train_folder = folder / o.train, valid_folder = folder / o.valid;
  const bool has_train = fs::is_directory(train_folder), has_valid = !o.valid.empty() && fs::is_directory(valid_folder);
  if (!has_train && !has_valid) {
    auto files = images_in(folder);
    check<FileError>(
        !files.empty(),
        kHere,
        "'{}' has no images; expected images right in it, or {}/CLASS/ and {}/CLASS/",
        folder.string(),
        o.train,
        o.valid);
    return DataLoaders(
        training_loader(std::make_shared<ImageFiles>(std::move(files), std::vector<int64_t>{}, o), folder, o));
  }
  check<FileError>(
      has_train, kHere, "'{}' has {}/ but no {}/ with the training images", folder.string(), o.valid, o.train);
  check<FileError>(
      has_valid || o.valid.empty(),
      kHere,
      "'{}' has {}/ but no {}/; add it, or set .valid = \"\" to train without validation",
      folder.string(),
      o.train,
      o.valid);

  const auto train_files = images_of_split(train_folder);
  const auto valid_files = has_valid ? images_of_split(valid_folder) : std::vector<LabelledFile>{};
  std::map<std::string, int64_t> classes;
  for (const auto* files : {&train_files, &valid_files}) {
    for (const auto& file : *files) {
      classes.emplace(file.label, 0);
    }
  }
  std::vector<std::string> names;
  for (auto& [name, number] : classes) {
    number = static_cast<int64_t>(names.size());
    names.push_back(name);
  }

  DataLoaders loaders(training_loader(labelled_set(train_files, classes, o), train_folder, o));
  if (has_valid) {
    loaders.valid = DataLoader(
        labelled_set(valid_files, classes, o),
        {.batch_size = o.batch_size, .seed = o.seed ^ kValidSeed, .num_workers = o.num_workers});
  }
  loaders.classes = std::move(names);
  return loaders;
}

} // namespace barlow
