// SPDX-License-Identifier: Apache-2.0
// Written for the compiler to vectorise, once for each instruction set; without contraction to fused multiply-adds, so
// that all give the same bits.
#include "loops.h"

#include "pixel.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define BARLOW_VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define BARLOW_VECTORISED
#endif

namespace barlow::loops {

BARLOW_VECTORISED void clamp_all(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = pixel::clamp01(x[i]);
  }
}

BARLOW_VECTORISED void blend_all(float* x, int64_t n, float factor, float with) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = pixel::blend(x[i], with, factor);
  }
}

BARLOW_VECTORISED void solarize_all(float* x, int64_t n, float threshold) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = pixel::solarize(x[i], threshold);
  }
}

BARLOW_VECTORISED void window_all(float* x, int64_t n, float low, float scale) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = pixel::clamp01((x[i] - low) * scale);
  }
}

BARLOW_VECTORISED void affine_all(float* x, int64_t n, float scale, float shift) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = scale * x[i] + shift;
  }
}

BARLOW_VECTORISED void
saturate_all(float* __restrict r, float* __restrict g, float* __restrict b, int64_t n, float factor, float red) {
  for (int64_t i = 0; i < n; ++i) {
    const float y = pixel::luma(r[i], g[i], b[i], red);
    r[i] = pixel::blend(r[i], y, factor);
    g[i] = pixel::blend(g[i], y, factor);
    b[i] = pixel::blend(b[i], y, factor);
  }
}

BARLOW_VECTORISED void
hue_all(float* __restrict r, float* __restrict g, float* __restrict b, int64_t n, float turns, float eps) {
  for (int64_t i = 0; i < n; ++i) {
    float red = r[i], green = g[i], blue = b[i];
    pixel::turn_hue(red, green, blue, turns, eps);
    r[i] = red;
    g[i] = green;
    b[i] = blue;
  }
}

BARLOW_VECTORISED void luma_all(const float* r, const float* g, const float* b, int64_t n, float red, float* to) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] = pixel::luma(r[i], g[i], b[i], red);
  }
}

BARLOW_VECTORISED double sum_all(const float* x, int64_t n) {
  constexpr int kLanes = 8; // a fixed order of summation
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) {
      lanes[k] += x[i + k];
    }
  }
  for (; i < n; ++i) {
    lanes[0] += x[i];
  }
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

BARLOW_VECTORISED bool has_nan(const float* x, int64_t n) {
  int found = 0;
  for (int64_t i = 0; i < n; ++i) {
    found |= static_cast<int>(x[i] != x[i]); // NOLINT(misc-redundant-expression): isnan would not be vectorised
  }
  return found != 0;
}

// to = weight * from, then to += weight * from
BARLOW_VECTORISED void scale_row(float* __restrict to, const float* from, int64_t n, float weight) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] = weight * from[i];
  }
}

BARLOW_VECTORISED void add_row(float* __restrict to, const float* from, int64_t n, float weight) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] += weight * from[i];
  }
}

// to[i] = sum over taps of weights[k][i] row[first[i] + k]
BARLOW_VECTORISED void
gather_row(float* __restrict to, const float* row, int64_t n, const int* first, const float* weights, int taps) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] = weights[i] * row[first[i]];
  }
  for (int k = 1; k < taps; ++k) {
    const float* w = weights + k * n;
    const float* from = row + k;
    for (int64_t i = 0; i < n; ++i) {
      to[i] += w[i] * from[first[i]];
    }
  }
}

BARLOW_VECTORISED void line(double* to, int n, double slope, double start) {
  for (int i = 0; i < n; ++i) {
    to[i] = slope * i + start;
  }
}

// pixel::reflect
BARLOW_VECTORISED void reflect_all(double* s, int n, int size) {
  const double period = 2. * (size - 1), inverse = size > 1 ? 1. / period : 0.;
  for (int i = 0; i < n; ++i) {
    const double t = fabs(s[i]), r = t - floor(t * inverse) * period;
    s[i] = r < period - r ? r : period - r;
  }
}

// first[i]: the first of the two pixels along one axis, with weights a and b
BARLOW_VECTORISED void two_pixels(
    const double* s,
    int n,
    int size,
    int* __restrict first,
    int stride,
    bool add,
    float* __restrict a,
    float* __restrict b) {
  const double last = size > 1 ? size - 2 : 0;
  const float second = size > 1 ? 1.F : 0.F;
  const int keep = add ? 1 : 0;
  for (int i = 0; i < n; ++i) {
    const double f = floor(s[i]), below = f < 0. ? 0. : f, p = below > last ? last : below;
    const auto d = static_cast<float>(s[i] - p); // 0..1, unless outside
    const float wa = 1.F - fabsf(d), wb = 1.F - fabsf(d - 1.F);
    a[i] = wa < 0.F ? 0.F : wa;
    b[i] = second * (wb < 0.F ? 0.F : wb);
    first[i] = keep * first[i] + stride * static_cast<int>(p);
  }
}

BARLOW_VECTORISED void
sample_row(float* __restrict to, const float* from, int n, int right, int below, const Neighbours& neighbours) {
  const int* const at = neighbours.at.data();
  const float *left = neighbours.left.data(), *rights = neighbours.right.data();
  const float *top = neighbours.top.data(), *bottom = neighbours.bottom.data();
  const float *b = from + right, *c = from + below, *d = from + below + right;
  for (int i = 0; i < n; ++i) {
    const float upper = left[i] * from[at[i]] + rights[i] * b[at[i]];
    const float lower = left[i] * c[at[i]] + rights[i] * d[at[i]];
    to[i] = top[i] * upper + bottom[i] * lower;
  }
}

// to[i] = sum of w[k] rows[k][i]; the weights are symmetric.
BARLOW_VECTORISED void
weighted_sum(float* __restrict to, const float* const* rows, int64_t n, const float* w, int radius) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] = w[radius] * rows[radius][i];
  }
  for (int k = 0; k < radius; ++k) {
    const float *a = rows[k], *b = rows[2 * radius - k];
    const float weight = w[k];
    for (int64_t i = 0; i < n; ++i) {
      to[i] += weight * (a[i] + b[i]);
    }
  }
}

} // namespace barlow::loops
