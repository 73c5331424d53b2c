// SPDX-License-Identifier: Apache-2.0
// Image files in memory, decoded as far as a crop needs.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <barlow/augment/transforms.h>
#include <barlow/image.h>

namespace barlow {

/// A part of an image: pixels [C,h,w], contiguous, uint8 or float32, of the box at 1/reduction of its size.
struct Picture {
  at::Tensor pixels{};
  Box box{};
  int64_t reduction = 1;
};

/// One whose header has been read. Sizes and boxes are those of the upright image.
class EncodedImage {
 public:
  virtual ~EncodedImage() = default;

  /// At least this box, at one of the reductions 1, 2, 4, 8 that is not above the given one.
  /// Throws FileError for damaged files.
  virtual Picture decode(const Box& box, int64_t reduction) = 0;

  /// Everything.
  at::Tensor decode() {
    return decode({0, 0, height, width}, 1).pixels;
  }

  int64_t height = 0, width = 0;
};

constexpr uint64_t kLargestImageFile = uint64_t{1} << 33; ///< bytes: 2^27 pixels of 16 channels of float

using Deadline = std::chrono::steady_clock::time_point;

/// `bytes` must stay as long as the image does. Decoding stops at the deadline.
std::unique_ptr<EncodedImage> open_image(
    std::string_view bytes,
    const ImageOptions& options,
    std::string_view name,
    Deadline deadline = Deadline::max());

// --- what open_image chooses from

/// Tells what an error message needs, and checks sizes.
struct ImageContext {
  std::string_view bytes;
  ImageOptions options;
  std::string_view name;
  Deadline deadline;

  [[noreturn]] void fail(std::string_view reason) const;
  void check_size(int64_t height, int64_t width) const;
  [[noreturn]] void fail_late() const;
  bool is_late() const {
    return std::chrono::steady_clock::now() > deadline;
  }
};

/// Null for colour spaces that it leaves to OpenCV.
std::unique_ptr<EncodedImage> open_jpeg(const ImageContext& context);

/// Any number of channels of 8 or 16 bits or float; null for what it leaves to OpenCV.
at::Tensor decode_tiff(const ImageContext& context);

/// Pixels [C,H,W] of a stored image made upright. Source: Exif 2.3, tag Orientation, 1 to 8.
at::Tensor make_upright(const at::Tensor& stored, int orientation);

/// The part of the stored image (height x width) that a box of the upright one shows.
Box stored_box(const Box& upright, int orientation, int64_t height, int64_t width);

constexpr bool swaps_sides(int orientation) {
  return orientation >= 5 && orientation <= 8;
}

} // namespace barlow
