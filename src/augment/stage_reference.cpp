// SPDX-License-Identifier: Apache-2.0
// Every stage by ATen, sample by sample, in double precision where positions and weights are computed: any device and
// floating type. Written for clarity; the kernels are tested against it.
#include <torch/torch.h>

#include "stage.h"

namespace barlow {
namespace {

using torch::Tensor;
namespace F = torch::nn::functional;

// Each takes and gives one sample [C,H,W] in double.

Tensor resized(const Tensor& x, int64_t height, int64_t width, const ResizeOptions& options) {
  const bool bicubic = options.interpolation == Interpolation::Bicubic;
  if (options.antialias && width == 1 && height > 1) { // torch 2.11's antialiased resize is wrong for this width
    return resized(x.transpose(1, 2), width, height, options).transpose(1, 2);
  }
  const std::array<int64_t, 2> size{height, width};
  const auto batch = x.unsqueeze(0).contiguous();
  const auto y = options.antialias
      ? (bicubic ? at::_upsample_bicubic2d_aa(batch, size, false) : at::_upsample_bilinear2d_aa(batch, size, false))
      : (bicubic ? at::upsample_bicubic2d(batch, size, false) : at::upsample_bilinear2d(batch, size, false));
  return y.squeeze(0);
}

Tensor reference(const CropStage& stage, size_t n, const Tensor& x) {
  const auto& box = stage.boxes[n];
  const auto [height, width] = stage.size;
  Tensor y = x.narrow(1, box.top, box.height).narrow(2, box.left, box.width);
  if (box.height != height || box.width != width) {
    y = resized(y, height, width, stage.resize);
  }
  return stage.mirror[n] != 0 ? y.flip(2) : y;
}

Tensor reference(const OrientStage& stage, size_t n, const Tensor& x) {
  const auto& o = stage.samples[n];
  Tensor y = x;
  if (o.mirror_x) {
    y = y.flip(2);
  }
  if (o.mirror_y) {
    y = y.flip(1);
  }
  return o.transpose ? y.transpose(1, 2) : y;
}

// s reflected about the centres of the first and last pixel
Tensor reflected(const Tensor& s, int64_t size) {
  if (size == 1) {
    return at::zeros_like(s);
  }
  const double period = 2. * static_cast<double>(size - 1);
  const auto r = s.abs().remainder(period);
  return at::minimum(r, period - r);
}

Tensor reference(const WarpStage& stage, size_t n, const Tensor& x) {
  const auto& m = stage.samples[n];
  if (!m.acts) {
    return x;
  }
  const int64_t h = x.size(1), w = x.size(2);
  const auto rows = torch::arange(h, x.options()).unsqueeze(1), columns = torch::arange(w, x.options()).unsqueeze(0);
  Tensor sx = m.xx * columns + m.xy * rows + m.x1, sy = m.yx * columns + m.yy * rows + m.y1;
  const bool zeros = stage.border == WarpStage::Border::Zeros;
  if (!zeros) {
    sx = reflected(sx, w);
    sy = reflected(sy, h);
  }
  const auto x0 = sx.floor(), y0 = sy.floor();
  Tensor sum = at::zeros_like(x);
  for (const int dy : {0, 1}) {
    for (const int dx : {0, 1}) {
      const auto cx = x0 + dx, cy = y0 + dy;
      Tensor weight = (1 - (sx - cx).abs()) * (1 - (sy - cy).abs());
      weight = weight * ((cx >= 0) & (cx < w) & (cy >= 0) & (cy < h)); // beyond a reflected border it is 0 anyway
      const auto index = cy.clamp(0, h - 1) * w + cx.clamp(0, w - 1);
      sum = sum + weight * x.flatten(1).index_select(1, index.to(torch::kLong).flatten()).view_as(x);
    }
  }
  return sum;
}

Tensor reference(const BlurStage& stage, size_t n, const Tensor& x) {
  const auto& blur = stage.samples[n];
  if (blur.kernel == 0) {
    return x;
  }
  const int64_t r = blur.kernel / 2;
  const auto weights = at::softmax(-torch::arange(-r, r + 1, x.options()).square() / (2 * blur.sigma * blur.sigma), 0);
  auto y = F::pad(x, F::PadFuncOptions({r, r, r, r}).mode(torch::kReflect)).unsqueeze(1); // channels as samples
  y = at::conv2d(y, weights.view({1, 1, 1, -1}));
  return at::conv2d(y, weights.view({1, 1, -1, 1})).squeeze(1);
}

Tensor luma(const Tensor& x, const ColorOp& op) {
  return op.red() * x[0] + .587 * x[1] + .114 * x[2];
}

// Through HSV and its six sectors.
Tensor turned_hue(const Tensor& x, const ColorOp& op) {
  const auto v = std::get<0>(x.max(0)), d = v - std::get<0>(x.min(0));
  const auto s = at::where(v == 0, 0., d / (v + op.eps()));
  const auto safe = at::where(d == 0, 1., d);
  const auto r = v - x[0], g = v - x[1], b = v - x[2];
  const auto six = at::where(x[0] == v, b - g, at::where(x[1] == v, 2 * safe + r - b, 4 * safe + g - r)) / safe;
  const auto h = (six / 6 + op.a).remainder(1.) * 6;
  const auto sector = h.floor().remainder(6.).nan_to_num(0), f = h - h.floor();
  const auto p = v * (1 - s), q = v * (1 - f * s), t = v * (1 - (1 - f) * s);
  const auto pick = [&](const std::vector<Tensor>& of_sector) {
    return at::stack(of_sector).gather(0, sector.to(torch::kLong).unsqueeze(0)).squeeze(0);
  };
  return at::stack({pick({v, q, p, p, t, v}), pick({t, v, v, q, p, p}), pick({p, p, t, v, v, q})});
}

Tensor colored(const ColorOp& op, const Tensor& x) {
  using enum ColorOp::Kind;
  const bool rgb = x.size(0) == 3;
  switch (op.kind) {
    case Clamp:
      return x.clamp(0, 1);
    case Brightness:
      return (op.a * x).clamp(0, 1);
    case Contrast:
      return (op.a * x + (1 - op.a) * (rgb ? luma(x, op).mean() : x.mean())).clamp(0, 1);
    case Saturation:
      return (op.a * x + (1 - op.a) * (rgb ? luma(x, op) : x)).clamp(0, 1);
    case Hue:
      return turned_hue(x, op);
    case Gray:
      return (rgb ? luma(x, op) : x.mean(0)).expand_as(x);
    case Solarize:
      return at::where(x < op.a, x, 1 - x);
    case Gamma:
      return (op.b * x.clamp(0).pow(op.a)).clamp(0, 1);
    case Window:
      return ((x - op.a) * op.b).clamp(0, 1);
    case PerChannel:
      return torch::tensor(*op.scale, x.options()).view({-1, 1, 1}) * x +
          torch::tensor(*op.shift, x.options()).view({-1, 1, 1});
  }
  TORCH_INTERNAL_ASSERT(false, "a ColorOp without a case");
}

Tensor reference(const ColorStage& stage, size_t n, const Tensor& x) {
  Tensor y = x;
  for (const auto& op : stage.samples[n]) {
    y = colored(op, y);
  }
  return y;
}

Tensor reference(const EqualizeStage& stage, size_t n, const Tensor& x) {
  if (stage.samples[n] == 0) {
    return x;
  }
  std::vector<Tensor> channels;
  for (const auto& channel : x.unbind(0)) {
    const auto known = channel.isnan().logical_not();
    const auto levels = (channel * 255).round().clamp(0, 255).nan_to_num(0).to(torch::kLong);
    const auto counts = at::bincount(levels.masked_select(known), {}, kLevels).cpu();
    Histogram histogram;
    std::copy_n(counts.data_ptr<int64_t>(), kLevels, histogram.begin());
    const auto table = equalizing_table(histogram);
    const auto to = torch::tensor(std::vector<double>(table.begin(), table.end()), x.options()).index({levels}) / 255;
    channels.push_back(at::where(known, to, channel));
  }
  return at::stack(channels);
}

Tensor reference(const NoiseStage& stage, size_t n, const Tensor& x) {
  const auto& noise = stage.samples[n];
  if (noise.sigma == 0) {
    return x;
  }
  auto normal = torch::empty(x.sizes(), torch::kFloat);
  fill_normal(normal.data_ptr<float>(), normal.numel(), noise.key);
  return x + noise.sigma * normal.to(x.options());
}

Tensor reference(const EraseStage& stage, size_t n, const Tensor& x) {
  const auto& box = stage.samples[n];
  if (!box) {
    return x;
  }
  const auto y = x.clone();
  y.narrow(1, box->top, box->height).narrow(2, box->left, box->width).fill_(stage.value);
  return y;
}

} // namespace

Tensor run_reference(const Tensor& x, const Stage& stage) {
  std::vector<Tensor> samples;
  for (int64_t n = 0; n < x.size(0); ++n) {
    const auto sample = x[n].to(torch::kDouble);
    samples.push_back(std::visit([&](const auto& s) { return reference(s, static_cast<size_t>(n), sample); }, stage));
  }
  return at::stack(samples).to(x.scalar_type());
}

} // namespace barlow
