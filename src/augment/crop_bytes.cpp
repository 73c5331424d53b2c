// SPDX-License-Identifier: Apache-2.0
#include "crop_bytes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ops/empty.h>

#include "loops.h"

namespace barlow {
namespace {

// The whole pixels that a part lies on, and the part within them.
struct Cut {
  int64_t begin, size;
  Span part;
};

Cut cut(Span part, int64_t size) {
  const auto begin = std::clamp<int64_t>(static_cast<int64_t>(std::floor(part.begin)), 0, size - 1);
  const auto end = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(part.begin + part.length)), begin + 1, size);
  return {begin, end - begin, {part.begin - static_cast<double>(begin), part.length}};
}

using Rows = std::vector<const uint8_t*>;

// Columns of all rows, loops::kPackedRows at a time.
void resample_columns(const Rows& rows, int64_t columns, const FixedTaps& taps, int64_t width, uint8_t* to) {
  using loops::kPackedRows;
  std::vector<uint8_t> packed(static_cast<size_t>(columns * kPackedRows)),
      narrow(static_cast<size_t>(width * kPackedRows)), unused(static_cast<size_t>(width));
  for (size_t first = 0; first < rows.size(); first += kPackedRows) {
    const uint8_t* from[kPackedRows];
    uint8_t* target[kPackedRows];
    for (size_t i = 0; i < kPackedRows; ++i) {
      const size_t row = first + i;
      from[i] = rows[std::min(row, rows.size() - 1)];
      target[i] = row < rows.size() ? to + static_cast<int64_t>(row) * width : unused.data();
    }
    loops::pack_rows(from, columns, packed.data());
    loops::resample_packed(packed.data(), width, taps.first.data(), taps.weights.data(), taps.count, narrow.data());
    loops::unpack_rows(narrow.data(), width, target);
  }
}

// Rows of each channel, one after the other, made `height` of them.
void resample_rows(
    const Rows& rows,
    int64_t channels,
    int64_t width,
    const FixedTaps& taps,
    int64_t height,
    uint8_t* to) {
  const auto per_channel = static_cast<int64_t>(rows.size()) / channels;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < height; ++i, to += width) {
      const auto first = c * per_channel + taps.first[static_cast<size_t>(i)];
      loops::weighted_bytes(to, rows.data() + first, width, taps.weights.data() + i * taps.count, taps.count);
    }
  }
}

Rows rows_of(const uint8_t* first, int64_t count, int64_t width) {
  Rows rows;
  rows.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(first + i * width);
  }
  return rows;
}

} // namespace

at::Tensor crop_bytes(
    const at::Tensor& pixels,
    Span rows,
    Span columns,
    ImageSize size,
    const ResizeOptions& options,
    bool mirrored) {
  const int64_t channels = pixels.size(0), image_height = pixels.size(1), image_width = pixels.size(2);
  const auto y = cut(rows, image_height), x = cut(columns, image_width);
  const auto column_taps = fixed_taps(x.size, x.part, size.width, options, mirrored);
  const auto row_taps = fixed_taps(y.size, y.part, size.height, options, false);

  Rows source;
  source.reserve(static_cast<size_t>(channels * y.size));
  for (int64_t c = 0; c < channels; ++c) {
    const auto* corner = pixels.const_data_ptr<uint8_t>() + (c * image_height + y.begin) * image_width + x.begin;
    const auto plane = rows_of(corner, y.size, image_width);
    source.insert(source.end(), plane.begin(), plane.end());
  }
  auto out = at::empty({channels, size.height, size.width}, at::kByte);
  auto* const to = out.mutable_data_ptr<uint8_t>();
  const bool rows_first = size.height < y.size && y.size - size.height > 2 * (x.size - size.width);
  if (rows_first) {
    std::vector<uint8_t> low(static_cast<size_t>(channels * size.height * x.size));
    resample_rows(source, channels, x.size, row_taps, size.height, low.data());
    resample_columns(rows_of(low.data(), channels * size.height, x.size), x.size, column_taps, size.width, to);
  } else {
    std::vector<uint8_t> narrow(source.size() * static_cast<size_t>(size.width));
    resample_columns(source, x.size, column_taps, size.width, narrow.data());
    resample_rows(
        rows_of(narrow.data(), channels * y.size, size.width), channels, size.width, row_taps, size.height, to);
  }
  return out;
}

} // namespace barlow
