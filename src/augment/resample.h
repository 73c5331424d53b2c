// SPDX-License-Identifier: Apache-2.0
// Which pixels of a row or column make each pixel of the resized one, and with what weight.
#pragma once

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

} // namespace barlow
