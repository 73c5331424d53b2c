// SPDX-License-Identifier: Apache-2.0
// All stages of a sample in turn while it is in the cache, samples in parallel.
#include <atomic>
#include <cstring>
#include <limits>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "../check.h"
#include "loops.h"
#include "pixel.h"
#include "resample.h"
#include "stage.h"

namespace barlow {
namespace {

using namespace loops;

// --- a sample: stages that move pixels, from one place to another; `scratch` is memory to use

struct Image {
  int64_t channels, height, width;
  int64_t pixels() const {
    return height * width;
  }
  int64_t numel() const {
    return channels * pixels();
  }
};

void run(
    const CropStage& stage,
    size_t n,
    const Image& image,
    const float* from,
    float* to,
    std::vector<float>& scratch) {
  const auto& box = stage.boxes[n];
  const auto [height, width] = stage.size;
  const bool mirrored = stage.mirror[n] != 0;
  const bool as_is = stage.size == ImageSize(box.height, box.width);
  const auto rows = as_is ? Taps() : resampling_taps(box.height, height, stage.resize, false);
  const auto columns = as_is ? Taps() : resampling_taps(box.width, width, stage.resize, mirrored);
  scratch.resize(static_cast<size_t>(box.width));
  for (int64_t c = 0; c < image.channels; ++c) {
    const float* corner = from + c * image.pixels() + box.top * image.width + box.left;
    for (int64_t y = 0; y < height; ++y, to += width) {
      if (as_is) {
        const float* row = corner + y * image.width;
        mirrored ? void(std::reverse_copy(row, row + width, to)) : void(std::copy_n(row, width, to));
        continue;
      }
      const float* row = corner + rows.first[static_cast<size_t>(y)] * image.width;
      const float* weight = rows.weights.data() + y;
      scale_row(scratch.data(), row, box.width, weight[0]);
      for (int k = 1; k < rows.count; ++k) {
        if (weight[k * height] != 0) {
          add_row(scratch.data(), row + k * image.width, box.width, weight[k * height]);
        }
      }
      gather_row(to, scratch.data(), width, columns.first.data(), columns.weights.data(), columns.count);
    }
  }
}

void run(const OrientStage& stage, size_t n, const Image& image, const float* from, float* to, std::vector<float>&) {
  const auto& o = stage.samples[n];
  const int64_t h = image.height, w = image.width;
  for (int64_t c = 0; c < image.channels; ++c, from += h * w) {
    for (int64_t y = 0; y < h; ++y) {
      for (int64_t x = 0; x < w; ++x, ++to) {
        const int64_t i = o.transpose ? x : y, j = o.transpose ? y : x; // square if transposed
        *to = from[(o.mirror_y ? h - 1 - i : i) * w + (o.mirror_x ? w - 1 - j : j)];
      }
    }
  }
}

void run(const WarpStage& stage, size_t n, const Image& image, const float* from, float* to, std::vector<float>&) {
  const auto& m = stage.samples[n];
  const int h = static_cast<int>(image.height), w = static_cast<int>(image.width);
  Neighbours row(static_cast<size_t>(w));
  for (int y = 0; y < h; ++y) {
    line(row.x.data(), w, m.xx, m.xy * y + m.x1);
    line(row.y.data(), w, m.yx, m.yy * y + m.y1);
    if (stage.border == WarpStage::Border::Reflect) {
      reflect_all(row.x.data(), w, w);
      reflect_all(row.y.data(), w, h);
    }
    two_pixels(row.x.data(), w, w, row.at.data(), 1, false, row.left.data(), row.right.data());
    two_pixels(row.y.data(), w, h, row.at.data(), w, true, row.top.data(), row.bottom.data());
    for (int64_t c = 0; c < image.channels; ++c) {
      sample_row(
          to + c * image.pixels() + static_cast<int64_t>(y) * w,
          from + c * image.pixels(),
          w,
          w > 1 ? 1 : 0,
          h > 1 ? w : 0,
          row);
    }
  }
}

// Without the weights at both ends that do not show in a sum of floats.
std::vector<float> without_ends(std::vector<float> weights) {
  constexpr float kLeast = 0x1p-26F;
  const auto first = std::find_if(weights.begin(), weights.end(), [](float w) { return w >= kLeast; });
  const auto ends = first - weights.begin();
  weights.erase(weights.end() - ends, weights.end());
  weights.erase(weights.begin(), weights.begin() + ends);
  return weights;
}

void run(
    const BlurStage& stage,
    size_t n,
    const Image& image,
    const float* from,
    float* to,
    std::vector<float>& scratch) {
  const auto weights = without_ends(gaussian_weights(stage.samples[n]));
  const int r = static_cast<int>(weights.size() / 2), h = static_cast<int>(image.height);
  const int w = static_cast<int>(image.width);
  const int64_t padded = image.width + 2 * int64_t{r};
  scratch.resize(static_cast<size_t>(image.pixels() + padded));
  float* const blurred = scratch.data();
  float* const line = blurred + image.pixels();
  std::vector<const float*> rows(weights.size());
  for (int64_t c = 0; c < image.channels; ++c, from += image.pixels(), to += image.pixels()) {
    for (size_t k = 0; k < rows.size(); ++k) {
      rows[k] = line + k;
    }
    for (int64_t y = 0; y < h; ++y) {
      const float* row = from + y * w;
      std::copy_n(row, w, line + r);
      for (int k = 1; k <= r; ++k) {
        line[r - k] = row[k];
        line[r + w - 1 + k] = row[w - 1 - k];
      }
      weighted_sum(blurred + y * w, rows.data(), w, weights.data(), r);
    }
    for (int y = 0; y < h; ++y) {
      for (int k = 0; k <= 2 * r; ++k) {
        rows[static_cast<size_t>(k)] = blurred + pixel::reflect_index(y + k - r, h) * image.width;
      }
      weighted_sum(to + static_cast<int64_t>(y) * w, rows.data(), w, weights.data(), r);
    }
  }
}

// --- stages that change pixels in place

// Colour operations run on chunks that stay in the first cache.

constexpr int64_t kChunk = 1024;

void apply(const ColorOp& op, float* const* planes, int64_t channels, int64_t n, double mean) {
  using enum ColorOp::Kind;
  const auto a = static_cast<float>(op.a), b = static_cast<float>(op.b), red = static_cast<float>(op.red());
  const auto each = [&](const auto& f) {
    for (int64_t c = 0; c < channels; ++c) {
      f(planes[c], c);
    }
  };
  switch (op.kind) {
    case Clamp:
      return each([&](float* x, int64_t) { clamp_all(x, n); });
    case Brightness:
      return each([&](float* x, int64_t) { blend_all(x, n, a, 0); });
    case Contrast:
      return each([&](float* x, int64_t) { blend_all(x, n, a, static_cast<float>(mean)); });
    case Saturation:
      if (channels == 1) {
        return clamp_all(planes[0], n);
      }
      return saturate_all(planes[0], planes[1], planes[2], n, a, red);
    case Hue:
      return hue_all(planes[0], planes[1], planes[2], n, a, static_cast<float>(op.eps()));
    case Gray: {
      if (channels == 1) {
        return;
      }
      float gray[kChunk];
      if (channels == 3) {
        luma_all(planes[0], planes[1], planes[2], n, red, gray);
      } else {
        const float share = 1.F / static_cast<float>(channels);
        scale_row(gray, planes[0], n, share);
        for (int64_t c = 1; c < channels; ++c) {
          add_row(gray, planes[c], n, share);
        }
      }
      return each([&](float* x, int64_t) { std::copy_n(gray, n, x); });
    }
    case Solarize:
      return each([&](float* x, int64_t) { solarize_all(x, n, a); });
    case Gamma:
      return each([&](float* x, int64_t) {
        for (int64_t i = 0; i < n; ++i) {
          x[i] = pixel::clamp01(b * std::pow(x[i] < 0.F ? 0.F : x[i], a));
        }
      });
    case Window:
      return each([&](float* x, int64_t) { window_all(x, n, a, b); });
    case PerChannel:
      return each([&](float* x, int64_t c) {
        const auto i = static_cast<size_t>(c);
        affine_all(x, n, static_cast<float>((*op.scale)[i]), static_cast<float>((*op.shift)[i]));
      });
  }
}

// For three channels of their luma, else of their mean.
double sum_of_luma(float* const* planes, int64_t channels, int64_t n, float red) {
  if (channels != 3) {
    double sum = 0;
    for (int64_t c = 0; c < channels; ++c) {
      sum += sum_all(planes[c], n);
    }
    return sum / static_cast<double>(channels);
  }
  float gray[kChunk];
  luma_all(planes[0], planes[1], planes[2], n, red, gray);
  return sum_all(gray, n);
}

// A contrast step needs the mean of the whole image, so the operations run in groups that begin at one.
void run(const ColorStage& stage, size_t n, const Image& image, float* data, std::vector<float>&) {
  const auto& ops = stage.samples[n];
  std::vector<float*> planes(static_cast<size_t>(image.channels));
  double mean = 0;
  for (size_t begin = 0, end = 0; begin < ops.size(); begin = end) {
    const auto is_contrast = [](const ColorOp& op) { return op.kind == ColorOp::Kind::Contrast; };
    const auto first = ops.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto next = std::find_if(first + (is_contrast(*first) ? 1 : 0), ops.end(), is_contrast);
    end = static_cast<size_t>(next - ops.begin());
    const auto go = [&](size_t from, size_t to, bool summing, float red) {
      double sum = 0;
      for (int64_t start = 0; start < image.pixels(); start += kChunk) {
        const int64_t count = std::min(kChunk, image.pixels() - start);
        for (size_t c = 0; c < planes.size(); ++c) {
          planes[c] = data + static_cast<int64_t>(c) * image.pixels() + start;
        }
        for (size_t i = from; i < to; ++i) {
          apply(ops[i], planes.data(), image.channels, count, mean);
        }
        if (summing) {
          sum += sum_of_luma(planes.data(), image.channels, count, red);
        }
      }
      return sum / static_cast<double>(image.pixels());
    };
    if (begin == 0 && is_contrast(*first)) {
      mean = go(0, 0, true, static_cast<float>(first->red()));
    }
    const bool more = end < ops.size();
    mean = go(begin, end, more, more ? static_cast<float>(ops[end].red()) : 0.F);
  }
}

void run(const EqualizeStage&, size_t, const Image& image, float* data, std::vector<float>&) {
  const auto level = [](float x) { return static_cast<size_t>(std::nearbyint(pixel::clamp01(x) * 255.)); };
  for (int64_t c = 0; c < image.channels; ++c, data += image.pixels()) {
    Histogram histogram{};
    for (int64_t i = 0; i < image.pixels(); ++i) {
      if (!std::isnan(data[i])) { // which has no level, stays, and is an error in the end
        ++histogram[level(data[i])];
      }
    }
    const auto table = equalizing_table(histogram);
    for (int64_t i = 0; i < image.pixels(); ++i) {
      data[i] = std::isnan(data[i]) ? data[i] : static_cast<float>(table[level(data[i])]) / 255.F;
    }
  }
}

void run(const NoiseStage& stage, size_t n, const Image& image, float* data, std::vector<float>& scratch) {
  scratch.resize(static_cast<size_t>(image.numel()));
  fill_normal(scratch.data(), image.numel(), stage.samples[n].key);
  add_row(data, scratch.data(), image.numel(), static_cast<float>(stage.samples[n].sigma));
}

void run(const EraseStage& stage, size_t n, const Image& image, float* data, std::vector<float>&) {
  const auto& box = *stage.samples[n];
  for (int64_t c = 0; c < image.channels; ++c) {
    for (int64_t y = box.top; y < box.top + box.height; ++y) {
      std::fill_n(data + c * image.pixels() + y * image.width + box.left, box.width, static_cast<float>(stage.value));
    }
  }
}

// --- all stages of a sample

// Whether a stage does anything to sample n.
bool acts(const CropStage&, size_t) {
  return true;
}
bool acts(const OrientStage& s, size_t n) {
  return s.samples[n].acts();
}
bool acts(const WarpStage& s, size_t n) {
  return s.samples[n].acts;
}
bool acts(const BlurStage& s, size_t n) {
  return s.samples[n].kernel > 0;
}
bool acts(const ColorStage& s, size_t n) {
  return !s.samples[n].empty();
}
bool acts(const EqualizeStage& s, size_t n) {
  return s.samples[n] != 0;
}
bool acts(const NoiseStage& s, size_t n) {
  return s.samples[n].sigma != 0;
}
bool acts(const EraseStage& s, size_t n) {
  return s.samples[n].has_value();
}

template <class S>
constexpr bool kMovesPixels = std::is_same_v<S, CropStage> || std::is_same_v<S, OrientStage> ||
    std::is_same_v<S, WarpStage> || std::is_same_v<S, BlurStage>;

template <class T>
void load(const T* from, const at::Tensor& x, float* to) {
  const int64_t sc = x.stride(1), sh = x.stride(2), sw = x.stride(3);
  for (int64_t c = 0; c < x.size(1); ++c) {
    for (int64_t i = 0; i < x.size(2); ++i) {
      const T* row = from + c * sc + i * sh;
      if constexpr (std::is_same_v<T, uint8_t>) {
        if (sw == 1) {
          bytes_to_floats(to, row, x.size(3));
          to += x.size(3);
          continue;
        }
      }
      for (int64_t j = 0; j < x.size(3); ++j, ++to) {
        if constexpr (std::is_same_v<T, uint8_t>) {
          *to = static_cast<float>(row[j * sw]) / 255.F;
        } else {
          *to = row[j * sw];
        }
      }
    }
  }
}

// Takes samples of a batch through the stages, one at a time, in memory of its own.
class SampleRunner {
 public:
  SampleRunner(const at::Tensor& x, const std::vector<Stage>& stages) : x_(x), stages_(stages) {}

  // True if the result has NaN.
  bool operator()(size_t n, float* out) {
    std::vector<const Stage*> acting;
    size_t moves = 0;
    for (const auto& stage : stages_) {
      std::visit(
          [&](const auto& s) {
            if (acts(s, n)) {
              acting.push_back(&stage);
              moves += kMovesPixels<std::decay_t<decltype(s)>> ? 1 : 0;
            }
          },
          stage);
    }
    Image image{x_.size(1), x_.size(2), x_.size(3)};
    const float* now = source(n, moves == 0 ? out : nullptr);
    float* mine = moves == 0 ? out : nullptr; // the same as now, once it may be written to
    for (const auto* stage : acting) {
      const auto size = size_after(*stage, {image.height, image.width});
      std::visit(
          [&](const auto& s) {
            if constexpr (kMovesPixels<std::decay_t<decltype(s)>>) {
              const auto numel = static_cast<size_t>(image.channels * size.height * size.width);
              float* to = --moves == 0 ? out : buffer(now == buffers_[0].data() ? 1 : 0, numel);
              run(s, n, image, now, to, scratch_);
              now = mine = to;
            } else {
              if (mine == nullptr) { // still the caller's pixels
                mine = buffer(0, static_cast<size_t>(image.numel()));
                std::copy_n(now, image.numel(), mine);
                now = mine;
              }
              run(s, n, image, mine, scratch_);
            }
          },
          *stage);
      image = {image.channels, size.height, size.width};
    }
    return has_nan(out, image.numel());
  }

 private:
  bool rows_of_floats() const {
    return x_.scalar_type() == at::kFloat && x_.stride(3) == 1 && x_.stride(2) == x_.size(3) &&
        x_.stride(1) == x_.size(2) * x_.size(3);
  }

  // The sample's pixels as planes of floats: where they are, if they can be read there and need not be written.
  const float* source(size_t n, float* to) {
    const int64_t at = static_cast<int64_t>(n) * x_.stride(0);
    if (to == nullptr && rows_of_floats()) {
      return x_.const_data_ptr<float>() + at;
    }
    if (to == nullptr) {
      to = buffer(2, static_cast<size_t>(x_[0].numel()));
    }
    if (x_.scalar_type() == at::kByte) {
      load(x_.const_data_ptr<uint8_t>() + at, x_, to);
    } else {
      load(x_.const_data_ptr<float>() + at, x_, to);
    }
    return to;
  }

  float* buffer(size_t which, size_t numel) {
    buffers_[which].resize(numel);
    return buffers_[which].data();
  }

  const at::Tensor& x_;
  const std::vector<Stage>& stages_;
  std::array<std::vector<float>, 3> buffers_; // two to go to and fro, one for pixels that had to be converted
  std::vector<float> scratch_;
};

// A fresh batch costs more in page faults than in writing it, unless its pages are large.
void use_large_pages([[maybe_unused]] const at::Tensor& x) {
#ifdef __linux__
  constexpr uintptr_t kPage = uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<uintptr_t>(x.const_data_ptr()), end = begin + x.nbytes();
  const auto first = (begin + kPage - 1) / kPage * kPage;
  if (first + kPage <= end) {
    auto* const pages = reinterpret_cast<void*>(first); // NOLINT(performance-no-int-to-ptr)
    madvise(pages, (end - first) / kPage * kPage, MADV_HUGEPAGE); // may refuse: no harm
  }
#endif
}

} // namespace

bool cpu_can_run(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kByte);
}

at::Tensor run_on_cpu(const at::Tensor& x, const std::vector<Stage>& stages, const char* name) {
  ImageSize size(x.size(2), x.size(3));
  for (const auto& stage : stages) {
    size = size_after(stage, size);
  }
  auto out = at::empty({x.size(0), x.size(1), size.height, size.width}, x.options().dtype(at::kFloat));
  use_large_pages(out);
  auto* const data = out.mutable_data_ptr<float>();
  std::atomic<int64_t> next = 0, bad = std::numeric_limits<int64_t>::max();
  // Samples take different times, so a thread that is done takes the next one.
  at::parallel_for(0, std::min<int64_t>(at::get_num_threads(), x.size(0)), 1, [&](int64_t, int64_t) {
    SampleRunner run_sample(x, stages);
    for (int64_t n = next++; n < x.size(0); n = next++) {
      if (run_sample(static_cast<size_t>(n), data + n * out.stride(0))) {
        for (int64_t seen = bad; n < seen && !bad.compare_exchange_weak(seen, n);) {
        }
      }
    }
  });
  check<NonFiniteError>(
      bad == std::numeric_limits<int64_t>::max(), name, "sample {} has NaN pixels; look at its image", bad.load());
  return out;
}

} // namespace barlow
