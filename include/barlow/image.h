// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace barlow {

struct ImageOptions {
  int64_t channels = 3; ///< 1 (grey) and 3 (RGB) are converted to; another number must be the file's own
  int64_t max_pixels = int64_t{1} << 27; ///< more throw before anything is decoded
};

/// A PNG, JPEG, BMP, TIFF or WebP file, known by its content, as [channels,H,W] with the orientation that its EXIF data
/// ask for: uint8; of 16 bits float32 in 0..1; of floats float32 as they are. Transparency is dropped unless channels
/// count it. Throws FileError naming the file, also if it has other channels; Error for channels < 1 or a library built
/// without OpenCV.
at::Tensor read_image(const std::filesystem::path& path, const ImageOptions& options = {});

/// The same of a file's bytes; errors call it `name`.
at::Tensor decode_image(std::string_view bytes, const ImageOptions& options = {}, std::string_view name = "image");

/// The centred square of an image [C,H,W], uint8 or floating, resized to `size` pixels a side (bilinear, antialiased).
/// Throws Error for other tensors, those on a GPU too.
at::Tensor resize_to_square(const at::Tensor& image, int64_t size);

/// uint8 [C,H,W], C 1 or 3 (RGB), on the CPU, as the bytes of a PNG file. Throws Error for others.
std::vector<char> encode_png(const at::Tensor& image);

/// Writes encode_png's bytes. Throws FileError if it cannot be written.
void write_png(const std::filesystem::path& path, const at::Tensor& image);

} // namespace barlow
