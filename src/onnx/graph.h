// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/weights.h>

namespace barlow::onnx {

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>>;
using Attributes = std::vector<std::pair<std::string, Attribute>>;

struct Dim { ///< a number, or a name for one that is free
  int64_t size = 0;
  std::string name{};
};

/// An ONNX model under way: nodes in the order they are computed.
class Graph {
 public:
  explicit Graph(NamedTensors names) : names_(std::move(names)) {} ///< what stored tensors are called

  void input(const std::string& name, const std::vector<Dim>& shape);
  void output(const std::string& name, const std::string& value, const std::vector<Dim>& shape);

  /// A new node; the name of its output, or of the first of `outputs`, which are numbered "NAME.1" and so on.
  std::string node(
      const std::string& op,
      const std::vector<std::string>& inputs,
      const Attributes& attributes = {},
      size_t outputs = 1);

  std::string tensor(const at::Tensor& value); ///< stored; one that was stored before is the same
  std::string integers(const std::vector<int64_t>& values);
  std::string scalar(double value); ///< float32 []

  /// The protocol buffer. Throws Error beyond 2 GB, the format's limit.
  std::string serialise(const std::string& name, int64_t opset, const std::map<std::string, std::string>& metadata)
      const;

 private:
  struct Node {
    std::string op, name;
    std::vector<std::string> inputs;
    Attributes attributes;
    size_t outputs;
  };
  struct Port {
    std::string name;
    std::vector<Dim> shape;
  };
  NamedTensors names_;
  std::vector<Port> inputs_, outputs_;
  std::vector<Node> nodes_;
  NamedTensors tensors_;
  std::map<std::vector<int64_t>, std::string> integers_;
  std::map<double, std::string> scalars_;
};

} // namespace barlow::onnx
