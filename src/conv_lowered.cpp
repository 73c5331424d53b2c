// SPDX-License-Identifier: Apache-2.0
#include "conv_lowered.h"

#include <torch/torch.h>

namespace barlow {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// The range of kernel offsets that meet at least one pixel, and the padding that is left for them.
struct Taps {
  int64_t first, count, padding;
};

Taps used_taps(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t out = (size + 2 * padding - kernel) / stride + 1;
  const auto meets_pixel = [&](int64_t tap) {
    const int64_t lowest = tap - padding, highest = (out - 1) * stride + tap - padding;
    const int64_t first_inside = lowest >= 0 ? lowest : lowest + (-lowest + stride - 1) / stride * stride;
    return first_inside <= highest && first_inside < size;
  };
  int64_t first = 0, last = kernel - 1;
  while (first < last && !meets_pixel(first)) {
    ++first;
  }
  while (last > first && !meets_pixel(last)) {
    --last;
  }
  return {first, last - first + 1, padding - first};
}

// One convolution as a matrix product: columns [N*OH*OW, kh*kw*C] times weights [O, kh*kw*C]'.
struct Lowering {
  int64_t n, channels, height, width, out_height, out_width, stride;
  Taps rows, columns;

  Lowering(const Tensor& x, const Tensor& weight, int64_t stride_, int64_t padding)
      : n(x.size(0)),
        channels(x.size(1)),
        height(x.size(2)),
        width(x.size(3)),
        out_height((height + 2 * padding - weight.size(2)) / stride_ + 1),
        out_width((width + 2 * padding - weight.size(3)) / stride_ + 1),
        stride(stride_),
        rows(used_taps(height, weight.size(2), stride_, padding)),
        columns(used_taps(width, weight.size(3), stride_, padding)) {}

  int64_t positions() const {
    return n * out_height * out_width;
  }

  // Rows and columns of the padded image that the used taps reach; a negative end crops.
  int64_t padded_height() const {
    return (out_height - 1) * stride + rows.count;
  }
  int64_t padded_width() const {
    return (out_width - 1) * stride + columns.count;
  }
  std::vector<int64_t> padding() const { // of an [N,H,W,C] tensor, last dimension first
    return {
        0,
        0,
        columns.padding,
        padded_width() - width - columns.padding,
        rows.padding,
        padded_height() - height - rows.padding};
  }

  Tensor lower(const Tensor& x) const {
    const auto padded = at::constant_pad_nd(x.permute({0, 2, 3, 1}), padding()).contiguous();
    const int64_t row = padded_width() * channels;
    return padded
        .as_strided(
            {n, out_height, out_width, rows.count, columns.count, channels},
            {padded_height() * row, stride * row, stride * channels, row, channels, 1})
        .reshape({positions(), -1});
  }

  Tensor raise(const Tensor& lowered) const { // the adjoint of lower
    const auto parts = lowered.view({n, out_height, out_width, rows.count, columns.count, channels});
    auto padded = at::zeros({n, padded_height(), padded_width(), channels}, lowered.options());
    for (int64_t i = 0; i < rows.count; ++i) {
      for (int64_t j = 0; j < columns.count; ++j) {
        padded.slice(1, i, i + (out_height - 1) * stride + 1, stride)
            .slice(2, j, j + (out_width - 1) * stride + 1, stride)
            .add_(parts.select(3, i).select(3, j));
      }
    }
    auto back = padding();
    for (auto& p : back) {
      p = -p;
    }
    return at::constant_pad_nd(padded, back).permute({0, 3, 1, 2});
  }

  Tensor used(const Tensor& weight) const { // a view
    return weight.narrow(2, rows.first, rows.count).narrow(3, columns.first, columns.count);
  }

  Tensor matrix(const Tensor& weight) const { // [O, kh*kw*C]; a view if the weight is channels-last
    return used(weight).permute({0, 2, 3, 1}).reshape({weight.size(0), -1});
  }
};

struct LoweredConvolution : torch::autograd::Function<LoweredConvolution> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, int64_t stride, int64_t padding) {
    const Lowering shape(x, weight, stride, padding);
    const auto lowered = shape.lower(x);
    ctx->save_for_backward({x, weight, lowered});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    return lowered.mm(shape.matrix(weight).t())
        .view({shape.n, shape.out_height, shape.out_width, weight.size(0)})
        .permute({0, 3, 1, 2});
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grad_output) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &lowered = saved[2];
    const auto stride = ctx->saved_data["stride"].toInt(), padding = ctx->saved_data["padding"].toInt();
    if (torch::GradMode::is_enabled()) { // create_graph: torch's own backward can be differentiated again
      const auto [grad_x, grad_weight, unused] = at::convolution_backward(
          grad_output[0], x, weight, {}, {stride}, {padding}, {1}, false, {0}, 1, {true, true, false});
      return {grad_x, grad_weight, {}, {}};
    }
    const Lowering shape(x, weight, stride, padding);
    const auto grad = grad_output[0].permute({0, 2, 3, 1}).reshape({shape.positions(), weight.size(0)});
    Tensor grad_x, grad_weight;
    if (ctx->needs_input_grad(0)) {
      grad_x = shape.raise(grad.mm(shape.matrix(weight)));
    }
    if (ctx->needs_input_grad(1)) {
      const auto product =
          grad.t().mm(lowered).view({weight.size(0), shape.rows.count, shape.columns.count, weight.size(1)});
      const bool all_taps = shape.rows.count == weight.size(2) && shape.columns.count == weight.size(3);
      if (all_taps) {
        grad_weight = product.permute({0, 3, 1, 2});
      } else {
        grad_weight = at::zeros_like(weight);
        shape.used(grad_weight).copy_(product.permute({0, 3, 1, 2}));
      }
    }
    return {grad_x, grad_weight, {}, {}};
  }
};

// Up to here the matrix product beats oneDNN, which reorders the weights first; with at most half of the taps in use it
// always does. Measured on two cores: tests/bench, rows conv and conv_torch.
constexpr int64_t kMostPositions = 64;

} // namespace

bool lowering_pays(const Tensor& x, const Tensor& weight, int64_t stride, int64_t padding) {
  const Lowering shape(x, weight, stride, padding);
  const int64_t used = shape.rows.count * shape.columns.count, all = weight.size(2) * weight.size(3);
  return shape.positions() <= kMostPositions || 2 * used <= all;
}

Tensor lowered_conv2d(const Tensor& x, const Tensor& weight, int64_t stride, int64_t padding) {
  return LoweredConvolution::apply(x, weight, stride, padding);
}

} // namespace barlow
