// SPDX-License-Identifier: Apache-2.0
#include "onnx/operators.h"

#include <cmath>
#include <optional>

#include <torch/torch.h>

namespace barlow::onnx {
namespace {

// Of rows and columns; torch takes one number for both.
Ints both(const Ints& v) {
  return {v[0], v.back()};
}

Held convolution(const Call& c) { // x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
  if (c.flag(6)) {
    c.refuse("it is transposed");
  }
  std::vector<Computed> inputs{c.tensor(0), c.tensor(1)};
  if (!c.none(2)) {
    inputs.push_back(c.tensor(2));
  }
  const bool rows = c.shape(0).size() == 3; // [N,C,L]
  const auto sides = [&](size_t i) { return rows ? c.integers(i) : both(c.integers(i)); };
  auto pads = sides(4);
  const auto ends = pads;
  pads.insert(pads.end(), ends.begin(), ends.end());
  return c.graph.node(
      "Conv", inputs, {{"strides", sides(3)}, {"pads", pads}, {"dilations", sides(5)}, {"group", c.integer(8)}});
}

// An optional vector of an affine map.
Computed vector_or(const Call& c, size_t i, double otherwise, int64_t size) {
  return c.none(i) ? c.graph.tensor(torch::full({size}, otherwise)) : c.tensor(i);
}

Held batch_norm(const Call& c) { // x, weight, bias, mean, var, training, momentum, eps
  if (c.flag(5)) {
    c.refuse("it is in training mode");
  }
  const int64_t channels = c.shape(0).at(1).first;
  return c.graph.node(
      "BatchNormalization",
      {c.tensor(0), vector_or(c, 1, 1, channels), vector_or(c, 2, 0, channels), c.tensor(3), c.tensor(4)},
      {{"epsilon", c.real(7)}});
}

Held group_norm(const Call& c) { // x, groups, weight, bias, eps
  auto& g = c.graph;
  const int64_t groups = c.integer(1);
  const auto rows = g.node("Reshape", {c.tensor(0), g.integers({0, groups, -1})});
  const auto ones = g.tensor(torch::ones({groups})), zeros = g.tensor(torch::zeros({groups}));
  auto y = g.node("InstanceNormalization", {rows, ones, zeros}, {{"epsilon", c.real(4)}});
  y = g.node("Reshape", {y, shape_tensor(c, c.result())});
  const auto column = [&](size_t i) {
    Ints shape(c.result().size() - 1, 1);
    shape[0] = -1;
    return g.node("Reshape", {c.tensor(i), g.integers(shape)});
  };
  y = c.none(2) ? y : g.node("Mul", {y, column(2)});
  return c.none(3) ? y : g.node("Add", {y, column(3)});
}

Held layer_norm(const Call& c) { // x, normalized_shape, weight, bias, eps
  auto& g = c.graph;
  const auto shape = c.integers(1);
  const auto scale = c.none(2) ? g.tensor(torch::ones(shape)) : c.tensor(2);
  std::vector<Computed> inputs{c.tensor(0), scale};
  if (!c.none(3)) {
    inputs.push_back(c.tensor(3));
  }
  return g.node("LayerNormalization", inputs, {{"axis", -static_cast<int64_t>(shape.size())}, {"epsilon", c.real(4)}});
}

Held linear(const Call& c) { // x, weight, bias
  auto& g = c.graph;
  const auto y = g.node("MatMul", {c.tensor(0), g.node("Transpose", {c.tensor(1)}, {{"perm", Ints{1, 0}}})});
  return c.none(2) ? y : g.node("Add", {y, c.tensor(2)});
}

Computed swap_last(const Call& c, const Computed& x, size_t dims) {
  Ints order(dims);
  for (size_t i = 0; i < dims; ++i) {
    order[i] = static_cast<int64_t>(i);
  }
  std::swap(order[dims - 1], order[dims - 2]);
  return c.graph.node("Transpose", {x}, {{"perm", order}});
}

Held attention(const Call& c) { // query, key, value, mask, dropout, causal, scale, grouped
  auto& g = c.graph;
  if (c.flag(5) || (!c.none(7) && c.flag(7))) {
    c.refuse("it is causal or grouped");
  }
  const double scale = c.none(6) ? 1 / std::sqrt(static_cast<double>(c.shape(0).back().first)) : c.real(6);
  const auto key = swap_last(c, c.tensor(1), c.shape(1).size());
  auto scores = g.node("MatMul", {times(g, c.tensor(0), scale), key});
  if (!c.none(3)) {
    scores = g.node("Add", {scores, c.tensor(3)});
  }
  return g.node("MatMul", {g.node("Softmax", {scores}, {{"axis", int64_t{-1}}}), c.tensor(2)});
}

// --- pooling

Attributes window(const Call& c, bool ceil) { // x, kernel, stride, padding
  const auto kernel = c.integers(1);
  const auto stride = c.integers(2);
  const auto padding = c.integers(3);
  const Ints pads{padding[0], padding.back(), padding[0], padding.back()};
  return {
      {"kernel_shape", both(kernel)},
      {"strides", both(stride.empty() ? kernel : stride)},
      {"pads", pads},
      {"ceil_mode", int64_t{ceil ? 1 : 0}}};
}

Held max_pool(const Call& c) { // x, kernel, stride, padding, dilation, ceil_mode
  auto attributes = window(c, c.flag(5));
  attributes.emplace_back("dilations", both(c.integers(4)));
  return c.graph.node("MaxPool", {c.tensor(0)}, attributes);
}

Held average_pool(const Call& c) { // x, kernel, stride, padding, ceil_mode, count_include_pad, divisor
  if (!c.none(6)) {
    c.refuse("it has a divisor of its own");
  }
  auto attributes = window(c, c.flag(4));
  attributes.emplace_back("count_include_pad", int64_t{c.flag(5) ? 1 : 0});
  return c.graph.node("AveragePool", {c.tensor(0)}, attributes);
}

Ints pixels(const Shape& shape) {
  return {shape[shape.size() - 2].first, shape.back().first};
}

// Windows of one size, or nothing.
std::optional<Attributes> even_windows(const Ints& from, const Ints& to) {
  if (from[0] % to[0] != 0 || from[1] % to[1] != 0) {
    return std::nullopt;
  }
  const Ints kernel{from[0] / to[0], from[1] / to[1]};
  return Attributes{{"kernel_shape", kernel}, {"strides", kernel}};
}

// [to,from]: row i averages the pixels floor(i from / to) to ceil((i + 1) from / to).
at::Tensor averages(int64_t from, int64_t to) {
  auto matrix = torch::zeros({to, from});
  for (int64_t i = 0; i < to; ++i) {
    const int64_t begin = i * from / to, end = ((i + 1) * from + to - 1) / to;
    matrix[i].narrow(0, begin, end - begin).fill_(1. / static_cast<double>(end - begin));
  }
  return matrix;
}

Held adaptive_average(const Call& c) { // x, size
  auto& g = c.graph;
  const auto to = both(c.integers(1)), from = pixels(c.shape(0));
  if (to == Ints{1, 1}) {
    return g.node("GlobalAveragePool", {c.tensor(0)});
  }
  if (const auto windows = even_windows(from, to)) {
    return g.node("AveragePool", {c.tensor(0)}, *windows);
  }
  const auto rows = g.node("MatMul", {g.tensor(averages(from[0], to[0])), c.tensor(0)});
  return g.node("MatMul", {rows, g.tensor(averages(from[1], to[1]).t().contiguous())});
}

Held adaptive_max(const Call& c) { // x, size
  const auto to = both(c.integers(1));
  if (to == Ints{1, 1}) {
    return c.graph.node("GlobalMaxPool", {c.tensor(0)});
  }
  const auto windows = even_windows(pixels(c.shape(0)), to);
  if (!windows) {
    c.refuse("its windows differ in size; take images of another size");
  }
  return c.graph.node("MaxPool", {c.tensor(0)}, *windows);
}

} // namespace

const Converters& layers() {
  static const Converters all{
      {"_convolution", convolution},
      {"adaptive_avg_pool2d", adaptive_average},
      {"adaptive_max_pool2d", adaptive_max},
      {"avg_pool2d", average_pool},
      {"batch_norm", batch_norm},
      {"group_norm", group_norm},
      {"layer_norm", layer_norm},
      {"linear", linear},
      {"max_pool2d", max_pool},
      {"scaled_dot_product_attention", attention},
  };
  return all;
}

} // namespace barlow::onnx
