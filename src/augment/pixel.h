// SPDX-License-Identifier: Apache-2.0
// The formulas of one pixel, for the CPU's loops and for CUDA kernels alike. No branches that a compiler could not turn
// into selections, NaN stays NaN. Sources: kornia 0.9 and torchvision 0.26, where they differ by a constant that is
// given.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define BARLOW_HD __host__ __device__ __forceinline__
#define BARLOW_UNROLL _Pragma("unroll") // keeps small arrays in registers
#else
#define BARLOW_HD inline
#define BARLOW_UNROLL
#endif

namespace barlow::pixel {

/// What a colour operation does to a pixel.
enum class ColorKind { Clamp, Brightness, Contrast, Saturation, Hue, Gray, Solarize, Gamma, Window, PerChannel };

BARLOW_HD float lower_of(float a, float b) {
  return b < a ? b : a;
}

BARLOW_HD float higher_of(float a, float b) {
  return a < b ? b : a;
}

BARLOW_HD float clamp01(float x) {
  return x < 0.F ? 0.F : (x > 1.F ? 1.F : x);
}

BARLOW_HD float luma(float r, float g, float b, float red_weight) {
  return red_weight * r + .587F * g + .114F * b;
}

/// f x + (1 - f) y, clamped
BARLOW_HD float blend(float x, float y, float f) {
  return clamp01(f * x + (1.F - f) * y);
}

BARLOW_HD float solarize(float x, float threshold) {
  return x < threshold ? x : 1.F - x;
}

/// Hue turned by `turns` in HSV space. Value and saturation stay, so only the hue's six sectors are computed:
/// channel = v - v s * clamp(min(k, 4 - k), 0, 1), k = (offset + 6 h) mod 6, offset 5, 3, 1 for r, g, b.
BARLOW_HD void turn_hue(float& r, float& g, float& b, float turns, float eps) {
  const float v = higher_of(higher_of(r, g), b), low = lower_of(lower_of(r, g), b);
  const float d = v - low, safe = d == 0.F ? 1.F : d;
  const float red = g - b, green = 2.F * safe + (b - r), blue = 4.F * safe + (r - g);
  const float six = (r == v ? red : (g == v ? green : blue)) / safe; // -1..5, sectors
  const float amount = v == 0.F ? 0.F : v * (d / (v + eps)); // v s
  const float turned = six + 6.F * turns;
  const auto channel = [&](float offset) {
    const float k0 = offset + turned, k = k0 - 6.F * floorf(k0 * (1.F / 6.F));
    return v - amount * clamp01(lower_of(k, 4.F - k));
  };
  r = channel(5.F);
  g = channel(3.F);
  b = channel(1.F);
}

/// A coordinate reflected about the centres of the first and last of `size` pixels.
BARLOW_HD double reflect(double s, int size) {
  const double period = 2. * (size - 1);
  if (size == 1) {
    return 0.;
  }
  const double t = fabs(s), r = t - floor(t / period) * period;
  return r < period - r ? r : period - r;
}

/// The same for an index at most one period away.
BARLOW_HD int reflect_index(int i, int size) {
  i = i < 0 ? -i : i;
  return i < size ? i : 2 * (size - 1) - i;
}

/// Weight of a tap at this distance in output-scaled pixels. Keys' cubic: a = -0.5 antialiased (as Pillow), -0.75 not.
template <class Number>
BARLOW_HD Number triangle(Number t) {
  t = t < 0 ? -t : t;
  return t < 1 ? 1 - t : 0;
}

template <class Number>
BARLOW_HD Number cubic(Number t, Number a) {
  t = t < 0 ? -t : t;
  if (t < 1) {
    return ((a + 2) * t - (a + 3)) * t * t + 1;
  }
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

} // namespace barlow::pixel
