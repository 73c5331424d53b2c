// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/transforms.h>

#include <cmath>
#include <numbers>

#include <torch/torch.h>

#include "../check.h"
#include "stage.h"

namespace barlow {
namespace {

using torch::Tensor;
using Kind = ColorOp::Kind;

void check_shape(const Tensor& x, const char* name) {
  check(x.defined() && x.dim() == 4, name, "images must be [N,C,H,W], received {}", describe(x));
  check(
      x.numel() > 0 && (!x.is_meta() || StageRecorder::current() != nullptr),
      name,
      "the batch must have pixels, received {}",
      describe(x));
}

void check_images(const Tensor& x, const char* name) {
  check_shape(x, name);
  check(
      x.is_floating_point() || x.scalar_type() == torch::kByte,
      name,
      "images must be floating or uint8, received {}; see apply_window for other integers",
      describe(x));
}

void check_floating(const Tensor& x, const char* name) {
  check_shape(x, name);
  check(
      x.is_floating_point(), name, "images must be floating, received {}; use x.to(torch::kFloat) / 255", describe(x));
}

void check_count(const Tensor& x, size_t count, const char* name, const char* what) {
  check(
      count == static_cast<size_t>(x.size(0)),
      name,
      "there must be one {} a sample, received {} for {}",
      what,
      count,
      describe(x));
}

void check_box(const Tensor& x, const Box& box, size_t n, const char* name) {
  check(
      box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 && box.height <= x.size(2) - box.top &&
          box.width <= x.size(3) - box.left,
      name,
      "box {} (top {}, left {}, height {}, width {}) does not lie in an image of {}x{} pixels",
      n,
      box.top,
      box.left,
      box.height,
      box.width,
      x.size(2),
      x.size(3));
}

// uint8 images stay so. While a pipeline writes down what its transforms do, nothing is computed.
Tensor run(const Tensor& x, Stage stage, const char* name) {
  if (auto* recorder = StageRecorder::current(); recorder != nullptr && x.is_meta()) {
    const auto size = size_after(stage, {x.size(2), x.size(3)});
    recorder->add(std::move(stage));
    return at::empty({x.size(0), x.size(1), size.height, size.width}, x.options());
  }
  const auto y = run_stages(x, {std::move(stage)}, name);
  return x.scalar_type() == torch::kByte ? (y * 255).round_().clamp_(0, 255).to(torch::kByte) : y;
}

// One operation a sample, made of its parameter.
template <class Parameters, class F>
Tensor run_color(const Tensor& x, const Parameters& parameters, const char* name, const F& operation) {
  ColorStage stage;
  for (const auto& p : parameters) {
    stage.samples.push_back(operation(p));
  }
  return run(x, std::move(stage), name);
}

void check_factors(const Tensor& x, const std::vector<double>& factors, const char* name) {
  check_images(x, name);
  check_count(x, factors.size(), name, "factor");
  for (const double f : factors) {
    check(std::isfinite(f) && f >= 0, name, "a factor must be finite and not negative, received {}", f);
  }
}

void check_gray_or_rgb(const Tensor& x, const char* name) {
  check(x.size(1) == 1 || x.size(1) == 3, name, "images must have 1 or 3 channels, received {}", describe(x));
}

void check_rgb(const Tensor& x, const char* name) {
  check(x.size(1) == 3, name, "hue needs images of 3 channels, received {}; leave hue out", describe(x));
}

void check_turns(double turns, const char* name) {
  check(turns >= -.5 && turns <= .5, name, "hue must be in [-0.5, 0.5] turns, received {}", turns);
}

Tensor
run_orient(const Tensor& x, const std::vector<bool>& flip, const char* name, bool OrientStage::Orientation::* mirror) {
  check_images(x, name);
  check_count(x, flip.size(), name, "flag");
  OrientStage stage;
  for (const bool f : flip) {
    stage.samples.emplace_back().*mirror = f;
  }
  return run(x, std::move(stage), name);
}

// scale[c] x + shift[c] for all samples
Tensor run_per_channel(const Tensor& x, std::vector<double> scale, std::vector<double> shift, const char* name) {
  const ColorOp op{
      .kind = Kind::PerChannel,
      .scale = std::make_shared<std::vector<double>>(std::move(scale)),
      .shift = std::make_shared<std::vector<double>>(std::move(shift))};
  return run(x, ColorStage{{static_cast<size_t>(x.size(0)), {op}}}, name);
}

void check_stats(const Tensor& x, const std::vector<double>& values, const char* name, const char* what) {
  check(
      values.size() == static_cast<size_t>(x.size(1)),
      name,
      "{} has {} entries for images of {} channels; give one a channel",
      what,
      values.size(),
      x.size(1));
  for (const double v : values) {
    check(std::isfinite(v), name, "{} must be finite, received {}", what, v);
  }
}

} // namespace

Tensor resized_crop(const Tensor& x, const std::vector<Box>& boxes, ImageSize size, const ResizeOptions& options) {
  constexpr auto here = "resized_crop";
  check_images(x, here);
  check_count(x, boxes.size(), here, "box");
  check(size.height >= 1 && size.width >= 1, here, "size must be at least 1, received {}x{}", size.height, size.width);
  for (size_t n = 0; n < boxes.size(); ++n) {
    check_box(x, boxes[n], n, here);
  }
  return run(
      x,
      CropStage{.size = size, .resize = options, .boxes = boxes, .mirror = std::vector<uint8_t>(boxes.size())},
      here);
}

Tensor horizontal_flip(const Tensor& x, const std::vector<bool>& flip) {
  return run_orient(x, flip, "horizontal_flip", &OrientStage::Orientation::mirror_x);
}

Tensor vertical_flip(const Tensor& x, const std::vector<bool>& flip) {
  return run_orient(x, flip, "vertical_flip", &OrientStage::Orientation::mirror_y);
}

Tensor rotate90(const Tensor& x, const std::vector<int64_t>& turns) {
  constexpr auto here = "rotate90";
  check_images(x, here);
  check_count(x, turns.size(), here, "number of turns");
  OrientStage stage;
  for (const auto t : turns) {
    const auto quarter = ((t % 4) + 4) % 4;
    check(
        quarter % 2 == 0 || x.size(2) == x.size(3),
        here,
        "an odd number of turns needs square images, received {} for {}",
        t,
        describe(x));
    // counter-clockwise: columns reversed, then transposed
    stage.samples.push_back(
        {.mirror_x = quarter == 1 || quarter == 2,
         .mirror_y = quarter == 2 || quarter == 3,
         .transpose = quarter % 2 == 1});
  }
  return run(x, std::move(stage), here);
}

Tensor rotate(const Tensor& x, const std::vector<double>& degrees, RotationRule rule) {
  constexpr auto here = "rotate";
  check_images(x, here);
  check_count(x, degrees.size(), here, "angle");
  const bool fastai = rule == RotationRule::Fastai;
  WarpStage stage{.border = fastai ? WarpStage::Border::Reflect : WarpStage::Border::Zeros, .samples = {}};
  const auto h = static_cast<double>(x.size(2)), w = static_cast<double>(x.size(3));
  const double cx = (w - 1) / 2, cy = (h - 1) / 2;
  const double shear_x = fastai && h > 1 ? h / w * (w - 1) / (h - 1) : 1;
  const double shear_y = fastai && w > 1 ? w / h * (h - 1) / (w - 1) : 1;
  for (const double d : degrees) {
    check(std::isfinite(d), here, "an angle must be finite, received {}", d);
    const double angle = (fastai ? d : -d) * std::numbers::pi / 180, cos = std::cos(angle), sin = std::sin(angle);
    WarpStage::Affine m{.acts = d != 0, .xx = cos, .xy = sin * shear_x, .yx = -sin * shear_y, .yy = cos};
    m.x1 = cx - m.xx * cx - m.xy * cy;
    m.y1 = cy - m.yx * cx - m.yy * cy;
    stage.samples.push_back(m);
  }
  return run(x, std::move(stage), here);
}

Tensor erase(const Tensor& x, const std::vector<std::optional<Box>>& boxes, double value) {
  constexpr auto here = "erase";
  check_images(x, here);
  check_count(x, boxes.size(), here, "box");
  check(std::isfinite(value), here, "value must be finite, received {}", value);
  for (size_t n = 0; n < boxes.size(); ++n) {
    if (boxes[n]) {
      check_box(x, *boxes[n], n, here);
    }
  }
  return run(x, EraseStage{value, boxes}, here);
}

Tensor adjust_brightness(const Tensor& x, const std::vector<double>& factors) {
  check_factors(x, factors, "adjust_brightness");
  return run_color(x, factors, "adjust_brightness", [](double f) {
    return std::vector<ColorOp>{{.kind = Kind::Brightness, .a = f}};
  });
}

Tensor adjust_contrast(const Tensor& x, const std::vector<double>& factors, ColorRule rule) {
  check_factors(x, factors, "adjust_contrast");
  return run_color(x, factors, "adjust_contrast", [&](double f) {
    return std::vector<ColorOp>{{.kind = Kind::Contrast, .a = f, .rule = rule}};
  });
}

Tensor adjust_saturation(const Tensor& x, const std::vector<double>& factors, ColorRule rule) {
  check_factors(x, factors, "adjust_saturation");
  check_gray_or_rgb(x, "adjust_saturation");
  return run_color(x, factors, "adjust_saturation", [&](double f) {
    return std::vector<ColorOp>{{.kind = Kind::Saturation, .a = f, .rule = rule}};
  });
}

Tensor adjust_hue(const Tensor& x, const std::vector<double>& turns, ColorRule rule) {
  constexpr auto here = "adjust_hue";
  check_images(x, here);
  check_count(x, turns.size(), here, "turn");
  check_rgb(x, here);
  return run_color(x, turns, here, [&](double t) {
    check_turns(t, here);
    return std::vector<ColorOp>{{.kind = Kind::Hue, .a = t, .rule = rule}};
  });
}

Tensor color_jitter(const Tensor& x, const std::vector<std::optional<Jitter>>& jitter, ColorRule rule) {
  constexpr auto here = "color_jitter";
  check_images(x, here);
  check_count(x, jitter.size(), here, "jitter");
  return run_color(x, jitter, here, [&](const std::optional<Jitter>& j) {
    std::vector<ColorOp> ops;
    if (!j) {
      return ops;
    }
    auto sorted = j->order;
    std::sort(sorted.begin(), sorted.end());
    check(sorted == std::array<int, 4>{0, 1, 2, 3}, here, "an order must hold 0, 1, 2 and 3 once each");
    for (const double f : {j->brightness, j->contrast, j->saturation}) {
      check(std::isfinite(f) && f >= 0, here, "a factor must be finite and not negative, received {}", f);
    }
    check_turns(j->hue, here);
    const std::array<ColorOp, 4> steps{{
        {.kind = Kind::Brightness, .a = j->brightness, .rule = rule},
        {.kind = Kind::Contrast, .a = j->contrast, .rule = rule},
        {.kind = Kind::Saturation, .a = j->saturation, .rule = rule},
        {.kind = Kind::Hue, .a = j->hue, .rule = rule},
    }};
    constexpr std::array<double, 4> kNeutral{1, 1, 1, 0};
    ops.push_back({.kind = Kind::Clamp});
    for (const int step : j->order) {
      const auto i = static_cast<size_t>(step);
      if (steps[i].a == kNeutral[i]) {
        continue;
      }
      if (steps[i].kind == Kind::Hue) {
        check_rgb(x, here);
      } else if (steps[i].kind == Kind::Saturation) {
        check_gray_or_rgb(x, here);
      }
      ops.push_back(steps[i]);
    }
    ops.push_back({.kind = Kind::Clamp});
    return ops;
  });
}

Tensor grayscale(const Tensor& x, const std::vector<bool>& gray, ColorRule rule) {
  constexpr auto here = "grayscale";
  check_images(x, here);
  check_count(x, gray.size(), here, "flag");
  return run_color(x, gray, here, [&](bool g) {
    return g ? std::vector<ColorOp>{{.kind = Kind::Gray, .rule = rule}} : std::vector<ColorOp>{};
  });
}

Tensor solarize(const Tensor& x, const std::vector<double>& thresholds) {
  constexpr auto here = "solarize";
  check_images(x, here);
  check_count(x, thresholds.size(), here, "threshold");
  return run_color(x, thresholds, here, [](double t) {
    check(t >= 0, here, "a threshold must not be negative, received {}", t);
    return t > 1 ? std::vector<ColorOp>{} : std::vector<ColorOp>{{.kind = Kind::Solarize, .a = t}};
  });
}

Tensor equalize(const Tensor& x, const std::vector<bool>& equalize) {
  check_images(x, "equalize");
  check_count(x, equalize.size(), "equalize", "flag");
  return run(x, EqualizeStage{{equalize.begin(), equalize.end()}}, "equalize");
}

Tensor adjust_gamma(const Tensor& x, const std::vector<double>& gamma, double gain) {
  constexpr auto here = "adjust_gamma";
  check_images(x, here);
  check_count(x, gamma.size(), here, "exponent");
  check(std::isfinite(gain) && gain >= 0, here, "gain must be finite and not negative, received {}", gain);
  return run_color(x, gamma, here, [&](double g) {
    check(std::isfinite(g) && g > 0, here, "gamma must be finite and positive, received {}", g);
    return g == 1 && gain == 1 ? std::vector<ColorOp>{}
                               : std::vector<ColorOp>{{.kind = Kind::Gamma, .a = g, .b = gain}};
  });
}

Tensor apply_window(const Tensor& x, const std::vector<Window>& windows) {
  constexpr auto here = "apply_window";
  check_shape(x, here);
  check(!x.is_complex(), here, "images must be real, received {}", describe(x));
  check_count(x, windows.size(), here, "window");
  return run_color(x.is_floating_point() ? x : x.to(torch::kFloat), windows, here, [](const Window& w) {
    check(
        std::isfinite(w.low) && std::isfinite(w.high) && w.low < w.high,
        here,
        "a window must be low < high, received ({}, {})",
        w.low,
        w.high);
    return std::vector<ColorOp>{{.kind = Kind::Window, .a = w.low, .b = 1 / (w.high - w.low)}};
  });
}

Tensor normalize(const Tensor& x, const std::vector<double>& mean, const std::vector<double>& std) {
  constexpr auto here = "normalize";
  check_floating(x, here);
  check_stats(x, mean, here, "mean");
  check_stats(x, std, here, "std");
  std::vector<double> scale, shift;
  for (size_t c = 0; c < mean.size(); ++c) {
    check(std[c] != 0, here, "std must not be 0, received 0 for channel {}", c);
    scale.push_back(1 / std[c]);
    shift.push_back(-mean[c] / std[c]);
  }
  return run_per_channel(x, std::move(scale), std::move(shift), here);
}

Tensor denormalize(const Tensor& x, const std::vector<double>& mean, const std::vector<double>& std) {
  constexpr auto here = "denormalize";
  check_floating(x, here);
  check_stats(x, mean, here, "mean");
  check_stats(x, std, here, "std");
  return run_per_channel(x, std, mean, here);
}

Tensor gaussian_blur(const Tensor& x, const std::vector<Blur>& blur) {
  constexpr auto here = "gaussian_blur";
  check_images(x, here);
  check_count(x, blur.size(), here, "blur");
  constexpr double kLeastSigma = 1e-12; // whose square is not 0
  const int64_t side = std::min(x.size(2), x.size(3));
  for (const auto& b : blur) {
    check(b.kernel == 0 || b.kernel % 2 == 1, here, "kernel must be odd, or 0 for none, received {}", b.kernel);
    check(
        b.kernel == 0 || (std::isfinite(b.sigma) && b.sigma >= kLeastSigma),
        here,
        "sigma must be finite and positive, received {}",
        b.sigma);
    check(
        b.kernel / 2 < side,
        here,
        "a kernel of {} pixels needs images of more than {} a side, received {}; use a smaller blur",
        b.kernel,
        b.kernel / 2,
        describe(x));
  }
  return run(x, BlurStage{blur}, here);
}

Tensor gaussian_noise(const Tensor& x, const std::vector<Noise>& noise) {
  constexpr auto here = "gaussian_noise";
  check_images(x, here);
  check_count(x, noise.size(), here, "noise");
  for (const auto& n : noise) {
    check(std::isfinite(n.sigma) && n.sigma >= 0, here, "sigma must not be negative, received {}", n.sigma);
  }
  return run(x, NoiseStage{noise}, here);
}

} // namespace barlow
