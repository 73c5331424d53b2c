// SPDX-License-Identifier: Apache-2.0
#include "onnx/operators.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include <torch/torch.h>

#include <barlow/onnx.h>

#include "check.h"

// Source of the operators: onnx 1.17, docs/Operators.md at opset 17.

namespace barlow::onnx {

// --- arguments

void Call::refuse(const std::string& why) const {
  throw Error(fmt::format("[export_onnx] {} cannot be written as ONNX: {}", name_, why));
}

const Known& Call::known(size_t i) const {
  const auto* held = std::get_if<Known>(arguments_.at(i));
  if (held == nullptr) {
    refuse(fmt::format("its argument {} depends on the images", i));
  }
  return *held;
}

bool Call::none(size_t i) const {
  const auto* held = i < arguments_.size() ? std::get_if<Known>(arguments_[i]) : nullptr;
  return i >= arguments_.size() || (held != nullptr && held->first.isNone());
}

const c10::IValue& Call::value(size_t i) const {
  const auto& held = known(i);
  if (held.varies) {
    refuse(fmt::format("its argument {} differs from batch to batch", i));
  }
  return held.first;
}

int64_t Call::integer(size_t i) const {
  return value(i).toInt();
}

double Call::real(size_t i) const {
  return value(i).toScalar().toDouble();
}

bool Call::flag(size_t i) const {
  return value(i).toBool();
}

std::vector<int64_t> Call::integers(size_t i) const {
  const auto& list = value(i);
  return list.isInt() ? std::vector<int64_t>{list.toInt()} : list.toIntVector();
}

std::vector<Extent> Call::extents(size_t i) const {
  const auto first = known(i).first.toIntVector(), second = known(i).second.toIntVector();
  std::vector<Extent> all;
  all.reserve(first.size());
  for (size_t j = 0; j < first.size(); ++j) {
    all.push_back({first[j], second.at(j)});
  }
  return all;
}

Computed Call::tensor(size_t i) const {
  if (const auto* name = std::get_if<Computed>(arguments_.at(i))) {
    return *name;
  }
  const auto& held = value(i);
  return held.isTensor() ? graph.tensor(held.toTensor()) : graph.scalar(held.toScalar().toDouble());
}

std::vector<Computed> Call::tensors(size_t i) const {
  if (const auto* names = std::get_if<std::vector<Computed>>(arguments_.at(i))) {
    return *names;
  }
  std::vector<Computed> names;
  for (const at::Tensor& t : value(i).toTensorVector()) {
    names.push_back(graph.tensor(t));
  }
  return names;
}

int64_t Call::dim(size_t i, size_t tensor) const {
  return at::maybe_wrap_dim(integer(i), static_cast<int64_t>(shape(tensor).size()));
}

std::vector<int64_t> Call::dims(size_t i) const {
  auto all = integers(i);
  for (auto& d : all) {
    d = at::maybe_wrap_dim(d, static_cast<int64_t>(shape(0).size()));
  }
  return all;
}

namespace {

using Ints = std::vector<int64_t>;
constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

// --- parts

Computed slice(Graph& g, const Computed& x, int64_t dim, int64_t begin, int64_t end, int64_t step = 1) {
  return g.node("Slice", {x, g.integers({begin}), g.integers({end}), g.integers({dim}), g.integers({step})});
}

Computed times(Graph& g, const Computed& x, double factor) {
  return factor == 1 ? x : g.node("Mul", {x, g.scalar(factor)});
}

// A shape whose extents may vary, as a tensor of integers: each that does is a multiple of the batch.
Computed shape_tensor(const Call& c, const std::vector<Extent>& extents) {
  auto& g = c.graph;
  std::vector<Computed> parts;
  Ints constant;
  const auto flush = [&] {
    if (!constant.empty()) {
      parts.push_back(g.integers(constant));
      constant.clear();
    }
  };
  for (const auto& e : extents) {
    if (!e.varies()) {
      constant.push_back(e.first);
      continue;
    }
    if (e.first * 3 != e.second * 2) {
      c.refuse("a size that depends on the batch in another way than by a factor");
    }
    flush();
    const auto batch = slice(g, g.node("Shape", {"images"}), 0, 0, 1);
    parts.push_back(g.node("Mul", {batch, g.integers({e.first / 2})}));
  }
  flush();
  return parts.size() == 1 ? parts[0] : g.node("Concat", parts, {{"axis", int64_t{0}}});
}

// To the shape that the call gave: what view, flatten, squeeze and the like come to.
Held reshape(const Call& c) {
  Ints shape;
  int64_t free = 0;
  for (const auto& e : c.result()) {
    free += e.varies() ? 1 : 0;
    shape.push_back(e.varies() ? -1 : e.first);
  }
  auto& g = c.graph;
  return g.node("Reshape", {c.tensor(0), free <= 1 ? g.integers(shape) : shape_tensor(c, c.result())});
}

Held same(const Call& c) {
  return c.tensor(0);
}

template <const char* kOp>
Held unary(const Call& c) {
  return c.graph.node(kOp, {c.tensor(0)});
}

template <const char* kOp>
Held binary(const Call& c) {
  auto& g = c.graph;
  const double alpha = c.size() > 2 && !c.none(2) ? c.real(2) : 1; // of add and sub
  return g.node(kOp, {c.tensor(0), times(g, c.tensor(1), alpha)});
}

// Of rows and columns; torch takes one number for both.
Ints both(const Ints& v) {
  return {v[0], v.back()};
}

// --- layers

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

// --- activations

Held silu(const Call& c) {
  const auto x = c.tensor(0);
  return c.graph.node("Mul", {x, c.graph.node("Sigmoid", {x})});
}

Held gelu(const Call& c) { // x, approximate
  auto& g = c.graph;
  const auto x = c.tensor(0);
  Computed inner;
  if (c.size() > 1 && c.value(1).toStringRef() == "tanh") {
    const auto cube = g.node("Mul", {g.node("Mul", {x, x}), x});
    const auto sum = g.node("Add", {x, times(g, cube, 0.044715)});
    inner = g.node("Tanh", {times(g, sum, std::sqrt(2 / M_PI))});
  } else {
    inner = g.node("Erf", {times(g, x, M_SQRT1_2)});
  }
  return g.node("Mul", {times(g, x, 0.5), g.node("Add", {inner, g.scalar(1)})});
}

Held hardsigmoid(const Call& c) {
  return c.graph.node("HardSigmoid", {c.tensor(0)}, {{"alpha", 1. / 6}, {"beta", 0.5}});
}

Held clip(const Call& c) { // x, lowest, highest
  return c.graph.node("Clip", {c.tensor(0), c.tensor(1), c.tensor(2)});
}

Held square(const Call& c) {
  const auto x = c.tensor(0);
  return c.graph.node("Mul", {x, x});
}

Held rsqrt(const Call& c) {
  return c.graph.node("Reciprocal", {c.graph.node("Sqrt", {c.tensor(0)})});
}

Held softmax(const Call& c) { // x, dim
  return c.graph.node("Softmax", {c.tensor(0)}, {{"axis", c.dim(1)}});
}

Held addcmul(const Call& c) { // x, a, b, value
  auto& g = c.graph;
  const double factor = c.size() > 3 ? c.real(3) : 1;
  return g.node("Add", {c.tensor(0), times(g, g.node("Mul", {c.tensor(1), c.tensor(2)}), factor)});
}

// --- reductions

Held mean(const Call& c) { // x, dims, keepdim
  return c.graph.node("ReduceMean", {c.tensor(0)}, {{"axes", c.dims(1)}, {"keepdims", int64_t{c.flag(2) ? 1 : 0}}});
}

Held variance(const Call& c) { // x, dims, correction or unbiased, keepdim
  auto& g = c.graph;
  const auto x = c.tensor(0);
  double correction = 1;
  if (!c.none(2)) {
    correction = c.value(2).isBool() ? (c.flag(2) ? 1 : 0) : c.real(2);
  }
  double count = 1;
  for (const auto d : c.dims(1)) {
    count *= static_cast<double>(c.shape(0).at(static_cast<size_t>(d)).first);
  }
  const Attributes over{{"axes", c.dims(1)}, {"keepdims", int64_t{1}}};
  const auto centred = g.node("Sub", {x, g.node("ReduceMean", {x}, over)});
  const auto spread = g.node(
      "ReduceMean",
      {g.node("Mul", {centred, centred})},
      {{"axes", c.dims(1)}, {"keepdims", int64_t{c.flag(3) ? 1 : 0}}});
  return times(g, spread, count / (count - correction));
}

Held vector_norm(const Call& c) { // x, ord, dims, keepdim
  if (c.real(1) != 2) {
    c.refuse("its order is not 2");
  }
  return c.graph.node("ReduceL2", {c.tensor(0)}, {{"axes", c.dims(2)}, {"keepdims", int64_t{c.flag(3) ? 1 : 0}}});
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

// --- shapes

Held permute(const Call& c) { // x, dims
  return c.graph.node("Transpose", {c.tensor(0)}, {{"perm", c.dims(1)}});
}

Held transpose(const Call& c) { // x, dim, dim
  Ints order(c.shape(0).size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<int64_t>(i);
  }
  std::swap(order[static_cast<size_t>(c.dim(1))], order[static_cast<size_t>(c.dim(2))]);
  return c.graph.node("Transpose", {c.tensor(0)}, {{"perm", order}});
}

Held transpose_2d(const Call& c) {
  return c.graph.node("Transpose", {c.tensor(0)}, {{"perm", Ints{1, 0}}});
}

Held concatenate(const Call& c) { // tensors, dim
  const auto rank = static_cast<int64_t>(c.result().size());
  return c.graph.node("Concat", c.tensors(0), {{"axis", at::maybe_wrap_dim(c.integer(1), rank)}});
}

std::vector<Computed> split(const Call& c, const Ints& sizes, int64_t dim) {
  auto& g = c.graph;
  const auto first = g.node("Split", {c.tensor(0), g.integers(sizes)}, {{"axis", dim}}, sizes.size());
  std::vector<Computed> all{first};
  for (size_t i = 1; i < sizes.size(); ++i) {
    all.push_back(fmt::format("{}.{}", first, i));
  }
  return all;
}

Held chunk(const Call& c) { // x, chunks, dim
  const int64_t dim = c.dim(2), chunks = c.integer(1);
  int64_t left = c.shape(0)[static_cast<size_t>(dim)].first;
  const int64_t each = (left + chunks - 1) / chunks;
  Ints sizes;
  for (; left > 0; left -= each) {
    sizes.push_back(std::min(left, each));
  }
  return split(c, sizes, dim);
}

Held split_with_sizes(const Call& c) { // x, sizes, dim
  return split(c, c.integers(1), c.dim(2));
}

Held narrow(const Call& c) { // x, dim, start, length
  return slice(c.graph, c.tensor(0), c.dim(1), c.integer(2), c.integer(2) + c.integer(3));
}

Held slice_of(const Call& c) { // x, dim, start, end, step
  return slice(
      c.graph, c.tensor(0), c.dim(1), c.none(2) ? 0 : c.integer(2), c.none(3) ? kEnd : c.integer(3), c.integer(4));
}

Held select(const Call& c) { // x, dim, index
  auto& g = c.graph;
  return g.node("Gather", {c.tensor(0), g.tensor(torch::tensor(c.integer(2)))}, {{"axis", c.dim(1)}});
}

Held roll(const Call& c) { // x, shifts, dims
  auto& g = c.graph;
  const auto shifts = c.integers(1);
  const auto dims = c.dims(2);
  auto x = c.tensor(0);
  for (size_t i = 0; i < shifts.size(); ++i) {
    const int64_t size = c.shape(0)[static_cast<size_t>(dims[i])].first;
    const int64_t cut = ((-shifts[i] % size) + size) % size;
    if (cut > 0) {
      x = g.node("Concat", {slice(g, x, dims[i], cut, kEnd), slice(g, x, dims[i], 0, cut)}, {{"axis", dims[i]}});
    }
  }
  return x;
}

// torch's padding lists the last dimension first.
Computed pad(const Call& c, const char* mode, const std::vector<Computed>& value) {
  const auto padding = c.integers(1);
  const size_t rank = c.shape(0).size();
  Ints pads(2 * rank, 0);
  for (size_t i = 0; i < padding.size() / 2; ++i) {
    pads[rank - 1 - i] = padding[2 * i];
    pads[2 * rank - 1 - i] = padding[2 * i + 1];
  }
  std::vector<Computed> inputs{c.tensor(0), c.graph.integers(pads)};
  inputs.insert(inputs.end(), value.begin(), value.end());
  return c.graph.node("Pad", inputs, {{"mode", std::string(mode)}});
}

Held constant_pad(const Call& c) { // x, padding, value
  return pad(c, "constant", {c.graph.scalar(c.none(2) ? 0 : c.real(2))});
}

Held reflection_pad(const Call& c) { // x, padding
  return pad(c, "reflect", {});
}

Held expand(const Call& c) { // x, ...
  return c.graph.node("Expand", {c.tensor(0), shape_tensor(c, c.result())});
}

Held repeat(const Call& c) { // x, times
  return c.graph.node("Tile", {c.tensor(0), shape_tensor(c, c.extents(1))});
}

constexpr char kAdd[] = "Add", kSub[] = "Sub", kMul[] = "Mul", kDiv[] = "Div", kMax[] = "Max", kMatMul[] = "MatMul",
               kRelu[] = "Relu", kSigmoid[] = "Sigmoid", kTanh[] = "Tanh", kSqrt[] = "Sqrt", kHardSwish[] = "HardSwish";

using Converter = Held (*)(const Call&);
const std::map<std::string, Converter>& converters() {
  static const std::map<std::string, Converter> all{
      {"_convolution", convolution},
      {"adaptive_avg_pool2d", adaptive_average},
      {"adaptive_max_pool2d", adaptive_max},
      {"add", binary<kAdd>},
      {"addcmul", addcmul},
      {"avg_pool2d", average_pool},
      {"batch_norm", batch_norm},
      {"cat", concatenate},
      {"chunk", chunk},
      {"clamp", clip},
      {"constant_pad_nd", constant_pad},
      {"contiguous", same},
      {"detach", same},
      {"div", binary<kDiv>},
      {"dropout", same},
      {"expand", expand},
      {"expand_as", expand},
      {"flatten", reshape},
      {"gelu", gelu},
      {"group_norm", group_norm},
      {"hardsigmoid", hardsigmoid},
      {"hardswish", unary<kHardSwish>},
      {"hardtanh", clip},
      {"layer_norm", layer_norm},
      {"linalg_vector_norm", vector_norm},
      {"linear", linear},
      {"matmul", binary<kMatMul>},
      {"max_pool2d", max_pool},
      {"maximum", binary<kMax>},
      {"mean", mean},
      {"mm", binary<kMatMul>},
      {"mul", binary<kMul>},
      {"narrow", narrow},
      {"permute", permute},
      {"reflection_pad2d", reflection_pad},
      {"relu", unary<kRelu>},
      {"repeat", repeat},
      {"reshape", reshape},
      {"roll", roll},
      {"rsqrt", rsqrt},
      {"scaled_dot_product_attention", attention},
      {"select", select},
      {"sigmoid", unary<kSigmoid>},
      {"silu", silu},
      {"slice", slice_of},
      {"softmax", softmax},
      {"split_with_sizes", split_with_sizes},
      {"sqrt", unary<kSqrt>},
      {"square", square},
      {"squeeze", reshape},
      {"sub", binary<kSub>},
      {"t", transpose_2d},
      {"tanh", unary<kTanh>},
      {"to", same},
      {"transpose", transpose},
      {"unflatten", reshape},
      {"unsqueeze", reshape},
      {"var", variance},
      {"view", reshape},
  };
  return all;
}

} // namespace

Held convert(const Call& call) {
  auto name = call.name();
  if (!name.empty() && name.back() == '_') { // in place: the same value
    name.pop_back();
  }
  const auto found = converters().find(name);
  if (found == converters().end()) {
    call.refuse("there is no counterpart here; see src/onnx/operators.cpp");
  }
  return found->second(call);
}

} // namespace barlow::onnx
