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

constexpr int kStrip = 4; // neighbours that one call computes: what it reads serves them all

struct Quad {
  float v[kStrip];
};

/// Four numbers that begin where a multiple of four may.
template <class T>
struct alignas(kStrip * sizeof(T)) Four {
  T v[kStrip];
};

template <class T>
BARLOW_HD Quad load_four(const T* from) {
  const auto four = *reinterpret_cast<const Four<T>*>(from);
  Quad q;
  BARLOW_UNROLL
  for (int e = 0; e < kStrip; ++e) {
    q.v[e] = static_cast<float>(four.v[e]);
  }
  return q;
}

/// The first `count` of them.
template <class T>
BARLOW_HD void store_four(const Quad& q, T* to, int count, bool aligned) {
  if (aligned) {
    Four<T> four;
    BARLOW_UNROLL
    for (int e = 0; e < kStrip; ++e) {
      four.v[e] = static_cast<T>(q.v[e]);
    }
    *reinterpret_cast<Four<T>*>(to) = four;
    return;
  }
  BARLOW_UNROLL
  for (int e = 0; e < kStrip; ++e) {
    if (e < count) {
      to[e] = static_cast<T>(q.v[e]);
    }
  }
}

// --- crop

struct CropSample {
  int top, left, height, width;
  int mirror;
};

/// The pixels of one axis that make output pixel i, and their weights: tap k is pixel first + k.
struct Axis {
  int first, taps;
  float offset, inverse_width, total; // of tap 0 from the centre, in input pixels
  bool bicubic, antialias;

  BARLOW_HD Axis(int in, int out, int i, bool bicubic_, bool antialias_)
      : inverse_width(1.F), total(1.F), bicubic(bicubic_), antialias(antialias_) {
    const double scale = static_cast<double>(in) / out;
    if (!antialias) {
      double centre = scale * (i + .5) - .5; // counted from the first pixel's centre
      centre = !bicubic && centre < 0. ? 0. : centre;
      first = static_cast<int>(floor(centre)) - (bicubic ? 1 : 0);
      taps = bicubic ? 4 : 2;
      offset = static_cast<float>(first - centre);
      return;
    }
    const double width = scale > 1. ? scale : 1., support = (bicubic ? 2. : 1.) * width;
    const double centre = scale * (i + .5); // from its border
    inverse_width = static_cast<float>(1. / width);
    const double begin = centre - support + .5, last = centre + support + .5; // cut off, not rounded, as torch does
    first = begin < 0. ? 0 : static_cast<int>(begin);
    taps = (static_cast<int>(last) < in ? static_cast<int>(last) : in) - first;
    offset = static_cast<float>(first - centre + .5);
    float sum = 0.F;
    for (int k = 0; k < taps; ++k) {
      sum += weight(k);
    }
    total = sum;
  }

  BARLOW_HD float weight(int k) const {
    const float t = (offset + static_cast<float>(k)) * inverse_width;
    return bicubic ? pixel::cubic(t, antialias ? -.5F : -.75F) : pixel::triangle(t);
  }

  /// Taps of any output pixel, at most.
  static int most_taps(int in, int out, bool antialias) {
    const double scale = static_cast<double>(in) / out;
    return antialias && scale > 1. ? static_cast<int>(4. * scale) + 2 : 6;
  }
};

/// Both axes of every sample, [N][axis][output pixel], axis 0 from top to bottom.
struct Axes {
  int* first;
  int* taps;
  float* weights; // [N][axis][tap][output pixel]
  int length, most_taps;

  BARLOW_HD int64_t at(int n, int axis, int i) const {
    return (static_cast<int64_t>(n) * 2 + axis) * length + i;
  }
  BARLOW_HD int64_t weights_at(int n, int axis, int i) const {
    return (static_cast<int64_t>(n) * 2 + axis) * most_taps * length + i; // the next tap's is `length` further
  }
};

/// Of output pixel i of (sample, axis): what a crop needs to know.
struct FillAxes {
  const CropSample* samples;
  Axes axes;
  int height, width; // of the crop's result
  bool bicubic, antialias;

  BARLOW_HD void operator()(int n, int axis, int i) const {
    const int out = axis == 0 ? height : width;
    if (i >= out) {
      return;
    }
    const Axis a(axis == 0 ? samples[n].height : samples[n].width, out, i, bicubic, antialias);
    axes.first[axes.at(n, axis, i)] = a.first;
    axes.taps[axes.at(n, axis, i)] = a.taps;
    float* weight = axes.weights + axes.weights_at(n, axis, i);
    for (int k = 0; k < a.taps; ++k, weight += axes.length) {
      *weight = a.weight(k) / a.total;
    }
  }
};

BARLOW_HD int inside(int i, int size) {
  return i < 0 ? 0 : (i < size ? i : size - 1);
}

/// Along x: the box's rows as wide as the result; a strip of rows. kTogether channels, of which there is a multiple,
/// share the weights.
template <class In, int kTogether>
struct CropRows {
  Batch<const In> from;
  Batch<float> to; // as high as the highest box, wider than the result by what makes fours
  const CropSample* samples;
  Axes axes;
  int width; // of the result
  float scale; // of the input's numbers

  BARLOW_HD void operator()(int n, int strip, int x) const {
    const auto box = samples[n];
    const int y = strip * kStrip;
    if (y >= box.height) {
      return;
    }
    const int column = box.mirror != 0 ? width - 1 - x : x;
    const bool copied = box.width == width;
    const int first = copied ? column : axes.first[axes.at(n, 1, column)];
    const int taps = copied ? 1 : axes.taps[axes.at(n, 1, column)];
    const float* weights = axes.weights + axes.weights_at(n, 1, column);
    for (int c = 0; c < to.channels; c += kTogether) {
      const In* rows[kStrip][kTogether];
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        BARLOW_UNROLL
        for (int k = 0; k < kTogether; ++k) {
          rows[s][k] = &from.at(n, c + k, box.top + inside(y + s, box.height), box.left);
        }
      }
      float sums[kStrip][kTogether] = {};
      const float* weight = weights;
      for (int j = 0; j < taps; ++j, weight += axes.length) {
        const int pixel = inside(first + j, box.width);
        const float w = copied ? 1.F : *weight;
        BARLOW_UNROLL
        for (int s = 0; s < kStrip; ++s) {
          BARLOW_UNROLL
          for (int k = 0; k < kTogether; ++k) {
            sums[s][k] += w * static_cast<float>(rows[s][k][pixel]);
          }
        }
      }
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        BARLOW_UNROLL
        for (int k = 0; k < kTogether; ++k) {
          if (y + s < box.height) {
            to.at(n, c + k, y + s, x) = sums[s][k] * scale;
          }
        }
      }
    }
  }
};

/// Along y: those rows as high as the result; a strip of columns.
template <class T, int kTogether>
struct CropColumns {
  Batch<const float> from;
  Batch<T> to;
  const CropSample* samples;
  Axes axes;

  BARLOW_HD void operator()(int n, int y, int strip) const {
    const int x = strip * kStrip, height = samples[n].height;
    const bool copied = height == to.height;
    const int first = copied ? y : axes.first[axes.at(n, 0, y)];
    const int taps = copied ? 1 : axes.taps[axes.at(n, 0, y)];
    const float* weights = axes.weights + axes.weights_at(n, 0, y);
    for (int c = 0; c < to.channels; c += kTogether) {
      const float* columns[kTogether];
      BARLOW_UNROLL
      for (int k = 0; k < kTogether; ++k) {
        columns[k] = from.plane(n, c + k) + x;
      }
      Quad sums[kTogether] = {};
      const float* weight = weights;
      for (int i = 0; i < taps; ++i, weight += axes.length) {
        const int row = inside(first + i, height) * from.width;
        const float w = copied ? 1.F : *weight;
        BARLOW_UNROLL
        for (int k = 0; k < kTogether; ++k) {
          const Quad q = load_four(columns[k] + row);
          BARLOW_UNROLL
          for (int e = 0; e < kStrip; ++e) {
            sums[k].v[e] += w * q.v[e];
          }
        }
      }
      BARLOW_UNROLL
      for (int k = 0; k < kTogether; ++k) {
        store_four(sums[k], &to.at(n, c + k, y, x), to.width - x, to.width % kStrip == 0);
      }
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

/// The weights that tap i has in the sums about kStrip neighbours: of[s] is of tap i - s, nothing beyond the radius.
struct SlidingWeights {
  const float* centre;
  int radius;
  float of[kStrip] = {};

  BARLOW_HD SlidingWeights(const BlurSample& blur, const float* weights)
      : centre(weights + blur.weights + blur.radius), radius(blur.radius) {}

  /// To tap i, the one after the last.
  BARLOW_HD void advance(int i) {
    BARLOW_UNROLL
    for (int s = kStrip - 1; s > 0; --s) {
      of[s] = of[s - 1];
    }
    of[0] = i >= -radius && i <= radius ? centre[i] : 0.F;
  }
};

/// Pixel i of `size`, reflected; any pixel where none is asked for.
BARLOW_HD int reflected(int i, int size) {
  return inside(pixel::reflect_index(i, size), size);
}

/// Of a strip of columns.
template <class T>
struct BlurRows {
  Batch<const T> from;
  Batch<float> to; // wider by what makes fours
  const BlurSample* samples;
  const float* weights;
  bool aligned; // every row begins where a Four may

  BARLOW_HD void operator()(int n, int y, int strip) const {
    const auto blur = samples[n];
    if (blur.radius == 0) {
      return;
    }
    const int x = strip * kStrip, width = from.width;
    const int begin = -(blur.radius + kStrip - 1) / kStrip * kStrip;
    for (int c = 0; c < to.channels; ++c) {
      const T* row = &from.at(n, c, y, 0);
      SlidingWeights w(blur, weights);
      Quad sums = {};
      for (int first = begin; first < blur.radius + kStrip; first += kStrip) {
        const int at = x + first;
        Quad values;
        if (aligned && at >= 0 && at + kStrip <= width) {
          values = load_four(row + at);
        } else {
          BARLOW_UNROLL
          for (int e = 0; e < kStrip; ++e) {
            values.v[e] = static_cast<float>(row[reflected(at + e, width)]);
          }
        }
        BARLOW_UNROLL
        for (int e = 0; e < kStrip; ++e) {
          w.advance(first + e);
          BARLOW_UNROLL
          for (int s = 0; s < kStrip; ++s) {
            sums.v[s] += w.of[s] * values.v[e];
          }
        }
      }
      store_four(sums, &to.at(n, c, y, x), kStrip, true);
    }
  }
};

/// Of a strip of rows and a strip of columns.
template <class T>
struct BlurColumns {
  Batch<const T> original;
  Batch<const float> from; // wider by what makes fours
  Batch<T> to; // may be the original
  const BlurSample* samples;
  const float* weights;

  BARLOW_HD void operator()(int n, int strip, int column_strip) const {
    const auto blur = samples[n];
    if (blur.radius == 0 && original.data == to.data) {
      return;
    }
    const int y = strip * kStrip, x = column_strip * kStrip;
    for (int c = 0; c < to.channels; ++c) {
      Quad rows[kStrip] = {};
      if (blur.radius == 0) {
        copied(n, c, y, x, rows);
      } else {
        blurred(blur, from.plane(n, c) + x, y, rows);
      }
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        if (y + s < to.height) {
          store_four(rows[s], &to.at(n, c, y + s, x), to.width - x, to.width % kStrip == 0);
        }
      }
    }
  }

 private:
  BARLOW_HD void blurred(const BlurSample& blur, const float* column, int y, Quad* sums) const {
    SlidingWeights w(blur, weights);
    for (int i = -blur.radius; i < blur.radius + kStrip; ++i) {
      const Quad values = load_four(column + reflected(y + i, to.height) * from.width);
      w.advance(i);
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        BARLOW_UNROLL
        for (int e = 0; e < kStrip; ++e) {
          sums[s].v[e] += w.of[s] * values.v[e];
        }
      }
    }
  }
  BARLOW_HD void copied(int n, int c, int y, int x, Quad* rows) const {
    BARLOW_UNROLL
    for (int s = 0; s < kStrip; ++s) {
      BARLOW_UNROLL
      for (int e = 0; e < kStrip; ++e) {
        if (y + s < to.height && x + e < to.width) {
          rows[s].v[e] = static_cast<float>(original.at(n, c, y + s, x + e));
        }
      }
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

/// kChannels channels; kMostChannels stands for any number up to that.
template <int kChannels>
struct Pixel {
  float v[kChannels < 3 ? 3 : kChannels] = {}; // three at least: a hue, which one channel has not, would read them

  template <class F>
  BARLOW_HD static void each_channel(int channels, const F& f) {
    BARLOW_UNROLL
    for (int c = 0; c < kChannels; ++c) {
      if (kChannels != kMostChannels || c < channels) {
        f(c);
      }
    }
  }

  BARLOW_HD float gray(int channels, float red) const {
    if (kChannels == 3 || (kChannels == kMostChannels && channels == 3)) {
      return pixel::luma(v[0], v[1], v[2], red);
    }
    float sum = 0.F;
    each_channel(channels, [&](int c) { sum += v[c]; });
    return sum / static_cast<float>(channels);
  }

  BARLOW_HD void apply(const Op& op, const float* numbers, float mean, int channels) {
    const auto each = [&](const auto& f) { each_channel(channels, [&](int c) { v[c] = f(v[c], c); }); };
    switch (op.kind) {
      case Kind::Clamp:
        each([](float x, int) { return pixel::clamp01(x); });
        break;
      case Kind::Brightness:
        each([&](float x, int) { return pixel::clamp01(op.a * x); });
        break;
      case Kind::Contrast:
        each([&](float x, int) { return pixel::blend(x, mean, op.a); });
        break;
      case Kind::Saturation: {
        const float of_all = gray(channels, op.red);
        each([&](float x, int) { return pixel::blend(x, of_all, op.a); });
        break;
      }
      case Kind::Hue:
        pixel::turn_hue(v[0], v[1], v[2], op.a, op.eps);
        break;
      case Kind::Gray: {
        const float of_all = gray(channels, op.red);
        each([&](float, int) { return of_all; });
        break;
      }
      case Kind::Solarize:
        each([&](float x, int) { return pixel::solarize(x, op.a); });
        break;
      case Kind::Gamma:
        each([&](float x, int) { return pixel::clamp01(op.b * powf(x < 0.F ? 0.F : x, op.a)); });
        break;
      case Kind::Window:
        each([&](float x, int) { return pixel::clamp01((x - op.a) * op.b); });
        break;
      case Kind::PerChannel:
        each([&](float x, int c) { return numbers[op.scale + c] * x + numbers[op.shift + c]; });
        break;
    }
  }
};

/// A call computes kStrip pixels, kApart apart.
template <class T, int kChannels>
struct Color {
  static constexpr int kApart = 256;

  Batch<const T> from;
  Batch<T> to;
  const Program* programs;
  const Op* ops;
  const float* numbers;
  const float* means; // [contrast of the sample][n]
  int samples;

  struct Strip {
    Pixel<kChannels> pixels[kStrip];
    float red = 0.F; // of the contrast that was met
  };

  BARLOW_HD static int strips(int pixels) {
    return (pixels + kApart * kStrip - 1) / (kApart * kStrip) * kApart;
  }
  /// Of pixel s of the strip; may be beyond the last.
  BARLOW_HD static int place(int strip, int s) {
    return strip / kApart * (kApart * kStrip) + s * kApart + strip % kApart;
  }

  /// Runs the sample's operations on a strip up to its contrast number `until` (or to the end: -1). True if it met
  /// that.
  BARLOW_HD bool run(int n, int strip, int until, Strip& x) const {
    const int size = from.height * from.width;
    Pixel<kChannels>::each_channel(from.channels, [&](int c) {
      const T* plane = from.plane(n, c);
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        if (place(strip, s) < size) {
          x.pixels[s].v[c] = static_cast<float>(plane[place(strip, s)]);
        }
      }
    });
    int contrasts = 0;
    const auto program = programs[n];
    for (int i = program.begin; i < program.end; ++i) {
      const Op op = ops[i];
      float mean = 0.F;
      if (op.kind == Kind::Contrast) {
        if (contrasts == until) {
          x.red = op.red;
          return true;
        }
        mean = means[contrasts++ * samples + n];
      }
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        x.pixels[s].apply(op, numbers, mean, from.channels);
      }
    }
    return false;
  }

  BARLOW_HD void operator()(int n, int, int strip) const {
    const auto program = programs[n];
    if (program.begin == program.end && from.data == to.data) {
      return;
    }
    Strip x;
    run(n, strip, -1, x);
    const int size = from.height * from.width;
    Pixel<kChannels>::each_channel(from.channels, [&](int c) {
      T* plane = &to.at(n, c, 0, 0);
      BARLOW_UNROLL
      for (int s = 0; s < kStrip; ++s) {
        if (place(strip, s) < size) {
          plane[place(strip, s)] = static_cast<T>(x.pixels[s].v[c]);
        }
      }
    });
  }

  /// What a strip adds to the sum that the sample's contrast number `which` needs; false if it has none.
  BARLOW_HD bool gray(int n, int strip, int which, float* to_add) const {
    Strip x;
    if (!run(n, strip, which, x)) {
      return false;
    }
    const int size = from.height * from.width;
    float sum = 0.F;
    BARLOW_UNROLL
    for (int s = 0; s < kStrip; ++s) {
      sum += place(strip, s) < size ? x.pixels[s].gray(from.channels, x.red) : 0.F;
    }
    *to_add = sum;
    return true;
  }
};

} // namespace barlow::pixels
