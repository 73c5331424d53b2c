// SPDX-License-Identifier: Apache-2.0
// Which pixels of a row or column make each pixel of the resized one, and with what weight.
#pragma once

#include <cstdint>
#include <vector>

#include <barlow/augment/transforms.h>

namespace barlow {

struct Taps {
  int count = 0; ///< the same for every output pixel; some weights are 0
  std::vector<int> first; ///< [out]
  std::vector<float> weights; ///< [count][out]
};

/// For `in` pixels made `out`; reversed: the last output pixel first. Borders repeated.
Taps resampling_taps(int64_t in, int64_t out, const ResizeOptions& options, bool reversed);

/// The same in fixed point, loops::kFixedBits after the point.
struct FixedTaps {
  int count = 0;
  std::vector<int> first; ///< [out]
  std::vector<int32_t> weights; ///< [out][count]
};

/// A part of a row of pixels, in their widths; it may begin and end within one.
struct Span {
  double begin, length;
};
inline Span span_of(int64_t begin, int64_t length) {
  return {static_cast<double>(begin), static_cast<double>(length)};
}

/// For a part of `in` pixels made `out`. Source: Pillow 12 Resample.c.
FixedTaps fixed_taps(int64_t in, Span part, int64_t out, const ResizeOptions& options, bool reversed);

} // namespace barlow
