// SPDX-License-Identifier: Apache-2.0
// Data sets that fit into memory: tensors, MNIST, CIFAR.
#include <algorithm>
#include <optional>

#include <torch/torch.h>

#include <barlow/datasets.h>

#include "../check.h"
#include "../file.h"
#include "../paths.h"
#include "files.h"

namespace barlow {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

class InMemory : public Dataset {
 public:
  InMemory(Tensor images, Tensor labels) : images_(std::move(images)), labels_(std::move(labels)) {}
  int64_t size() const override {
    return images_.size(0);
  }
  Sample get(int64_t index) const override {
    const auto of = label(index); // looks at the index
    return {images_[index], of};
  }
  int64_t label(int64_t index) const override {
    check_index(index, size(), "tensor_dataset");
    return labels_.defined() ? labels_.const_data_ptr<int64_t>()[index] : -1;
  }

 private:
  Tensor images_, labels_;
};

} // namespace

std::shared_ptr<Dataset> tensor_dataset(Tensor images, const Tensor& labels) {
  constexpr auto here = "tensor_dataset";
  check(
      images.defined() && images.dim() == 4 && images.is_cpu() &&
          (images.scalar_type() == torch::kByte || images.is_floating_point()),
      here,
      "images must be uint8 or floating [N,C,H,W] on the CPU, received {}",
      describe(images));
  check(
      !labels.defined() ||
          (labels.sizes() == at::IntArrayRef{images.size(0)} && labels.scalar_type() == torch::kLong &&
           labels.is_cpu()),
      here,
      "labels must be int64 [{}] on the CPU, received {}",
      images.size(0),
      describe(labels));
  return std::make_shared<InMemory>(std::move(images), labels.defined() ? labels.contiguous() : labels);
}

namespace {

// FOLDER/NAME or FOLDER/NAME.gz
std::optional<Tensor> idx_in(const fs::path& folder, const std::string& name) {
  for (const auto& file : {folder / name, folder / (name + ".gz")}) {
    if (is_there(file)) {
      return read_idx(file);
    }
  }
  return std::nullopt;
}

std::shared_ptr<Dataset> mnist(const fs::path& folder, const std::string& prefix, const char* here) {
  const auto images = idx_in(folder, prefix + "-images-idx3-ubyte");
  if (!images) {
    return nullptr;
  }
  const auto labels = idx_in(folder, prefix + "-labels-idx1-ubyte");
  check<FileError>(
      images->dim() == 3 && (!labels || (labels->dim() == 1 && labels->size(0) == images->size(0))),
      here,
      "'{}' must have {}-images of three dimensions and as many labels, received {} and {}",
      folder.string(),
      prefix,
      describe(*images),
      labels ? describe(*labels) : "none");
  return tensor_dataset(images->unsqueeze(1), labels ? labels->to(torch::kLong) : Tensor());
}

std::vector<std::string> numbers_below(int64_t n) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    names.push_back(std::to_string(i));
  }
  return names;
}

// What the labels of a set go up to.
int64_t label_count(const Dataset& set) {
  int64_t most = -1;
  for (int64_t i = 0; i < set.size(); ++i) {
    most = std::max(most, set.get(i).label);
  }
  return most + 1;
}

} // namespace

DataLoaders DataLoaders::from_mnist(const fs::path& folder, const LoaderOptions& options) {
  constexpr auto here = "DataLoaders::from_mnist";
  const auto train = mnist(folder, "train", here);
  check<FileError>(train != nullptr, here, "'{}' has no train-images-idx3-ubyte or .gz of it", folder.string());
  auto loaders = make_loaders(train, mnist(folder, "t10k", here), options, here);
  loaders.classes = numbers_below(label_count(*train));
  return loaders;
}

namespace {

std::shared_ptr<Dataset> cifar(const std::vector<fs::path>& files, Cifar kind) {
  std::vector<Tensor> images, labels;
  for (const auto& file : files) {
    auto records = read_cifar(file, kind);
    images.push_back(std::move(records.images));
    labels.push_back(records.labels.select(1, records.labels.size(1) - 1));
  }
  return images.empty() ? nullptr : tensor_dataset(torch::cat(images), torch::cat(labels));
}

std::vector<std::string> class_names(const fs::path& file, int64_t count) {
  if (is_there(file)) {
    std::vector<std::string> names;
    const auto bytes = read_file(file, "DataLoaders::from_cifar");
    for (const auto& line : parse_path_list({bytes.data(), bytes.size()})) {
      names.push_back(line.string());
    }
    if (static_cast<int64_t>(names.size()) == count) {
      return names;
    }
  }
  return numbers_below(count);
}

} // namespace

DataLoaders DataLoaders::from_cifar(const fs::path& folder, const LoaderOptions& options) {
  constexpr auto here = "DataLoaders::from_cifar";
  const bool hundred = is_there(folder / "train.bin");
  std::vector<fs::path> train, test;
  for (const auto& name : hundred
           ? std::vector<std::string>{"train.bin"}
           : std::vector<std::string>{
                 "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}) {
    if (is_there(folder / name)) {
      train.push_back(folder / name);
    }
  }
  check<FileError>(
      !train.empty(), here, "'{}' has neither data_batch_1.bin (CIFAR-10) nor train.bin (CIFAR-100)", folder.string());
  if (const auto file = folder / (hundred ? "test.bin" : "test_batch.bin"); is_there(file)) {
    test.push_back(file);
  }
  const auto kind = hundred ? Cifar::Hundred : Cifar::Ten;
  auto loaders = make_loaders(cifar(train, kind), cifar(test, kind), options, here);
  loaders.classes =
      hundred ? class_names(folder / "fine_label_names.txt", 100) : class_names(folder / "batches.meta.txt", 10);
  return loaders;
}

} // namespace barlow
