// SPDX-License-Identifier: Apache-2.0
// The launches of stage_kernels.cu; without torch, so that nvcc does not read its headers.
#pragma once

#include <cuda_runtime_api.h>

namespace barlow {

/// Calls f(sample, row, column) for every pixel of `samples` images.
template <class F>
void launch_each_pixel(const F& f, int samples, int height, int width, cudaStream_t stream);

constexpr int kPartsOfMean = 8;

/// means[which * samples + n]: the sum of f.gray(n, strip, which), divided by `pixels`; always summed in the same
/// order. `parts` has room for kPartsOfMean numbers a sample.
template <class F>
void launch_means(const F& f, double* parts, float* means, int which, int samples, int pixels, cudaStream_t stream);

} // namespace barlow
