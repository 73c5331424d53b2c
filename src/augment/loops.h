// SPDX-License-Identifier: Apache-2.0
// Loops over n consecutive numbers, the inner ones of the transforms on the CPU. Nothing that is written may overlap
// what is read, except where a loop changes numbers in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace barlow::loops {

// --- in place; formulas: pixel.h

void clamp_all(float* x, int64_t n);
void blend_all(float* x, int64_t n, float factor, float with);
void solarize_all(float* x, int64_t n, float threshold);
void window_all(float* x, int64_t n, float low, float scale);
void affine_all(float* x, int64_t n, float scale, float shift);
void saturate_all(float* r, float* g, float* b, int64_t n, float factor, float red);
void hue_all(float* r, float* g, float* b, int64_t n, float turns, float eps);

// --- of rows

void luma_all(const float* r, const float* g, const float* b, int64_t n, float red, float* to);

/// Always in the same order.
double sum_all(const float* x, int64_t n);

bool has_nan(const float* x, int64_t n);

/// to = weight * from
void scale_row(float* to, const float* from, int64_t n, float weight);

/// to += weight * from
void add_row(float* to, const float* from, int64_t n, float weight);

/// to[i] = sum over taps of weights[k][i] row[first[i] + k]
void gather_row(float* to, const float* row, int64_t n, const int* first, const float* weights, int taps);

/// to[i] = sum of w[k] rows[k][i], k to 2 radius; the weights are symmetric.
void weighted_sum(float* to, const float* const* rows, int64_t n, const float* w, int radius);

// --- bytes

/// to[i] = from[i] / 255
void bytes_to_floats(float* to, const uint8_t* from, int64_t n);

/// Pixels r g b r g b ... to planes.
void split_rgb(const uint8_t* pixels, int64_t n, uint8_t* r, uint8_t* g, uint8_t* b);

/// This many rows of w bytes side by side, packed[x][row], and back.
constexpr int kPackedRows = 8;
void pack_rows(const uint8_t* const* rows, int64_t w, uint8_t* packed);
void unpack_rows(const uint8_t* packed, int64_t w, uint8_t* const* rows);

/// to[x][row] = rounded sum over taps of weights[x][k] packed[first[x] + k][row], in fixed point, clamped to a byte.
void resample_packed(const uint8_t* packed, int64_t n, const int* first, const int32_t* weights, int taps, uint8_t* to);

/// to[i] = rounded sum of weights[k] rows[k][i], the same way.
void weighted_bytes(uint8_t* to, const uint8_t* const* rows, int64_t n, const int32_t* weights, int taps);

constexpr int kFixedBits = 22; ///< after the point of a weight. Source: Pillow's resampling of 8-bit images

// --- sampling

/// For each pixel of a row, the upper left of the four that it is made of, and the weights of both columns and both
/// rows. The four always lie inside; a weight is a tent about the source's position, so that what lies outside has
/// none.
struct Neighbours {
  std::vector<double> x, y; ///< the source
  std::vector<int> at;
  std::vector<float> left, right, top, bottom;
  explicit Neighbours(size_t n) : x(n), y(n), at(n), left(n), right(n), top(n), bottom(n) {}
};

/// to[i] = slope i + start
void line(double* to, int n, double slope, double start);

/// pixel::reflect
void reflect_all(double* s, int n, int size);

/// first[i] (added to if `add`): stride times the first of the two pixels along one axis, whose weights are a and b.
void two_pixels(const double* s, int n, int size, int* first, int stride, bool add, float* a, float* b);

/// One row of the result; `right` and `below` are the way to the other pixels of four.
void sample_row(float* to, const float* from, int n, int right, int below, const Neighbours& neighbours);

} // namespace barlow::loops
