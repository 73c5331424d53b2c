// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <ATen/core/ivalue.h>

#include "onnx/graph.h"

namespace barlow::onnx {

/// A size at the two batches that were recorded, 2 and 3 images.
struct Extent {
  int64_t first = 0, second = 0;

  bool varies() const { ///< with the batch
    return first != second;
  }
};
using Shape = std::vector<Extent>;

/// A value that does not depend on the images, as it was at the two batches.
struct Known {
  c10::IValue first, second;
  bool varies = false; ///< the two differ
};
using Computed = std::string; ///< the name of a node's output
using Held = std::variant<Known, Computed, std::vector<Computed>>;

/// One recorded call of an ATen operator, to be said in ONNX.
class Call {
 public:
  Call(
      Graph& g,
      std::string name,
      std::vector<const Held*> arguments,
      std::vector<Shape> shapes,
      std::vector<Shape> results)
      : graph(g),
        name_(std::move(name)),
        arguments_(std::move(arguments)),
        shapes_(std::move(shapes)),
        results_(std::move(results)) {}

  Graph& graph;

  size_t size() const {
    return arguments_.size();
  }
  const std::string& name() const {
    return name_;
  }
  bool none(size_t i) const; ///< left out or None
  /// The values of arguments that do not vary. They throw Error if one does or depends on the images.
  const c10::IValue& value(size_t i) const;
  int64_t integer(size_t i) const;
  double real(size_t i) const;
  bool flag(size_t i) const;
  std::vector<int64_t> integers(size_t i) const;
  std::vector<Extent> extents(size_t i) const; ///< a list of integers that may vary

  Computed tensor(size_t i) const; ///< a tensor or a number, whether computed or stored
  std::vector<Computed> tensors(size_t i) const;
  const Shape& shape(size_t i) const { ///< of a tensor
    return shapes_.at(i);
  }
  int64_t dim(size_t i, size_t tensor = 0) const; ///< argument i as an axis of the tensor, counted from the front
  std::vector<int64_t> dims(size_t i) const; ///< the same of a list
  const Shape& result() const {
    return results_.at(0);
  }
  const std::vector<Shape>& results() const {
    return results_;
  }
  [[noreturn]] void refuse(const std::string& why) const;

 private:
  const Known& known(size_t i) const;

  std::string name_;
  std::vector<const Held*> arguments_;
  std::vector<Shape> shapes_, results_;
};

} // namespace barlow::onnx
