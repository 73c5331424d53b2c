// SPDX-License-Identifier: Apache-2.0
#include "onnx/operators.h"

#include <cmath>

#include <torch/torch.h>

namespace barlow::onnx {
namespace {

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

constexpr char kAdd[] = "Add", kSub[] = "Sub", kMul[] = "Mul", kDiv[] = "Div", kMax[] = "Max", kMatMul[] = "MatMul",
               kRelu[] = "Relu", kSigmoid[] = "Sigmoid", kTanh[] = "Tanh", kSqrt[] = "Sqrt", kHardSwish[] = "HardSwish";

} // namespace

const Converters& arithmetic() {
  static const Converters all{
      {"add", binary<kAdd>},
      {"addcmul", addcmul},
      {"clamp", clip},
      {"div", binary<kDiv>},
      {"gelu", gelu},
      {"hardsigmoid", hardsigmoid},
      {"hardswish", unary<kHardSwish>},
      {"hardtanh", clip},
      {"linalg_vector_norm", vector_norm},
      {"matmul", binary<kMatMul>},
      {"maximum", binary<kMax>},
      {"mean", mean},
      {"mm", binary<kMatMul>},
      {"mul", binary<kMul>},
      {"relu", unary<kRelu>},
      {"rsqrt", rsqrt},
      {"sigmoid", unary<kSigmoid>},
      {"silu", silu},
      {"softmax", softmax},
      {"sqrt", unary<kSqrt>},
      {"square", square},
      {"sub", binary<kSub>},
      {"tanh", unary<kTanh>},
      {"var", variance},
  };
  return all;
}

} // namespace barlow::onnx
