// SPDX-License-Identifier: Apache-2.0
// Stages as functions of a pixel: their parameters brought to the device of x, then every pixel computed by
// Launch::each_pixel(function, to), the mean that a contrast needs by Launch::means(function, means, which, x). CUDA
// launches kernels (stage_cuda.cpp); a test on the CPU loops.
#pragma once

#include <torch/torch.h>

#include "stage.h"
#include "stage_pixels.h"

namespace barlow::pixels {

using torch::Tensor;

template <class T>
Tensor on_device(const std::vector<T>& values, at::Device device) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  return torch::from_blob(const_cast<T*>(values.data()), {bytes}, torch::kByte).to(device); // NOLINT(*-const-cast)
}

template <class T>
const T* as(const Tensor& bytes) {
  return reinterpret_cast<const T*>(bytes.const_data_ptr<uint8_t>());
}

template <class T>
Batch<T> batch(const Tensor& x) {
  return {
      static_cast<T*>(x.data_ptr()),
      static_cast<int>(x.size(1)),
      static_cast<int>(x.size(2)),
      static_cast<int>(x.size(3))};
}

// --- each takes x [N,C,H,W] without gaps, of pixel type T

template <class T, class Launch>
Tensor run(const CropStage& stage, const Tensor& x) {
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
  const auto samples = on_device(boxes, x.device());
  const bool levels = x.scalar_type() == torch::kByte;
  const auto type = levels ? torch::kFloat : x.scalar_type();
  const auto to = torch::empty({x.size(0), x.size(1), stage.size.height, stage.size.width}, x.options().dtype(type));
  const bool bicubic = stage.resize.interpolation == Interpolation::Bicubic, antialias = stage.resize.antialias;
  const auto* boxes_there = as<CropSample>(samples);
  if (levels) {
    Launch::each_pixel(
        Crop<uint8_t, T>{batch<const uint8_t>(x), batch<T>(to), boxes_there, bicubic, antialias, 1.F / 255}, to);
  } else {
    Launch::each_pixel(Crop<T, T>{batch<const T>(x), batch<T>(to), boxes_there, bicubic, antialias, 1.F}, to);
  }
  return to;
}

template <class T, class Launch>
Tensor run(const WarpStage& stage, const Tensor& x) {
  std::vector<WarpSample> warps;
  warps.reserve(stage.samples.size());
  for (const auto& m : stage.samples) {
    warps.push_back({m.xx, m.xy, m.x1, m.yx, m.yy, m.y1, m.acts ? 1 : 0});
  }
  const auto samples = on_device(warps, x.device());
  const auto to = torch::empty_like(x);
  const bool reflect = stage.border == WarpStage::Border::Reflect;
  Launch::each_pixel(Warp<T>{batch<const T>(x), batch<T>(to), as<WarpSample>(samples), reflect}, to);
  return to;
}

template <class T, class Launch>
Tensor run(const BlurStage& stage, const Tensor& x) {
  std::vector<BlurSample> blurs;
  std::vector<float> weights;
  for (const auto& blur : stage.samples) {
    blurs.push_back({static_cast<int>(blur.kernel / 2), static_cast<int>(weights.size())});
    const auto w = gaussian_weights(blur);
    weights.insert(weights.end(), w.begin(), w.end());
  }
  const auto samples = on_device(blurs, x.device()), all_weights = on_device(weights, x.device());
  const auto rows = torch::empty(x.sizes(), x.options().dtype(torch::kFloat)), to = torch::empty_like(x);
  const auto* blur = as<BlurSample>(samples);
  const auto* w = as<float>(all_weights);
  Launch::each_pixel(BlurRows<T>{batch<const T>(x), batch<float>(rows), blur, w}, rows);
  Launch::each_pixel(BlurColumns<T>{batch<const T>(x), batch<const float>(rows), batch<T>(to), blur, w}, to);
  return to;
}

template <class T, class Launch>
Tensor run(const ColorStage& stage, const Tensor& x) {
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
  const auto programs_there = on_device(programs, x.device()), ops_there = on_device(ops, x.device());
  const auto numbers_there = on_device(numbers, x.device());
  const auto to = torch::empty_like(x);
  const auto means = torch::empty({std::max(most_contrasts, 1), x.size(0)}, x.options().dtype(torch::kFloat));
  const Color<T> color{
      batch<const T>(x),
      batch<T>(to),
      as<Program>(programs_there),
      as<Op>(ops_there),
      as<float>(numbers_there),
      means.const_data_ptr<float>(),
      static_cast<int>(x.size(0))};
  for (int which = 0; which < most_contrasts; ++which) {
    Launch::means(color, means, which, x);
  }
  Launch::each_pixel(color, to);
  return to;
}

template <class T, class Launch, class Other>
Tensor run(const Other& stage, const Tensor& x) {
  return run_reference(x, stage);
}

} // namespace barlow::pixels
