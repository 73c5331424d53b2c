// SPDX-License-Identifier: Apache-2.0
#include "onnx/operators.h"

#include <fmt/format.h>
#include <torch/torch.h>

namespace barlow::onnx {
namespace {

Held same(const Call& c) {
  return c.tensor(0);
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

} // namespace

const Converters& shapes() {
  static const Converters all{
      {"cat", concatenate},     {"chunk", chunk},       {"constant_pad_nd", constant_pad},
      {"contiguous", same},     {"detach", same},       {"dropout", same},
      {"expand", expand},       {"expand_as", expand},  {"flatten", reshape},
      {"narrow", narrow},       {"permute", permute},   {"reflection_pad2d", reflection_pad},
      {"repeat", repeat},       {"reshape", reshape},   {"roll", roll},
      {"select", select},       {"slice", slice_of},    {"split_with_sizes", split_with_sizes},
      {"squeeze", reshape},     {"t", transpose_2d},    {"to", same},
      {"transpose", transpose}, {"unflatten", reshape}, {"unsqueeze", reshape},
      {"view", reshape},
  };
  return all;
}

} // namespace barlow::onnx
