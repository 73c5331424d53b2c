// SPDX-License-Identifier: Apache-2.0
#include "resample.h"

#include <algorithm>
#include <cmath>

#include "loops.h"
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

Row antialiased(int in, double start, double scale, double i, const ResizeOptions& o) {
  const double width = std::max(scale, 1.), radius = o.interpolation == Interpolation::Bicubic ? 2 : 1;
  const double centre = start + scale * (i + .5), support = radius * width, inverse = 1 / width;
  const double begin = centre - support + .5, last = centre + support + .5; // cut off, not rounded, as torch does
  Row row{.first = std::max(static_cast<int>(begin), 0)};
  const int end = std::min(static_cast<int>(last), in);
  double sum = 0;
  for (int j = row.first; j < end; ++j) {
    row.weights.push_back(kernel((j - centre + .5) * inverse, o));
    sum += row.weights.back();
  }
  for (auto& w : row.weights) {
    w /= sum;
  }
  return row;
}

// Taps beyond the border count for the pixel there.
Row interpolated(int in, double start, double scale, double i, const ResizeOptions& o) {
  const bool bicubic = o.interpolation == Interpolation::Bicubic;
  double s = start + scale * (i + .5) - .5;
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

struct Rows {
  std::vector<Row> rows{};
  size_t most = 1; // taps
};

Rows rows_for(int64_t in, Span part, int64_t out, const ResizeOptions& options, bool reversed) {
  const double scale = part.length / static_cast<double>(out);
  const int size = static_cast<int>(in);
  Rows all;
  all.rows.reserve(static_cast<size_t>(out));
  for (int64_t k = 0; k < out; ++k) {
    const auto i = static_cast<double>(reversed ? out - 1 - k : k);
    all.rows.push_back(
        options.antialias ? antialiased(size, part.begin, scale, i, options)
                          : interpolated(size, part.begin, scale, i, options));
    all.most = std::max(all.most, all.rows.back().weights.size());
  }
  return all;
}

// All taps inside, the first ones of weight 0.
int first_of(const Row& row, int in, int count) {
  return std::min(row.first, in - count);
}

} // namespace

Taps resampling_taps(int64_t in, int64_t out, const ResizeOptions& options, bool reversed) {
  const auto [rows, most] = rows_for(in, span_of(0, in), out, options, reversed);
  Taps taps{.count = static_cast<int>(most), .first = {}, .weights = {}};
  taps.weights.assign(most * rows.size(), 0.F);
  for (size_t k = 0; k < rows.size(); ++k) {
    const int first = first_of(rows[k], static_cast<int>(in), taps.count);
    taps.first.push_back(first);
    for (size_t j = 0; j < rows[k].weights.size(); ++j) {
      taps.weights[(j + static_cast<size_t>(rows[k].first - first)) * rows.size() + k] =
          static_cast<float>(rows[k].weights[j]);
    }
  }
  return taps;
}

FixedTaps fixed_taps(int64_t in, Span part, int64_t out, const ResizeOptions& options, bool reversed) {
  const auto [rows, most] = rows_for(in, part, out, options, reversed);
  FixedTaps taps{.count = static_cast<int>(most), .first = {}, .weights = {}};
  taps.weights.assign(most * rows.size(), 0);
  for (size_t k = 0; k < rows.size(); ++k) {
    const int first = first_of(rows[k], static_cast<int>(in), taps.count);
    taps.first.push_back(first);
    auto* const weights = taps.weights.data() + k * most + (rows[k].first - first);
    std::transform(rows[k].weights.begin(), rows[k].weights.end(), weights, [](double w) {
      return static_cast<int32_t>(w * (1 << loops::kFixedBits) + (w < 0 ? -.5 : .5));
    });
  }
  return taps;
}

} // namespace barlow
