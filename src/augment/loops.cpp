// SPDX-License-Identifier: Apache-2.0
// Written for the compiler to vectorise, once for each instruction set; without contraction to fused multiply-adds, so
// that all give the same bits.
#include "loops.h"

#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

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

BARLOW_VECTORISED void bytes_to_floats(float* to, const uint8_t* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] = static_cast<float>(from[i]) / 255.F;
  }
}

namespace {

// Sixteen bytes, in the compilers' own notation.
using Bytes16 [[gnu::vector_size(16)]] = uint8_t;

inline void load(Bytes16& v, const uint8_t* from) {
  std::memcpy(&v, from, sizeof v);
}

constexpr int32_t kHalf = 1 << (kFixedBits - 1);

inline uint8_t rounded(int32_t sum) {
  sum >>= kFixedBits;
  return static_cast<uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// Eight words of eight bytes, transposed: in each step, blocks off the diagonal change places.
[[gnu::always_inline]] inline void transpose(uint64_t (&words)[kPackedRows]) {
  const auto swap_blocks = [&](int distance, uint64_t low) {
    const int shift = 8 * distance;
    for (int i = 0; i < kPackedRows; ++i) {
      if ((i & distance) == 0) {
        uint64_t &a = words[i], &b = words[i + distance];
        const uint64_t t = ((a >> shift) ^ b) & low;
        a ^= t << shift;
        b ^= t;
      }
    }
  };
  swap_blocks(4, 0x00000000ffffffff);
  swap_blocks(2, 0x0000ffff0000ffff);
  swap_blocks(1, 0x00ff00ff00ff00ff);
}

} // namespace

BARLOW_VECTORISED void split_rgb(const uint8_t* pixels, int64_t n, uint8_t* r, uint8_t* g, uint8_t* b) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    Bytes16 x, y, z; // NOLINT(cppcoreguidelines-init-variables)
    load(x, pixels + 3 * i);
    load(y, pixels + 3 * i + 16);
    load(z, pixels + 3 * i + 32);
    // The first eleven of x and y, then the rest of z; an index from 16 on is of the second vector.
    const Bytes16 r_xy = __builtin_shufflevector(x, y, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
    const Bytes16 red = __builtin_shufflevector(r_xy, z, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
    const Bytes16 g_xy = __builtin_shufflevector(x, y, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0);
    const Bytes16 green = __builtin_shufflevector(g_xy, z, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
    const Bytes16 b_xy = __builtin_shufflevector(x, y, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
    const Bytes16 blue = __builtin_shufflevector(b_xy, z, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
    std::memcpy(r + i, &red, sizeof red);
    std::memcpy(g + i, &green, sizeof green);
    std::memcpy(b + i, &blue, sizeof blue);
  }
  for (; i < n; ++i) {
    r[i] = pixels[3 * i];
    g[i] = pixels[3 * i + 1];
    b[i] = pixels[3 * i + 2];
  }
}

// Both go to and fro in blocks of eight by eight.
BARLOW_VECTORISED void pack_rows(const uint8_t* const* rows, int64_t w, uint8_t* packed) {
  uint64_t words[kPackedRows];
  int64_t x = 0;
  for (; x + kPackedRows <= w; x += kPackedRows) {
    for (int row = 0; row < kPackedRows; ++row) {
      std::memcpy(words + row, rows[row] + x, sizeof(uint64_t));
    }
    transpose(words);
    std::memcpy(packed + x * kPackedRows, words, sizeof words);
  }
  for (; x < w; ++x) {
    for (int row = 0; row < kPackedRows; ++row) {
      packed[x * kPackedRows + row] = rows[row][x];
    }
  }
}

BARLOW_VECTORISED void unpack_rows(const uint8_t* packed, int64_t w, uint8_t* const* rows) {
  uint64_t words[kPackedRows];
  int64_t x = 0;
  for (; x + kPackedRows <= w; x += kPackedRows) {
    std::memcpy(words, packed + x * kPackedRows, sizeof words);
    transpose(words);
    for (int row = 0; row < kPackedRows; ++row) {
      std::memcpy(rows[row] + x, words + row, sizeof(uint64_t));
    }
  }
  for (; x < w; ++x) {
    for (int row = 0; row < kPackedRows; ++row) {
      rows[row][x] = packed[x * kPackedRows + row];
    }
  }
}

// Compilers do not find how to widen eight bytes in one instruction and to narrow with saturation.
#if defined(__x86_64__) && defined(__GNUC__)
#define BARLOW_AVX2 __attribute__((target("avx2")))
namespace {

constexpr int64_t kInts = 8;

BARLOW_AVX2 inline __m256i add_weighted(__m256i sum, const uint8_t* bytes, __m256i weight) {
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
  return _mm256_add_epi32(sum, _mm256_mullo_epi32(wide, weight));
}

BARLOW_AVX2 inline void store_rounded(uint8_t* to, __m256i sum) {
  const __m256i value = _mm256_srai_epi32(sum, kFixedBits);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
}

BARLOW_AVX2 void resample_packed_avx2(
    const uint8_t* packed,
    int64_t n,
    const int* first,
    const int32_t* weights,
    int taps,
    uint8_t* to) {
  for (int64_t x = 0; x < n; ++x, weights += taps) {
    const uint8_t* pixel = packed + int64_t{first[x]} * kPackedRows;
    __m256i sum = _mm256_set1_epi32(kHalf);
    for (int k = 0; k < taps; ++k, pixel += kPackedRows) {
      sum = add_weighted(sum, pixel, _mm256_set1_epi32(weights[k]));
    }
    store_rounded(to + x * kPackedRows, sum);
  }
}

// How many of n numbers it has done.
BARLOW_AVX2 int64_t
weighted_bytes_avx2(uint8_t* to, const uint8_t* const* rows, int64_t n, const int32_t* weights, int taps) {
  constexpr int64_t kSums = 4;
  int64_t i = 0;
  for (; i + kSums * kInts <= n; i += kSums * kInts) {
    __m256i sums[kSums];
    for (auto& sum : sums) {
      sum = _mm256_set1_epi32(kHalf);
    }
    for (int k = 0; k < taps; ++k) {
      const __m256i weight = _mm256_set1_epi32(weights[k]);
      for (int64_t j = 0; j < kSums; ++j) {
        sums[j] = add_weighted(sums[j], rows[k] + i + j * kInts, weight);
      }
    }
    for (int64_t j = 0; j < kSums; ++j) {
      store_rounded(to + i + j * kInts, sums[j]);
    }
  }
  return i;
}

const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;

} // namespace
#endif

void resample_packed(
    const uint8_t* packed,
    int64_t n,
    const int* first,
    const int32_t* weights,
    int taps,
    uint8_t* to) {
#ifdef BARLOW_AVX2
  if (kHasAvx2) {
    return resample_packed_avx2(packed, n, first, weights, taps, to);
  }
#endif
  for (int64_t x = 0; x < n; ++x, weights += taps) {
    const uint8_t* pixel = packed + int64_t{first[x]} * kPackedRows;
    for (int row = 0; row < kPackedRows; ++row) {
      int32_t sum = kHalf;
      for (int k = 0; k < taps; ++k) {
        sum += weights[k] * pixel[k * kPackedRows + row];
      }
      to[x * kPackedRows + row] = rounded(sum);
    }
  }
}

void weighted_bytes(uint8_t* to, const uint8_t* const* rows, int64_t n, const int32_t* weights, int taps) {
  int64_t i = 0;
#ifdef BARLOW_AVX2
  if (kHasAvx2) {
    i = weighted_bytes_avx2(to, rows, n, weights, taps);
  }
#endif
  for (; i < n; ++i) {
    int32_t sum = kHalf;
    for (int k = 0; k < taps; ++k) {
      sum += weights[k] * rows[k][i];
    }
    to[i] = rounded(sum);
  }
}

} // namespace barlow::loops
