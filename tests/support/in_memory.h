// SPDX-License-Identifier: Apache-2.0
// Small data sets and folders for tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>

#include <torch/torch.h>

#include <barlow/data.h>

namespace barlow::testing {

/// The rows of images [N,C,H,W], without labels.
class TensorDataset : public Dataset {
 public:
  explicit TensorDataset(torch::Tensor images, torch::Tensor labels = {})
      : images_(std::move(images)), labels_(std::move(labels)) {}
  int64_t size() const override {
    return images_.size(0);
  }
  Sample get(int64_t index) const override {
    return {images_[index], labels_.defined() ? labels_[index].item<int64_t>() : -1};
  }

 private:
  torch::Tensor images_, labels_; // [N,...], [N] or undefined
};

inline DataLoader tensor_loader(const torch::Tensor& images, const LoaderOptions& options) {
  return DataLoader(std::make_shared<TensorDataset>(images), options);
}

/// A uint8 image [C,H,W] in which no two neighbours are alike.
inline torch::Tensor gradient(int64_t channels, int64_t height, int64_t width) {
  return (torch::arange(channels * height * width) % 251).to(torch::kByte).view({channels, height, width});
}

/// Writes a file; makes its folder if there is none.
inline void write_bytes(const std::filesystem::path& file, std::string_view bytes) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A folder that is removed at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    auto pattern = (std::filesystem::temp_directory_path() / "barlow_test_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const {
    return path_;
  }

 private:
  std::filesystem::path path_;
};

} // namespace barlow::testing
