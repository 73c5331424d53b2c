// SPDX-License-Identifier: Apache-2.0
#include "stage_kernels.h"

#include <cuda_fp16.h>

#include "stage_pixels.h"

namespace barlow {
namespace {

constexpr int kThreads = 256, kMeanThreads = 1024;

template <class F>
__global__ void each_pixel(F f, int height, int width) {
  const int pixel = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (pixel < height * width) {
    f(static_cast<int>(blockIdx.y), pixel / width, pixel % width);
  }
}

// One block a sample: the sum has the same order on every run.
template <class F>
__global__ void mean_of(F f, float* means, int which, int samples, int height, int width) {
  __shared__ double sums[kMeanThreads];
  const int n = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  double sum = 0.;
  for (int pixel = thread; pixel < height * width; pixel += kMeanThreads) {
    float value = 0.F;
    if (!f.gray(n, pixel / width, pixel % width, which, &value)) {
      break; // no such contrast in this sample
    }
    sum += value;
  }
  sums[thread] = sum;
  __syncthreads();
  for (int half = kMeanThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      sums[thread] += sums[thread + half];
    }
    __syncthreads();
  }
  if (thread == 0) {
    means[which * samples + n] = static_cast<float>(sums[0] / (static_cast<double>(height) * width));
  }
}

} // namespace

template <class F>
void launch_each_pixel(const F& f, int samples, int height, int width, cudaStream_t stream) {
  const dim3 blocks((height * width + kThreads - 1) / kThreads, samples);
  each_pixel<<<blocks, kThreads, 0, stream>>>(f, height, width);
}

template <class F>
void launch_means(const F& f, float* means, int which, int samples, int height, int width, cudaStream_t stream) {
  mean_of<<<samples, kMeanThreads, 0, stream>>>(f, means, which, samples, height, width);
}

#define BARLOW_PIXELS(...) \
  template void launch_each_pixel<__VA_ARGS__>(const __VA_ARGS__&, int, int, int, cudaStream_t);
#define BARLOW_PIXELS_OF(T)                \
  BARLOW_PIXELS(pixels::Crop<T, T>)        \
  BARLOW_PIXELS(pixels::Crop<uint8_t, T>)  \
  BARLOW_PIXELS(pixels::Warp<T>)           \
  BARLOW_PIXELS(pixels::BlurRows<T>)       \
  BARLOW_PIXELS(pixels::BlurColumns<T>)    \
  BARLOW_PIXELS(pixels::Color<T>)          \
  template void launch_means<pixels::Color<T>>( \
      const pixels::Color<T>&, float*, int, int, int, int, cudaStream_t);
BARLOW_PIXELS_OF(float)
BARLOW_PIXELS_OF(__half)

} // namespace barlow
