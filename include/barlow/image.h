// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include <ATen/core/Tensor.h>

namespace barlow {

/// A PNG, JPEG, BMP, TIFF or WebP file as uint8 [channels,H,W], channels 1 (grey) or 3 (RGB), with the orientation that
/// its EXIF data ask for. Throws FileError naming the file, Error for other channels or a library built without OpenCV.
at::Tensor read_image(const std::filesystem::path& path, int64_t channels = 3);

/// An image [C,H,W], uint8: shorter side scaled to `size` (area-weighted when it shrinks), then the centred square.
at::Tensor resize_to_square(const at::Tensor& image, int64_t size);

/// Writes uint8 [C,H,W], C 1 or 3 (RGB), as PNG. Throws FileError if it cannot be written.
void write_png(const std::filesystem::path& path, const at::Tensor& image);

} // namespace barlow
