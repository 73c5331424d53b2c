// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/image.h>

namespace barlow {

/// Tiles [C,H,W] of one shape, floating in 0..1 (clamped), in rows of `columns` with a margin between them:
/// uint8 [C,H,W]. Small tiles are enlarged, pixel by pixel, so that they can be looked at.
at::Tensor image_grid(const std::vector<at::Tensor>& tiles, int64_t columns);

/// One line of a plot, y against 0, 1, 2 ... or against `x` if that is given.
struct Curve {
  std::string name;
  std::vector<double> y;
  std::vector<double> x{};
};

/// Writes a labelled line plot as PNG. Throws Error if there is no point to draw, FileError if it cannot be written.
void plot_curves(
    const std::filesystem::path& file,
    const std::vector<Curve>& curves,
    const std::string& x_label,
    const std::string& y_label);

} // namespace barlow
