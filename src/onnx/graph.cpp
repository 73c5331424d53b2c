// SPDX-License-Identifier: Apache-2.0
#include "onnx/graph.h"

#include <limits>

#include <torch/torch.h>
#include <protozero/pbf_builder.hpp>

#include "check.h"

// Source of the messages and their numbers: onnx 1.17, onnx/onnx.proto (IR version 8).

namespace barlow::onnx {
namespace {

using protozero::pbf_builder;

enum class Model : protozero::pbf_tag_type {
  IrVersion = 1,
  ProducerName = 2,
  ProducerVersion = 3,
  Graph = 7,
  OpsetImport = 8,
  MetadataProps = 14
};
enum class Opset : protozero::pbf_tag_type { Domain = 1, Version = 2 };
enum class Entry : protozero::pbf_tag_type { Key = 1, Value = 2 };
enum class GraphTag : protozero::pbf_tag_type { Node = 1, Name = 2, Initializer = 5, Input = 11, Output = 12 };
enum class NodeTag : protozero::pbf_tag_type { Input = 1, Output = 2, Name = 3, OpType = 4, Attribute = 5 };
enum class AttributeTag : protozero::pbf_tag_type { Name = 1, F = 2, I = 3, S = 4, Ints = 8, Type = 20 };
enum class AttributeType : int32_t { Float = 1, Int = 2, String = 3, Ints = 7 };
enum class TensorTag : protozero::pbf_tag_type { Dims = 1, DataType = 2, Name = 8, RawData = 9 };
enum class DataType : int32_t { Float = 1, Int64 = 7, Bool = 9, Double = 11 };
enum class ValueInfo : protozero::pbf_tag_type { Name = 1, Type = 2 };
enum class TypeTag : protozero::pbf_tag_type { TensorType = 1 };
enum class TensorTypeTag : protozero::pbf_tag_type { ElemType = 1, Shape = 2 };
enum class ShapeTag : protozero::pbf_tag_type { Dim = 1 };
enum class DimTag : protozero::pbf_tag_type { Value = 1, Param = 2 };

DataType data_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DataType::Float;
    case at::kLong:
      return DataType::Int64;
    case at::kBool:
      return DataType::Bool;
    case at::kDouble:
      return DataType::Double;
    default:
      throw Error(fmt::format("[export_onnx] {} cannot be stored; use float32", describe(tensor)));
  }
}

void write(pbf_builder<AttributeTag> out, const std::string& name, const Attribute& value) {
  out.add_string(AttributeTag::Name, name);
  const auto typed = [&](AttributeType type) { out.add_enum(AttributeTag::Type, static_cast<int32_t>(type)); };
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    out.add_int64(AttributeTag::I, *integer);
    typed(AttributeType::Int);
  } else if (const auto* real = std::get_if<double>(&value)) {
    out.add_float(AttributeTag::F, static_cast<float>(*real));
    typed(AttributeType::Float);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    out.add_bytes(AttributeTag::S, *text);
    typed(AttributeType::String);
  } else {
    for (const auto item : std::get<std::vector<int64_t>>(value)) {
      out.add_int64(AttributeTag::Ints, item);
    }
    typed(AttributeType::Ints);
  }
}

void write(pbf_builder<TensorTag> out, const std::string& name, const at::Tensor& tensor) {
  for (const auto size : tensor.sizes()) {
    out.add_int64(TensorTag::Dims, size);
  }
  out.add_enum(TensorTag::DataType, static_cast<int32_t>(data_type(tensor)));
  out.add_string(TensorTag::Name, name);
  const auto plain = tensor.detach().to(at::kCPU).contiguous();
  out.add_bytes(TensorTag::RawData, static_cast<const char*>(plain.const_data_ptr()), plain.nbytes());
}

void write(pbf_builder<ValueInfo> out, const std::string& name, const std::vector<Dim>& shape) {
  out.add_string(ValueInfo::Name, name);
  pbf_builder<TypeTag> type(out, ValueInfo::Type);
  pbf_builder<TensorTypeTag> tensor(type, TypeTag::TensorType);
  tensor.add_enum(TensorTypeTag::ElemType, static_cast<int32_t>(DataType::Float));
  pbf_builder<ShapeTag> dims(tensor, TensorTypeTag::Shape);
  for (const auto& d : shape) {
    pbf_builder<DimTag> dim(dims, ShapeTag::Dim);
    if (d.name.empty()) {
      dim.add_int64(DimTag::Value, d.size);
    } else {
      dim.add_string(DimTag::Param, d.name);
    }
  }
}

std::string numbered(const std::string& name, size_t i) {
  return i == 0 ? name : fmt::format("{}.{}", name, i);
}

} // namespace

void Graph::input(const std::string& name, const std::vector<Dim>& shape) {
  inputs_.push_back({name, shape});
}

void Graph::output(const std::string& name, const std::string& value, const std::vector<Dim>& shape) {
  nodes_.push_back({"Identity", name, {value}, {}, 1});
  outputs_.push_back({name, shape});
}

std::string Graph::node(
    const std::string& op,
    const std::vector<std::string>& inputs,
    const Attributes& attributes,
    size_t outputs) {
  const auto name = fmt::format("{}_{}", op, nodes_.size());
  nodes_.push_back({op, name, inputs, attributes, outputs});
  return name;
}

std::string Graph::tensor(const at::Tensor& value) {
  const auto same = [&](const auto& named) { return named.second.is_same(value); };
  if (const auto stored = std::find_if(tensors_.begin(), tensors_.end(), same); stored != tensors_.end()) {
    return stored->first;
  }
  const auto named = std::find_if(names_.begin(), names_.end(), same);
  tensors_.emplace_back(named != names_.end() ? named->first : fmt::format("constant_{}", tensors_.size()), value);
  return tensors_.back().first;
}

std::string Graph::integers(const std::vector<int64_t>& values) {
  auto& name = integers_[values];
  if (name.empty()) {
    name = tensor(torch::tensor(values, torch::kLong));
  }
  return name;
}

std::string Graph::scalar(double value) {
  auto& name = scalars_[value];
  if (name.empty()) {
    name = tensor(torch::tensor(static_cast<float>(value)));
  }
  return name;
}

std::string Graph::serialise(const std::string& name, int64_t opset, const std::map<std::string, std::string>& metadata)
    const {
  constexpr int64_t kIrVersion = 8;
  size_t size = 0;
  for (const auto& [tensor_name, tensor] : tensors_) {
    size += tensor.nbytes();
  }
  constexpr size_t kLimit = std::numeric_limits<int32_t>::max();
  constexpr size_t kForTheRest = 1 << 24;
  check(size < kLimit - kForTheRest, "export_onnx", "an ONNX file holds at most 2 GB, received {} of weights", size);

  std::string bytes;
  bytes.reserve(size + kForTheRest);
  pbf_builder<Model> model(bytes);
  model.add_int64(Model::IrVersion, kIrVersion);
  model.add_string(Model::ProducerName, "barlow");
  model.add_string(Model::ProducerVersion, BARLOW_VERSION);
  {
    pbf_builder<GraphTag> graph(model, Model::Graph);
    for (const auto& n : nodes_) {
      pbf_builder<NodeTag> out(graph, GraphTag::Node);
      for (const auto& input : n.inputs) {
        out.add_string(NodeTag::Input, input);
      }
      for (size_t i = 0; i < n.outputs; ++i) {
        out.add_string(NodeTag::Output, numbered(n.name, i));
      }
      out.add_string(NodeTag::Name, n.name);
      out.add_string(NodeTag::OpType, n.op);
      for (const auto& [key, value] : n.attributes) {
        write(pbf_builder<AttributeTag>(out, NodeTag::Attribute), key, value);
      }
    }
    graph.add_string(GraphTag::Name, name);
    for (const auto& [tensor_name, tensor] : tensors_) {
      write(pbf_builder<TensorTag>(graph, GraphTag::Initializer), tensor_name, tensor);
    }
    for (const auto& port : inputs_) {
      write(pbf_builder<ValueInfo>(graph, GraphTag::Input), port.name, port.shape);
    }
    for (const auto& port : outputs_) {
      write(pbf_builder<ValueInfo>(graph, GraphTag::Output), port.name, port.shape);
    }
  }
  {
    pbf_builder<Opset> import(model, Model::OpsetImport);
    import.add_string(Opset::Domain, "");
    import.add_int64(Opset::Version, opset);
  }
  for (const auto& [key, value] : metadata) {
    pbf_builder<Entry> entry(model, Model::MetadataProps);
    entry.add_string(Entry::Key, key);
    entry.add_string(Entry::Value, value);
  }
  return bytes;
}

} // namespace barlow::onnx
