// SPDX-License-Identifier: Apache-2.0
#include "data_source.h"

#include <algorithm>
#include <filesystem>

#include <torch/torch.h>

#include <barlow/datasets.h>

#include "arguments.h"
#include "check.h"

namespace barlow::cli {
namespace {

namespace fs = std::filesystem;

bool has_any(const fs::path& folder, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return fs::exists(folder / name); });
}

bool is_tar(const fs::path& path) {
  const auto name = path.filename().string();
  return name.find(".tar") != std::string::npos || name.ends_with(".tgz");
}

std::vector<fs::path> shards(const std::string& path) {
  std::vector<fs::path> all;
  if (!fs::is_directory(path)) {
    return expand_shards(path);
  }
  for (const auto& entry : fs::directory_iterator(path)) {
    if (is_tar(entry.path())) {
      all.push_back(entry.path());
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

Splitter held_out(const DataSource& source) {
  return source.valid_pct > 0 ? Splitter{RandomSplitter{source.valid_pct, source.seed}} : Splitter{};
}

// The images' own folder, and how they are split. A folder with train/ but nothing to validate with is train/.
std::pair<fs::path, Splitter> folder_and_splitter(const DataSource& source) {
  const fs::path folder = source.path;
  if (fs::is_directory(folder / "train")) {
    for (const auto* valid : {"valid", "val", "test"}) {
      if (fs::is_directory(folder / valid)) {
        return {folder, GrandparentSplitter{"train", valid}};
      }
    }
    return {folder / "train", held_out(source)};
  }
  return {folder, fs::is_directory(folder / "valid") ? Splitter{} : held_out(source)}; // {}: an error that says why
}

LoaderOptions loader_options(const DataSource& source, int64_t batch_size, int64_t resize) {
  return {
      .batch_size = batch_size,
      .channels = source.channels,
      .resize = resize,
      .seed = source.seed,
      .num_workers = source.workers,
      .on_bad = source.on_bad == "stop" ? OnBad::Stop
          : source.on_bad == "replace"  ? OnBad::Replace
                                        : OnBad::Skip};
}

} // namespace

void add_data_options(CLI::App& app, DataSource& source) {
  constexpr auto group = "Data";
  add(app,
      "data,--data",
      source.path,
      "Folder of images, list of paths (.txt), tar shards (which have no split), MNIST's or CIFAR's files")
      ->required()
      ->group(group);
  only(add(app, "--format", source.format, "What the path holds"), {"auto", "folder", "list", "tar", "mnist", "cifar"})
      ->group(group);
  add(app, "--valid-pct", source.valid_pct, "Share to hold out where the data has no split; 0: none")
      ->check(CLI::Range(0., 0.9))
      ->group(group);
  add(app, "--workers", source.workers, "Threads that read images; -1: one for each core")->group(group);
  only(add(app, "--on-bad", source.on_bad, "What to do with a file that cannot be read"), {"skip", "replace", "stop"})
      ->group(group);
  add(app, "--seed", source.seed, "Of weights, order and views")->group(group);
}

std::string format_of(const DataSource& source) {
  if (source.format != "auto") {
    return source.format;
  }
  const fs::path path = source.path;
  if (path.string().find('{') != std::string::npos || (fs::is_regular_file(path) && is_tar(path))) {
    return "tar";
  }
  check<FileError>(
      fs::exists(path), "data", "'{}' is not there; give a folder of images, a list, or tar shards", path.string());
  if (fs::is_regular_file(path)) {
    return "list";
  }
  if (has_any(path, {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"})) {
    return "mnist";
  }
  if (has_any(path, {"data_batch_1.bin", "train.bin"})) {
    return "cifar";
  }
  return shards(path.string()).empty() ? "folder" : "tar";
}

DataLoaders open(const DataSource& source, int64_t batch_size, int64_t resize) {
  const auto format = format_of(source);
  const auto options = loader_options(source, batch_size, resize);
  if (format == "mnist") {
    return DataLoaders::from_mnist(source.path, options);
  }
  if (format == "cifar") {
    return DataLoaders::from_cifar(source.path, options);
  }
  if (format == "tar") {
    return DataLoaders::from_tar(shards(source.path), options);
  }
  if (format == "list") {
    return DataLoaders::from_list(source.path, options, held_out(source));
  }
  const auto [folder, splitter] = folder_and_splitter(source);
  return DataLoaders::from_folder(folder, options, splitter);
}

Look look_at(const DataSource& source) {
  constexpr int64_t kShown = 64;
  const auto dls = open(source, 1);
  Look look{.train = dls.train.samples(), .valid = dls.valid ? dls.valid->samples() : 0};
  std::vector<int64_t> sides;
  int64_t largest_label = -1;
  bool colour = false;
  auto stream = dls.train.epoch(0);
  for (auto batch = stream.next(); batch && look.shown < kShown; batch = stream.next()) {
    ++look.shown;
    const auto& x = batch->x;
    look.channels = x.size(1);
    sides.push_back(std::min(x.size(2), x.size(3)));
    colour =
        colour || (x.size(1) == 3 && !(x.select(1, 0).equal(x.select(1, 1)) && x.select(1, 1).equal(x.select(1, 2))));
    if (batch->y.defined()) {
      largest_label = std::max(largest_label, batch->y.max().item<int64_t>());
    }
  }
  if (sides.empty()) {
    const auto bad = dls.train.bad_samples();
    throw FileError(
        fmt::format(
            "[data] no image of '{}' could be read; {}", source.path, bad.empty() ? "it is empty" : bad[0].reason));
  }
  std::sort(sides.begin(), sides.end());
  look.smallest = sides.front();
  look.median = sides[sides.size() / 2];
  look.largest = sides.back();
  look.channels = look.channels == 3 && !colour ? 1 : look.channels;
  look.classes = largest_label < 0 ? 0 : std::max(largest_label + 1, static_cast<int64_t>(dls.classes.size()));
  return look;
}

} // namespace barlow::cli
