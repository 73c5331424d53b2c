// SPDX-License-Identifier: Apache-2.0
// From a sample as its source has it to what a batch is made of.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include <barlow/augment/random_transforms.h>
#include <barlow/data.h>

#include "../image/encoded_image.h"

namespace barlow {

/// Nanoseconds of all workers together.
struct WorkTimes {
  std::atomic<int64_t> read = 0, decode = 0, crop = 0;
};

/// Adds the time that it lives.
class Timed {
 public:
  explicit Timed(std::atomic<int64_t>& total) : total_(total) {}
  ~Timed() {
    total_ += (std::chrono::steady_clock::now() - start_).count();
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  std::atomic<int64_t>& total_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct SampleKey {
  int64_t epoch, index;
  int64_t first_index; ///< of its batch, for transforms that draw once a batch
};

class SampleMaker {
 public:
  SampleMaker(const LoaderOptions& options, std::vector<Pipeline> views);

  /// The image, or one of each view. Throws Error for what is no image.
  std::vector<at::Tensor>
  make(const Sample& sample, const std::string& name, const SampleKey& key, Deadline deadline, WorkTimes& times) const;

 private:
  struct Crop {
    Box box;
    bool mirrored;
  };
  std::vector<Crop> draw(const SampleKey& key, int64_t height, int64_t width) const;
  Picture decode(EncodedImage& image, const std::vector<Crop>& crops) const;
  at::Tensor cut(const Picture& picture, const Crop& crop, size_t view) const;
  std::vector<at::Tensor> cut_all(const Picture& picture, const std::vector<Crop>& crops) const;

  LoaderOptions options_;
  std::vector<Pipeline> views_;
  std::vector<const RandomResizedCrop*> crops_; // of each view
};

} // namespace barlow
