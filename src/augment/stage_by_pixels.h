// SPDX-License-Identifier: Apache-2.0
// Stages as functions of a pixel: their parameters brought to the device of x, then every pixel computed by
// Launch::each_pixel(function, samples, height, width), the mean that a contrast needs by Launch::means(function,
// means, which, x). CUDA launches kernels (stage_cuda.cpp); a test on the CPU loops.
#pragma once

#include <algorithm>
#include <array>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "stage.h"
#include "stage_pixels.h"

namespace barlow::pixels {

using torch::Tensor;

/// Arrays side by side on a device, in one copy that nobody waits for.
template <class... T>
class OnDevice {
 public:
  explicit OnDevice(at::Device device, const std::vector<T>&... arrays) {
    size_t bytes = 0, i = 0;
    ((places_[i++] = std::exchange(bytes, bytes + (arrays.size() * sizeof(T) + kAlign - 1) / kAlign * kAlign)), ...);
    const auto host =
        torch::empty({static_cast<int64_t>(bytes)}, torch::TensorOptions(torch::kByte).pinned_memory(device.is_cuda()));
    auto* begin = host.mutable_data_ptr<uint8_t>();
    i = 0;
    (std::copy(arrays.begin(), arrays.end(), reinterpret_cast<T*>(begin + places_[i++])), ...);
    bytes_ = host.to(device, /*non_blocking=*/true);
  }
  template <size_t kArray>
  const auto* get() const {
    using Number = std::tuple_element_t<kArray, std::tuple<T...>>;
    return reinterpret_cast<const Number*>(bytes_.const_data_ptr<uint8_t>() + places_[kArray]);
  }

 private:
  static constexpr size_t kAlign = 16;
  std::array<size_t, sizeof...(T)> places_{};
  Tensor bytes_;
};

inline int extent(const Tensor& x, int64_t dimension) {
  return static_cast<int>(x.size(dimension));
}

inline int strips(int pixels) {
  return (pixels + kStrip - 1) / kStrip;
}

template <class T>
Batch<T> batch(const Tensor& x) {
  return {static_cast<T*>(x.data_ptr()), extent(x, 1), extent(x, 2), extent(x, 3)};
}

template <class Launch, class F>
void each_pixel_of(const F& f, const Tensor& to) {
  Launch::each_pixel(f, extent(to, 0), extent(to, 2), extent(to, 3));
}

// --- each takes x [N,C,H,W] without gaps, of pixel type T; if it is `ours`, the result may take its place

template <class T, class Launch>
Tensor run(const CropStage& stage, const Tensor& x, bool /*ours*/) {
  std::vector<CropSample> boxes;
  for (size_t n = 0; n < stage.boxes.size(); ++n) {
    const auto& b = stage.boxes[n];
    boxes.push_back(
        {static_cast<int>(b.top),
         static_cast<int>(b.left),
         static_cast<int>(b.height),
         static_cast<int>(b.width),
         stage.mirror[n]});
  }
  const OnDevice there(x.device(), boxes);
  const bool levels = x.scalar_type() == torch::kByte;
  const auto type = levels ? torch::kFloat : x.scalar_type();
  const auto to = torch::empty({x.size(0), x.size(1), stage.size.height, stage.size.width}, x.options().dtype(type));
  const bool bicubic = stage.resize.interpolation == Interpolation::Bicubic, antialias = stage.resize.antialias;
  const int height = extent(to, 2), width = extent(to, 3), length = std::max(height, width);
  int most_taps = 0;
  for (const auto& box : boxes) {
    most_taps = std::max(
        {most_taps, Axis::most_taps(box.height, height, antialias), Axis::most_taps(box.width, width, antialias)});
  }
  const auto places = torch::empty({2, x.size(0), 2, length}, x.options().dtype(torch::kInt));
  const auto weights = torch::empty({x.size(0), 2, most_taps, length}, x.options().dtype(torch::kFloat));
  const auto* samples = there.template get<0>();
  const Axes axes{
      places[0].template mutable_data_ptr<int>(),
      places[1].template mutable_data_ptr<int>(),
      weights.template mutable_data_ptr<float>(),
      length,
      most_taps};
  Launch::each_pixel(FillAxes{samples, axes, height, width, bicubic, antialias}, extent(x, 0), 2, length);
  int highest = 1;
  for (const auto& box : boxes) {
    highest = std::max(highest, box.height);
  }
  const auto rows =
      torch::empty({x.size(0), x.size(1), highest, int64_t{kStrip} * strips(width)}, x.options().dtype(torch::kFloat));
  const auto crop = [&](auto together, auto in, float scale) {
    using In = decltype(in);
    Launch::each_pixel(
        CropRows<In, together.value>{batch<const In>(x), batch<float>(rows), samples, axes, width, scale},
        extent(x, 0),
        strips(highest),
        width);
    Launch::each_pixel(
        CropColumns<T, together.value>{batch<const float>(rows), batch<T>(to), samples, axes},
        extent(x, 0),
        height,
        strips(width));
  };
  const auto crop_from = [&](auto in, float scale) {
    x.size(1) == 3 ? crop(std::integral_constant<int, 3>(), in, scale)
                   : crop(std::integral_constant<int, 1>(), in, scale);
  };
  levels ? crop_from(uint8_t(), 1.F / 255) : crop_from(T(), 1.F);
  return to;
}

template <class T, class Launch>
Tensor run(const WarpStage& stage, const Tensor& x, bool /*ours*/) {
  std::vector<WarpSample> warps;
  warps.reserve(stage.samples.size());
  for (const auto& m : stage.samples) {
    warps.push_back({m.xx, m.xy, m.x1, m.yx, m.yy, m.y1, m.acts ? 1 : 0});
  }
  const OnDevice there(x.device(), warps);
  const auto to = torch::empty_like(x);
  const bool reflect = stage.border == WarpStage::Border::Reflect;
  each_pixel_of<Launch>(Warp<T>{batch<const T>(x), batch<T>(to), there.template get<0>(), reflect}, to);
  return to;
}

template <class T, class Launch>
Tensor run(const BlurStage& stage, const Tensor& x, bool ours) {
  std::vector<BlurSample> blurs;
  std::vector<float> weights;
  for (const auto& blur : stage.samples) {
    blurs.push_back({static_cast<int>(blur.kernel / 2), static_cast<int>(weights.size())});
    const auto w = gaussian_weights(blur);
    weights.insert(weights.end(), w.begin(), w.end());
  }
  const OnDevice there(x.device(), blurs, weights);
  const int n = extent(x, 0), height = extent(x, 2), width = extent(x, 3);
  const bool aligned =
      x.size(3) % kStrip == 0 && reinterpret_cast<uintptr_t>(x.const_data_ptr()) % (kStrip * sizeof(T)) == 0;
  const auto rows =
      torch::empty({n, x.size(1), height, int64_t{kStrip} * strips(width)}, x.options().dtype(torch::kFloat));
  const auto to = ours && aligned ? x : torch::empty_like(x);
  const auto* blur = there.template get<0>();
  const auto* w = there.template get<1>();
  Launch::each_pixel(BlurRows<T>{batch<const T>(x), batch<float>(rows), blur, w, aligned}, n, height, strips(width));
  Launch::each_pixel(
      BlurColumns<T>{batch<const T>(x), batch<const float>(rows), batch<T>(to), blur, w},
      n,
      strips(height),
      strips(width));
  return to;
}

template <class T, class Launch>
Tensor run(const ColorStage& stage, const Tensor& x, bool ours) {
  std::vector<Program> programs;
  std::vector<Op> ops;
  std::vector<float> numbers;
  const auto add_numbers = [&](const auto& values) {
    const auto begin = static_cast<int>(numbers.size());
    if (values) {
      numbers.insert(numbers.end(), values->begin(), values->end());
    }
    return begin;
  };
  int most_contrasts = 0;
  for (const auto& sample : stage.samples) {
    const auto begin = static_cast<int>(ops.size());
    int contrasts = 0;
    for (const auto& op : sample) {
      ops.push_back(
          {op.kind,
           add_numbers(op.scale),
           add_numbers(op.shift),
           static_cast<float>(op.a),
           static_cast<float>(op.b),
           static_cast<float>(op.red()),
           static_cast<float>(op.eps())});
      contrasts += op.kind == ColorOp::Kind::Contrast ? 1 : 0;
    }
    most_contrasts = std::max(most_contrasts, contrasts);
    programs.push_back({begin, static_cast<int>(ops.size())});
  }
  const OnDevice there(x.device(), programs, ops, numbers);
  const auto to = ours ? x : torch::empty_like(x);
  const auto means = torch::empty({std::max(most_contrasts, 1), x.size(0)}, x.options().dtype(torch::kFloat));
  const auto run = [&](auto channels) {
    const Color<T, channels.value> color{
        batch<const T>(x),
        batch<T>(to),
        there.template get<0>(),
        there.template get<1>(),
        there.template get<2>(),
        means.template const_data_ptr<float>(),
        static_cast<int>(x.size(0))};
    for (int which = 0; which < most_contrasts; ++which) {
      Launch::means(color, means, which, x);
    }
    Launch::each_pixel(color, extent(x, 0), 1, color.strips(extent(x, 2) * extent(x, 3)));
  };
  switch (x.size(1)) {
    case 1:
      run(std::integral_constant<int, 1>());
      break;
    case 3:
      run(std::integral_constant<int, 3>());
      break;
    default:
      run(std::integral_constant<int, kMostChannels>());
  }
  return to;
}

template <class T, class Launch, class Other>
Tensor run(const Other& stage, const Tensor& x, bool /*ours*/) {
  return run_reference(x, stage);
}

} // namespace barlow::pixels
