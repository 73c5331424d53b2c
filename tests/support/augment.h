// SPDX-License-Identifier: Apache-2.0
// Every transform, every layout, and a pipeline of all kinds of stages: for the CPU's and CUDA's tests.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/torch.h>

#include <barlow/augment/pipeline.h>
#include <barlow/augment/random_transforms.h>
#include <barlow/augment/transforms.h>

namespace barlow::testing {

struct Case {
  std::string name;
  std::function<torch::Tensor(const torch::Tensor&)> run;
};

/// Every function with parameters drawn for three samples of these sizes, the second one left alone where that can be.
inline std::vector<Case> cases(int64_t c, int64_t h, int64_t w) {
  const auto u = [](double low, double high) { return low + (high - low) * torch::rand({}).item<double>(); };
  const auto random_box = [&] {
    const auto bh = static_cast<int64_t>(u(1, static_cast<double>(h) + 0.99));
    const auto bw = static_cast<int64_t>(u(1, static_cast<double>(w) + 0.99));
    return Box{
        static_cast<int64_t>(u(0, static_cast<double>(h - bh) + 0.99)),
        static_cast<int64_t>(u(0, static_cast<double>(w - bw) + 0.99)),
        bh,
        bw};
  };
  const std::vector<Box> boxes{random_box(), {0, 0, h, w}, random_box()};
  using torch::Tensor;
  std::vector<Case> all;
  for (const auto interpolation : {Interpolation::Bilinear, Interpolation::Bicubic}) {
    for (const bool antialias : {true, false}) {
      for (const auto target : {ImageSize(7, 5), ImageSize(40, 33), ImageSize(h, w)}) {
        all.push_back({"resized_crop", [=](const Tensor& x) {
                         return resized_crop(x, boxes, target, {interpolation, antialias});
                       }});
      }
    }
  }
  const double f = u(0, 2), g = u(0, 2);
  const int64_t radius = std::min<int64_t>({h - 1, w - 1, 9});
  const std::vector<double> angles{u(-180, 180), 0, u(-30, 30)}, factors{f, 1, g};
  all.push_back({"horizontal_flip", [](const Tensor& x) { return horizontal_flip(x, {true, false, true}); }});
  all.push_back({"vertical_flip", [](const Tensor& x) { return vertical_flip(x, {true, false, true}); }});
  all.push_back({"rotate90", [=](const Tensor& x) { return rotate90(x, {2, 0, h == w ? 3 : 0}); }});
  all.push_back({"rotate", [=](const Tensor& x) { return rotate(x, angles); }});
  all.push_back({"rotate rigid", [=](const Tensor& x) { return rotate(x, angles, RotationRule::Rigid); }});
  all.push_back({"erase", [=](const Tensor& x) { return erase(x, {boxes[0], std::nullopt, boxes[2]}, 0.25); }});
  all.push_back({"adjust_brightness", [=](const Tensor& x) { return adjust_brightness(x, factors); }});
  all.push_back({"adjust_contrast", [=](const Tensor& x) { return adjust_contrast(x, factors); }});
  all.push_back({"adjust_gamma", [=](const Tensor& x) { return adjust_gamma(x, {0.4, 1, 2.5}, 1); }});
  all.push_back({"apply_window", [=](const Tensor& x) { return apply_window(x, {{0.2, 0.7}, {0, 1}, {-1, 3}}); }});
  all.push_back({"solarize", [=](const Tensor& x) { return solarize(x, {0.5, 2, 0.7}); }});
  all.push_back({"grayscale", [=](const Tensor& x) { return grayscale(x, {true, false, true}); }});
  all.push_back({"equalize", [=](const Tensor& x) { return equalize(x, {true, false, true}); }});
  all.push_back({"gaussian_noise", [=](const Tensor& x) { return gaussian_noise(x, {{0.1, 5}, {}, {0.2, 6}}); }});
  all.push_back({"gaussian_blur", [=](const Tensor& x) {
                   return gaussian_blur(x, {{2 * radius + 1, 0.4 * static_cast<double>(radius) + 0.1}, {}, {1, 1}});
                 }});
  if (c == 1 || c == 3) {
    all.push_back({"adjust_saturation", [=](const Tensor& x) { return adjust_saturation(x, factors); }});
  }
  if (c == 3) {
    all.push_back({"adjust_hue", [=](const Tensor& x) { return adjust_hue(x, {0.3, 0, -0.45}); }});
    Jitter one{.brightness = f, .contrast = g, .saturation = f, .hue = 0.2, .order = {3, 1, 0, 2}};
    Jitter two{.brightness = g, .contrast = f, .saturation = g, .hue = -0.5, .order = {1, 0, 2, 3}};
    all.push_back({"color_jitter", [=](const Tensor& x) { return color_jitter(x, {one, std::nullopt, two}); }});
  }
  return all;
}

/// The same pixels in other places: channels-last, a step in every dimension, whole.
inline std::vector<torch::Tensor> layouts(const torch::Tensor& x) {
  const auto wide = at::zeros({x.size(0), x.size(1) + 1, 2 * x.size(2), 3 * x.size(3)}, x.options());
  const auto inside = wide.narrow(1, 1, x.size(1)).slice(2, 0, 2 * x.size(2), 2).slice(3, 1, 3 * x.size(3), 3);
  inside.copy_(x);
  return {x, x.contiguous(at::MemoryFormat::ChannelsLast), inside};
}

/// Every kind of stage, and a function that ends a row of fused transforms.
inline Pipeline everything(const std::vector<TransformPtr>& more = {}) {
  std::vector<TransformPtr> transforms{
      std::make_shared<RandomResizedCrop>(21),
      std::make_shared<RandomHorizontalFlip>(0.5),
      std::make_shared<RandomVerticalFlip>(0.5),
      std::make_shared<RandomRotate90>(0.5),
      std::make_shared<ColorJitter>(
          JitterOptions{.brightness = 0.5, .contrast = 0.5, .saturation = 0.5, .hue = 0.2, .p = 0.8}),
      std::make_shared<RandomGrayscale>(0.2),
      std::make_shared<RandomGamma>(),
      std::make_shared<RandomGaussianBlur>(BlurOptions{.p = 0.6}),
      std::make_shared<RandomSolarize>(0.4),
      std::make_shared<Rotate>(RotateOptions{.p = 0.6}),
      std::make_shared<RandomNoise>(NoiseOptions{.p = 0.6}),
      std::make_shared<Normalize>(kImagenetStats),
      std::make_shared<RandomErasing>(ErasingOptions{.p = 0.6})};
  transforms.insert(transforms.end(), more.begin(), more.end());
  return Pipeline(std::move(transforms));
}

} // namespace barlow::testing
