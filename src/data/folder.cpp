// SPDX-License-Identifier: Apache-2.0
// Which files of a folder or list are for training and which for validation, and their labels.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <barlow/datasets.h>
#include <barlow/random.h>

#include "../check.h"
#include "../file.h"
#include "../paths.h"
#include "files.h"

namespace barlow {

namespace fs = std::filesystem;

namespace {

constexpr auto kHere = "DataLoaders::from_folder";

struct Split {
  PathList train{}, valid{};
};

// These become the validation set, the others the training set.
Split split_of(const PathList& files, const std::vector<bool>& is_valid) {
  std::vector<int64_t> train, valid;
  for (int64_t i = 0; i < files.size(); ++i) {
    (is_valid[static_cast<size_t>(i)] ? valid : train).push_back(i);
  }
  return {files.select(train), files.select(valid)};
}

Split random_split(const PathList& files, const RandomSplitter& splitter, const char* here) {
  check(
      splitter.valid_pct > 0 && splitter.valid_pct < 1,
      here,
      "RandomSplitter's valid_pct must be in (0, 1), received {}",
      splitter.valid_pct);
  const auto n = files.size();
  const auto valid = static_cast<int64_t>(splitter.valid_pct * static_cast<double>(n));
  const auto order = random_permutation(n, splitter.seed, 0);
  std::vector<bool> is_valid(static_cast<size_t>(n));
  for (int64_t i = 0; i < valid; ++i) {
    is_valid[static_cast<size_t>(order[static_cast<size_t>(i)])] = true;
  }
  auto split = split_of(files, is_valid);
  split.train.sort();
  split.valid.sort();
  return split;
}

Split listed_split(const PathList& files, const fs::path& folder, const fs::path& list, const char* here) {
  const auto bytes = read_file(list, here);
  std::set<fs::path> wanted;
  for_each_path(
      {bytes.data(), bytes.size()}, [&](std::string_view path) { wanted.insert((folder / path).lexically_normal()); });
  std::vector<bool> is_valid(static_cast<size_t>(files.size()));
  for (int64_t i = 0; i < files.size(); ++i) {
    is_valid[static_cast<size_t>(i)] = wanted.erase(files[i].lexically_normal()) != 0;
  }
  check<FileError>(
      wanted.empty(),
      here,
      "'{}' names {} files that are not among the images, '{}' for one; paths are relative to '{}'",
      list.string(),
      wanted.size(),
      wanted.empty() ? "" : wanted.begin()->string(),
      folder.string());
  return split_of(files, is_valid);
}

PathList images_of_split(const fs::path& folder) {
  auto files = find_images(folder);
  check<FileError>(
      files.size() > 0,
      kHere,
      "'{}' has no images; expected {}/CLASS/*.png or another format",
      folder.string(),
      folder.string());
  return files;
}

Split grandparent_split(const fs::path& folder, const GrandparentSplitter& splitter) {
  const auto train = folder / splitter.train, valid = folder / splitter.valid;
  const bool has_valid = !splitter.valid.empty() && is_folder(valid);
  check<FileError>(
      is_folder(train),
      kHere,
      "'{}' has {} {}/ with the training images",
      folder.string(),
      has_valid ? splitter.valid + "/ but no" : "no",
      splitter.train);
  check<FileError>(
      has_valid || splitter.valid.empty(),
      kHere,
      "'{}' has {}/ but no {}/; add it, or train without validation: GrandparentSplitter{{.valid = \"\"}}",
      folder.string(),
      splitter.train,
      splitter.valid);
  return {images_of_split(train), has_valid ? images_of_split(valid) : PathList{}};
}

// The class of the images that lie in each folder: its name, unless it is one of the roots. nullopt: no image lies
// there.
std::vector<std::optional<std::string>> classes_of_folders(const PathList& files, const std::vector<fs::path>& roots) {
  std::vector<std::optional<std::string>> classes(files.folders().size());
  for (int64_t i = 0; i < files.size(); ++i) {
    const auto number = files.folder(i);
    if (!classes[number]) {
      const fs::path folder = files.folders()[number];
      const bool is_root = std::find(roots.begin(), roots.end(), folder) != roots.end();
      classes[number] = is_root ? "" : folder.filename().string();
    }
  }
  return classes;
}

// Names of classes get their numbers in alphabetical order.
DataLoaders labelled_loaders(const Split& split, const std::vector<fs::path>& roots, const LoaderOptions& options) {
  std::map<std::string, int64_t> classes;
  for (const auto* files : {&split.train, &split.valid}) {
    for (const auto& name : classes_of_folders(*files, roots)) {
      if (name) {
        classes.emplace(*name, -1);
      }
    }
  }
  std::vector<std::string> names;
  for (auto& [name, number] : classes) {
    if (!name.empty()) {
      number = static_cast<int64_t>(names.size());
      names.push_back(name);
    }
  }
  const auto dataset = [&](const PathList& files) -> std::shared_ptr<Dataset> {
    if (files.size() == 0) {
      return nullptr;
    }
    std::vector<int64_t> labels;
    if (!names.empty()) {
      const auto of_folders = classes_of_folders(files, roots);
      labels.reserve(static_cast<size_t>(files.size()));
      for (int64_t i = 0; i < files.size(); ++i) {
        labels.push_back(classes.at(*of_folders[files.folder(i)]));
      }
    }
    return image_files(files, std::move(labels), /*found=*/true);
  };
  auto loaders = make_loaders(dataset(split.train), dataset(split.valid), options, kHere);
  loaders.classes = std::move(names);
  return loaders;
}

constexpr uint64_t kValidSeed = 0x9e3779b97f4a7c15; // so that sample i of both sets draws different views

} // namespace

LoaderOptions training_options(LoaderOptions options, int64_t samples, std::string_view name) {
  check(
      options.batch_size <= samples,
      name,
      "batch_size {} is larger than the {} training images; use at most {}",
      options.batch_size,
      samples,
      samples);
  options.shuffle = options.drop_last = true;
  return options;
}

LoaderOptions validation_options(LoaderOptions options) {
  options.shuffle = options.drop_last = false;
  options.seed ^= kValidSeed;
  return options;
}

DataLoaders make_loaders(
    std::shared_ptr<const Dataset> train,
    std::shared_ptr<const Dataset> valid,
    LoaderOptions options,
    std::string_view name) {
  check(train != nullptr && train->size() > 0, name, "no images are left for training");
  const auto for_training = training_options(options, train->size(), name);
  DataLoaders loaders(DataLoader(std::move(train), for_training));
  if (valid != nullptr) {
    loaders.valid = DataLoader(std::move(valid), validation_options(options));
  }
  return loaders;
}

DataLoaders::DataLoaders(DataLoader train_loader, std::optional<DataLoader> valid_loader)
    : train(std::move(train_loader)), valid(std::move(valid_loader)) {}

DataLoaders DataLoaders::from_folder(const fs::path& folder, const LoaderOptions& options, const Splitter& splitter) {
  check<FileError>(is_folder(folder), kHere, "'{}' is not a folder", folder.string());
  const GrandparentSplitter usual;
  const bool has_splits = is_folder(folder / usual.train) || is_folder(folder / usual.valid);
  const auto* grandparent = std::get_if<GrandparentSplitter>(&splitter);
  if (grandparent != nullptr || (splitter.index() == 0 && has_splits)) {
    const auto& s = grandparent != nullptr ? *grandparent : usual;
    return labelled_loaders(grandparent_split(folder, s), {folder / s.train, folder / s.valid}, options);
  }
  auto files = find_images(folder);
  check<FileError>(
      files.size() > 0,
      kHere,
      "'{}' has no images; expected images anywhere in it, or {}/CLASS/ and {}/CLASS/",
      folder.string(),
      usual.train,
      usual.valid);
  Split split;
  if (const auto* random = std::get_if<RandomSplitter>(&splitter)) {
    split = random_split(files, *random, kHere);
  } else if (const auto* listed = std::get_if<FileSplitter>(&splitter)) {
    split = listed_split(files, folder, listed->file, kHere);
  } else {
    split.train = std::move(files);
  }
  return labelled_loaders(split, {folder}, options);
}

DataLoaders DataLoaders::from_list(const fs::path& file, const LoaderOptions& options, const Splitter& splitter) {
  constexpr auto here = "DataLoaders::from_list";
  auto files = read_paths(file);
  Split split;
  if (const auto* random = std::get_if<RandomSplitter>(&splitter)) {
    split = random_split(files, *random, here);
  } else if (const auto* listed = std::get_if<FileSplitter>(&splitter)) {
    split = listed_split(files, file.parent_path(), listed->file, here);
  } else {
    check(
        splitter.index() == 0,
        here,
        "a list cannot be split by GrandparentSplitter; use RandomSplitter or FileSplitter");
    split.train = std::move(files);
  }
  return make_loaders(
      image_files(std::move(split.train), {}, /*found=*/false),
      split.valid.size() == 0 ? nullptr : image_files(std::move(split.valid), {}, /*found=*/false),
      options,
      here);
}

} // namespace barlow
