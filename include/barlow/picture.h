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

/// A labelled line plot: uint8 [3,H,W]. Throws Error if there is no point to draw.
at::Tensor draw_curves(const std::vector<Curve>& curves, const std::string& x_label, const std::string& y_label);

/// Images [N,C,h,w] (C 1 or 3) at their places [N,2]: a map of what lies near what, uint8 [3,H,W]. Those with a label
/// [N] (int64, -1 for none; or undefined) have a frame of its colour.
at::Tensor draw_map(const at::Tensor& images, const at::Tensor& places, const at::Tensor& labels = {});

/// A matrix [R,C] of numbers from -1 (blue) over 0 (white) to 1 (red), the first row on top: uint8 [3,H,W]. Of a matrix
/// larger than the picture each pixel shows the number farthest from 0 that it stands for.
at::Tensor draw_matrix(const at::Tensor& matrix);

/// Writes draw_curves as PNG. Throws FileError if it cannot be written.
void plot_curves(
    const std::filesystem::path& file,
    const std::vector<Curve>& curves,
    const std::string& x_label,
    const std::string& y_label);

} // namespace barlow
