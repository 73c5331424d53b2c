// SPDX-License-Identifier: Apache-2.0
// What each pixel of a stage's output is, as functions of (sample, row, column) that CUDA kernels call in parallel and
// a test on the CPU in turn. T is the type of the pixels in memory; arithmetic is float32, positions double.
#pragma once

#include <cstdint>

#include "pixel.h"

namespace barlow::pixels {

/// A batch [N,C,H,W] without gaps.
template <class T>
struct Batch {
  T* data;
  int channels, height, width;

  BARLOW_HD T& at(int n, int c, int y, int x) const {
    return data[((static_cast<int64_t>(n) * channels + c) * height + y) * width + x];
  }
  BARLOW_HD const T* plane(int n, int c) const {
    return data + (static_cast<int64_t>(n) * channels + c) * height * width;
  }
};

// --- crop

struct CropSample {
  int top, left, height, width;
  int mirror;
};

/// The pixels of one axis that make output pixel i, and their weights.
struct Axis {
  int first, end, limit;
  double centre; // antialiased: in pixel borders, else in pixel centres
  float inverse_width, total;
  bool bicubic, antialias;

  BARLOW_HD Axis(int in, int out, int i, bool bicubic_, bool antialias_)
      : limit(in), inverse_width(1.F), total(1.F), bicubic(bicubic_), antialias(antialias_) {
    const double scale = static_cast<double>(in) / out;
    if (!antialias) {
      centre = scale * (i + .5) - .5;
      centre = !bicubic && centre < 0. ? 0. : centre;
      first = static_cast<int>(floor(centre)) - (bicubic ? 1 : 0);
      end = first + (bicubic ? 4 : 2);
      return;
    }
    const double width = scale > 1. ? scale : 1., support = (bicubic ? 2. : 1.) * width;
    centre = scale * (i + .5);
    inverse_width = static_cast<float>(1. / width);
    const double begin = centre - support + .5, last = centre + support + .5; // cut off, not rounded, as torch does
    first = begin < 0. ? 0 : static_cast<int>(begin);
    end = static_cast<int>(last) < in ? static_cast<int>(last) : in;
    float sum = 0.F;
    for (int j = first; j < end; ++j) {
      sum += weight(j);
    }
    total = sum;
  }

  BARLOW_HD float weight(int j) const {
    const double t = antialias ? (j - centre + .5) * static_cast<double>(inverse_width) : centre - j;
    return static_cast<float>(bicubic ? pixel::cubic(t, antialias ? -.5 : -.75) : pixel::triangle(t));
  }
  BARLOW_HD int index(int j) const {
    return j < 0 ? 0 : (j < limit ? j : limit - 1);
  }
};

template <class In, class T>
struct Crop {
  Batch<const In> from;
  Batch<T> to;
  const CropSample* samples;
  bool bicubic, antialias;
  float scale; // of the input's numbers

  BARLOW_HD void operator()(int n, int y, int x) const {
    const auto& box = samples[n];
    const int column = box.mirror != 0 ? to.width - 1 - x : x;
    if (box.height == to.height && box.width == to.width) {
      for (int c = 0; c < to.channels; ++c) {
        to.at(n, c, y, x) = static_cast<T>(static_cast<float>(from.at(n, c, box.top + y, box.left + column)) * scale);
      }
      return;
    }
    const Axis rows(box.height, to.height, y, bicubic, antialias);
    const Axis columns(box.width, to.width, column, bicubic, antialias);
    for (int c = 0; c < to.channels; ++c) {
      float sum = 0.F;
      for (int i = rows.first; i < rows.end; ++i) {
        float row = 0.F;
        for (int j = columns.first; j < columns.end; ++j) {
          row += columns.weight(j) *
              static_cast<float>(from.at(n, c, box.top + rows.index(i), box.left + columns.index(j)));
        }
        sum += rows.weight(i) * row;
      }
      to.at(n, c, y, x) = static_cast<T>(sum * (scale / (rows.total * columns.total)));
    }
  }
};

// --- warp

struct WarpSample {
  double xx, xy, x1, yx, yy, y1;
  int acts;
};

template <class T>
struct Warp {
  Batch<const T> from;
  Batch<T> to;
  const WarpSample* samples;
  bool reflect;

  BARLOW_HD void operator()(int n, int y, int x) const {
    const auto& m = samples[n];
    if (m.acts == 0) {
      for (int c = 0; c < to.channels; ++c) {
        to.at(n, c, y, x) = from.at(n, c, y, x);
      }
      return;
    }
    const int h = to.height, w = to.width;
    double sx = m.xx * x + (m.xy * y + m.x1), sy = m.yx * x + (m.yy * y + m.y1);
    if (reflect) {
      sx = pixel::reflect(sx, w);
      sy = pixel::reflect(sy, h);
    }
    const int x0 = first_of_two(sx, w), y0 = first_of_two(sy, h);
    const float dx = static_cast<float>(sx - x0), dy = static_cast<float>(sy - y0);
    const float left = tent(dx), right = w > 1 ? tent(dx - 1.F) : 0.F;
    const float top = tent(dy), bottom = h > 1 ? tent(dy - 1.F) : 0.F;
    const int x1 = w > 1 ? x0 + 1 : 0, y1 = h > 1 ? y0 + 1 : 0;
    for (int c = 0; c < to.channels; ++c) {
      const auto value = [&](int i, int j) { return static_cast<float>(from.at(n, c, i, j)); };
      to.at(n, c, y, x) = static_cast<T>(
          top * (left * value(y0, x0) + right * value(y0, x1)) +
          bottom * (left * value(y1, x0) + right * value(y1, x1)));
    }
  }

  BARLOW_HD static int first_of_two(double s, int size) {
    const double f = floor(s), last = size > 1 ? size - 2 : 0;
    return static_cast<int>(f < 0. ? 0. : (f > last ? last : f));
  }
  BARLOW_HD static float tent(float d) {
    const float t = 1.F - fabsf(d);
    return t < 0.F ? 0.F : t;
  }
};

// --- blur, along x into float32, then along y

struct BlurSample {
  int radius; // 0: copied
  int weights; // where its 2 radius + 1 weights begin
};

/// The weighted sum of value(k), k from -radius to radius.
template <class F>
BARLOW_HD float blurred(const BlurSample& blur, const float* weights, const F& value) {
  float sum = 0.F;
  for (int k = -blur.radius; k <= blur.radius; ++k) {
    sum += weights[blur.weights + blur.radius + k] * value(k);
  }
  return sum;
}

template <class T>
struct BlurRows {
  Batch<const T> from;
  Batch<float> to;
  const BlurSample* samples;
  const float* weights;

  BARLOW_HD void operator()(int n, int y, int x) const {
    const auto& blur = samples[n];
    if (blur.radius == 0) {
      return;
    }
    for (int c = 0; c < to.channels; ++c) {
      to.at(n, c, y, x) = blurred(blur, weights, [&](int k) {
        return static_cast<float>(from.at(n, c, y, pixel::reflect_index(x + k, to.width)));
      });
    }
  }
};

template <class T>
struct BlurColumns {
  Batch<const T> original;
  Batch<const float> from;
  Batch<T> to;
  const BlurSample* samples;
  const float* weights;

  BARLOW_HD void operator()(int n, int y, int x) const {
    const auto& blur = samples[n];
    for (int c = 0; c < to.channels; ++c) {
      if (blur.radius == 0) {
        to.at(n, c, y, x) = original.at(n, c, y, x);
        continue;
      }
      to.at(n, c, y, x) = static_cast<T>(
          blurred(blur, weights, [&](int k) { return from.at(n, c, pixel::reflect_index(y + k, to.height), x); }));
    }
  }
};

// --- colour

constexpr int kMostChannels = 8;

using Kind = pixel::ColorKind;

/// As ColorOp, with the place of its per-channel numbers among all of them.
struct Op {
  Kind kind;
  int scale, shift;
  float a, b, red, eps;
};

/// One sample's operations: [begin, end) among all.
struct Program {
  int begin, end;
};

BARLOW_HD float gray_of(const float* v, int channels, float red) {
  if (channels == 3) {
    return pixel::luma(v[0], v[1], v[2], red);
  }
  float sum = 0.F;
  for (int c = 0; c < channels; ++c) {
    sum += v[c];
  }
  return sum / static_cast<float>(channels);
}

BARLOW_HD void apply(const Op& op, const float* numbers, float mean, float* v, int channels) {
  if (op.kind == Kind::Hue) {
    pixel::turn_hue(v[0], v[1], v[2], op.a, op.eps);
    return;
  }
  const float gray = op.kind == Kind::Saturation || op.kind == Kind::Gray ? gray_of(v, channels, op.red) : 0.F;
  for (int c = 0; c < channels; ++c) {
    switch (op.kind) {
      case Kind::Clamp:
        v[c] = pixel::clamp01(v[c]);
        break;
      case Kind::Brightness:
        v[c] = pixel::clamp01(op.a * v[c]);
        break;
      case Kind::Contrast:
        v[c] = pixel::blend(v[c], mean, op.a);
        break;
      case Kind::Saturation:
        v[c] = pixel::blend(v[c], gray, op.a);
        break;
      case Kind::Gray:
        v[c] = gray;
        break;
      case Kind::Solarize:
        v[c] = pixel::solarize(v[c], op.a);
        break;
      case Kind::Gamma:
        v[c] = pixel::clamp01(op.b * powf(v[c] < 0.F ? 0.F : v[c], op.a));
        break;
      case Kind::Window:
        v[c] = pixel::clamp01((v[c] - op.a) * op.b);
        break;
      case Kind::PerChannel:
        v[c] = numbers[op.scale + c] * v[c] + numbers[op.shift + c];
        break;
      default:
        break;
    }
  }
}

template <class T>
struct Color {
  Batch<const T> from;
  Batch<T> to;
  const Program* programs;
  const Op* ops;
  const float* numbers;
  const float* means; // [contrast of the sample][n]
  int samples;

  /// Runs the sample's operations on a pixel up to its contrast number `until` (or to the end: -1). True if it met
  /// that.
  BARLOW_HD bool run(int n, int y, int x, int until, float* v, float* red) const {
    for (int c = 0; c < from.channels; ++c) {
      v[c] = static_cast<float>(from.at(n, c, y, x));
    }
    int contrasts = 0;
    for (int i = programs[n].begin; i < programs[n].end; ++i) {
      float mean = 0.F;
      if (ops[i].kind == Kind::Contrast) {
        if (contrasts == until) {
          *red = ops[i].red;
          return true;
        }
        mean = means[contrasts++ * samples + n];
      }
      apply(ops[i], numbers, mean, v, from.channels);
    }
    return false;
  }

  BARLOW_HD void operator()(int n, int y, int x) const {
    float v[kMostChannels];
    float red = 0.F;
    run(n, y, x, -1, v, &red);
    for (int c = 0; c < to.channels; ++c) {
      to.at(n, c, y, x) = static_cast<T>(v[c]);
    }
  }

  /// What a pixel adds to the mean that the sample's contrast number `which` needs; false if it has none.
  BARLOW_HD bool gray(int n, int y, int x, int which, float* to_add) const {
    float v[kMostChannels];
    float red = 0.F;
    if (!run(n, y, x, which, v, &red)) {
      return false;
    }
    *to_add = gray_of(v, from.channels, red);
    return true;
  }
};

} // namespace barlow::pixels
