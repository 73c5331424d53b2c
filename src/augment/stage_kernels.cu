// SPDX-License-Identifier: Apache-2.0
#include "stage_kernels.h"

#include <cuda_fp16.h>

#include "stage_pixels.h"

namespace barlow {
namespace {

constexpr int kThreads = 256, kParts = kPartsOfMean, kMostBlocks = 65535; // along y

template <class F>
__global__ void each_pixel(F f, int samples, int height, int width) {
  const int pixel = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (pixel < height * width) {
    for (int n = static_cast<int>(blockIdx.y); n < samples; n += kMostBlocks) {
      f(n, pixel / width, pixel % width);
    }
  }
}

// kParts blocks a sample, each with its share of the strips: the sum has the same order on every run.
template <class F>
__global__ void sum_parts(F f, double* parts, int which, int pixels) {
  __shared__ double sums[kThreads];
  const int n = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y);
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0.;
  for (int strip = part * kThreads + thread; strip < F::strips(pixels); strip += kParts * kThreads) {
    float value = 0.F;
    if (!f.gray(n, strip, which, &value)) {
      break; // no such contrast in this sample
    }
    sum += value;
  }
  sums[thread] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      sums[thread] += sums[thread + half];
    }
    __syncthreads();
  }
  if (thread == 0) {
    parts[n * kParts + part] = sums[0];
  }
}

__global__ void mean_of_parts(const double* parts, float* means, int samples, int pixels) {
  const int n = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (n < samples) {
    double sum = 0.;
    for (int part = 0; part < kParts; ++part) {
      sum += parts[n * kParts + part];
    }
    means[n] = static_cast<float>(sum / pixels);
  }
}

} // namespace

template <class F>
void launch_each_pixel(const F& f, int samples, int height, int width, cudaStream_t stream) {
  const dim3 blocks((height * width + kThreads - 1) / kThreads, samples < kMostBlocks ? samples : kMostBlocks);
  each_pixel<<<blocks, kThreads, 0, stream>>>(f, samples, height, width);
}

template <class F>
void launch_means(const F& f, double* parts, float* means, int which, int samples, int pixels, cudaStream_t stream) {
  sum_parts<<<dim3(samples, kParts), kThreads, 0, stream>>>(f, parts, which, pixels);
  mean_of_parts<<<(samples + kThreads - 1) / kThreads, kThreads, 0, stream>>>(
      parts, means + static_cast<size_t>(which) * samples, samples, pixels);
}

#define BARLOW_PIXELS(...) \
  template void launch_each_pixel<__VA_ARGS__>(const __VA_ARGS__&, int, int, int, cudaStream_t);
#define BARLOW_CROP_OF(T, together)            \
  BARLOW_PIXELS(pixels::CropRows<T, together>) \
  BARLOW_PIXELS(pixels::CropColumns<T, together>)
#define BARLOW_COLOR_OF(T, channels)                      \
  BARLOW_PIXELS(pixels::Color<T, channels>)               \
  template void launch_means<pixels::Color<T, channels>>( \
      const pixels::Color<T, channels>&, double*, float*, int, int, int, cudaStream_t);
#define BARLOW_PIXELS_OF(T)             \
  BARLOW_CROP_OF(T, 1)                  \
  BARLOW_CROP_OF(T, 3)                  \
  BARLOW_PIXELS(pixels::Warp<T>)        \
  BARLOW_PIXELS(pixels::BlurRows<T>)    \
  BARLOW_PIXELS(pixels::BlurColumns<T>) \
  BARLOW_COLOR_OF(T, 1)                 \
  BARLOW_COLOR_OF(T, 3)                 \
  BARLOW_COLOR_OF(T, pixels::kMostChannels)
BARLOW_PIXELS(pixels::FillAxes)
BARLOW_PIXELS(pixels::CropRows<uint8_t, 1>)
BARLOW_PIXELS(pixels::CropRows<uint8_t, 3>)
BARLOW_PIXELS_OF(float)
BARLOW_PIXELS_OF(__half)

} // namespace barlow
