// SPDX-License-Identifier: Apache-2.0
// The launches of stage_kernels.cu; without torch, so that nvcc does not read its headers.
#pragma once

#include <cuda_runtime_api.h>

namespace barlow {

/// Calls f(sample, row, column) for every pixel of `samples` images.
template <class F>
void launch_each_pixel(const F& f, int samples, int height, int width, cudaStream_t stream);

/// means[which * samples + n]: the mean of f.gray(n, y, x, which); always summed in the same order.
template <class F>
void launch_means(const F& f, float* means, int which, int samples, int height, int width, cudaStream_t stream);

} // namespace barlow
