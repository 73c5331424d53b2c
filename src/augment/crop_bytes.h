// SPDX-License-Identifier: Apache-2.0
// Crops of 8-bit images to the bit as Pillow 13 makes them, its crop().resize() that torchvision uses: columns and rows
// in two passes, each in fixed point and rounded to bytes. Rows come first where they shrink by more than twice the
// pixels that columns do; Pillow up to 12 always begins with the columns.
#pragma once

#include <ATen/core/Tensor.h>

#include <barlow/augment/transforms.h>

#include "resample.h"

namespace barlow {

/// A box of pixels [C,H,W], contiguous uint8, whose sides need not be whole pixels; nothing outside it is looked at,
/// but for the pixels that it cuts. Returns uint8 [C,S,S'].
at::Tensor crop_bytes(
    const at::Tensor& pixels,
    Span rows,
    Span columns,
    ImageSize size,
    const ResizeOptions& options,
    bool mirrored);

} // namespace barlow
