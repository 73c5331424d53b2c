// SPDX-License-Identifier: Apache-2.0
#include "resample.h"

#include <algorithm>
#include <cmath>

#include "pixel.h"

namespace barlow {
namespace {

// One output pixel's taps, before they are brought to a common number.
struct Row {
  int first = 0;
  std::vector<double> weights{};
};

double kernel(double t, const ResizeOptions& o) {
  return o.interpolation == Interpolation::Bicubic ? pixel::cubic(t, o.antialias ? -.5 : -.75) : pixel::triangle(t);
}

Row antialiased(int in, double scale, double i, const ResizeOptions& o) {
  const double width = std::max(scale, 1.), radius = o.interpolation == Interpolation::Bicubic ? 2 : 1;
  const double centre = scale * (i + .5), support = radius * width;
  const double begin = centre - support + .5, last = centre + support + .5; // cut off, not rounded, as torch does
  Row row{.first = std::max(static_cast<int>(begin), 0)};
  const int end = std::min(static_cast<int>(last), in);
  double sum = 0;
  for (int j = row.first; j < end; ++j) {
    row.weights.push_back(kernel((j - centre + .5) / width, o));
    sum += row.weights.back();
  }
  for (auto& w : row.weights) {
    w /= sum;
  }
  return row;
}

// Taps beyond the border count for the pixel there.
Row interpolated(int in, double scale, double i, const ResizeOptions& o) {
  const bool bicubic = o.interpolation == Interpolation::Bicubic;
  double s = scale * (i + .5) - .5;
  s = bicubic ? s : std::max(s, 0.);
  const int at = static_cast<int>(std::floor(s)), before = bicubic ? 1 : 0, after = bicubic ? 2 : 1;
  const auto inside = [&](int j) { return std::clamp(j, 0, in - 1); };
  Row row{.first = inside(at - before)};
  row.weights.resize(static_cast<size_t>(inside(at + after)) + 1 - static_cast<size_t>(row.first));
  for (int j = at - before; j <= at + after; ++j) {
    row.weights[static_cast<size_t>(inside(j)) - static_cast<size_t>(row.first)] += kernel(s - j, o);
  }
  return row;
}

} // namespace

Taps resampling_taps(int64_t in, int64_t out, const ResizeOptions& options, bool reversed) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const int size = static_cast<int>(in);
  std::vector<Row> rows;
  size_t most = 1;
  for (int64_t k = 0; k < out; ++k) {
    const auto i = static_cast<double>(reversed ? out - 1 - k : k);
    rows.push_back(options.antialias ? antialiased(size, scale, i, options) : interpolated(size, scale, i, options));
    most = std::max(most, rows.back().weights.size());
  }
  Taps taps{.count = static_cast<int>(most), .first = {}, .weights = {}};
  taps.weights.assign(most * rows.size(), 0.F);
  for (size_t k = 0; k < rows.size(); ++k) {
    const int first = std::min(rows[k].first, size - taps.count); // all taps inside, the first ones of weight 0
    taps.first.push_back(first);
    for (size_t j = 0; j < rows[k].weights.size(); ++j) {
      taps.weights[(j + static_cast<size_t>(rows[k].first - first)) * rows.size() + k] =
          static_cast<float>(rows[k].weights[j]);
    }
  }
  return taps;
}

} // namespace barlow
