// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "onnx/call.h"

// Source of the operators: onnx 1.17, docs/Operators.md at opset 17.

namespace barlow::onnx {

/// The call in ONNX. Throws Error if there is no way.
Held convert(const Call& call);

using Converter = Held (*)(const Call&);
using Converters = std::map<std::string, Converter>; ///< by the name of ATen's operator

const Converters& arithmetic(); ///< element by element, matrix products, reductions
const Converters& layers(); ///< convolution, norms, attention, pooling
const Converters& shapes(); ///< the same values in another order or shape

// --- parts that they share

using Ints = std::vector<int64_t>;
constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

Computed slice(Graph& g, const Computed& x, int64_t dim, int64_t begin, int64_t end, int64_t step = 1);
Computed times(Graph& g, const Computed& x, double factor);
/// A shape whose extents may vary, as a tensor of integers: each that does is a multiple of the batch.
Computed shape_tensor(const Call& c, const std::vector<Extent>& extents);

} // namespace barlow::onnx
