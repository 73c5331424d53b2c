// SPDX-License-Identifier: Apache-2.0
#include "onnx/operators.h"

#include <array>

#include "check.h"

namespace barlow::onnx {

Computed slice(Graph& g, const Computed& x, int64_t dim, int64_t begin, int64_t end, int64_t step) {
  return g.node("Slice", {x, g.integers({begin}), g.integers({end}), g.integers({dim}), g.integers({step})});
}

Computed times(Graph& g, const Computed& x, double factor) {
  return factor == 1 ? x : g.node("Mul", {x, g.scalar(factor)});
}

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

Held convert(const Call& call) {
  auto name = call.name();
  if (!name.empty() && name.back() == '_') { // in place: the same value
    name.pop_back();
  }
  for (const auto* some : {&arithmetic(), &layers(), &shapes()}) {
    if (const auto found = some->find(name); found != some->end()) {
      return found->second(call);
    }
  }
  call.refuse("there is no counterpart here; see src/onnx/operators.h");
}

} // namespace barlow::onnx
