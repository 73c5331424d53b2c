// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <unordered_map>

#include <fmt/ranges.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/torch.h>

#include <barlow/nn.h>
#include <barlow/onnx.h>

#include "check.h"
#include "evaluating.h"
#include "file.h"
#include "onnx/operators.h"

namespace barlow {
namespace {

namespace jit = torch::jit;
using onnx::Held;
using onnx::Known;
using onnx::Shape;
using torch::Tensor;

constexpr auto kHere = "export_onnx";
constexpr std::array<int64_t, 2> kBatches{2, 3};

// What LibTorch's tracer writes down of the network: its graph from the images and the parameters to the features.
std::shared_ptr<jit::Graph> record(EncoderImpl& encoder, const NamedTensors& parameters, const Tensor& images) {
  jit::Stack inputs{images};
  for (const auto& [name, tensor] : parameters) {
    inputs.emplace_back(tensor);
  }
  const auto run = [&](const jit::Stack& given) {
    const auto features = encoder.forward(given[0].toTensor());
    check(
        features.dim() == 2 && features.size(1) == encoder.num_features(),
        kHere,
        "'{}' must give features [N,{}], gave {}",
        encoder.info().name,
        encoder.num_features(),
        describe(features));
    return jit::Stack{features};
  };
  const auto unnamed = [](const Tensor&) { return std::string(); };
  return jit::tracer::trace(inputs, run, unnamed, /*strict=*/false).first->graph;
}

// Goes through the two recordings side by side: what does not depend on the images is computed, the rest becomes nodes.
class Conversion {
 public:
  Conversion(onnx::Graph& graph, const NamedTensors& parameters) : graph_(graph), parameters_(parameters) {}

  onnx::Computed run(const jit::Graph& first, const jit::Graph& second) {
    held_[first.inputs()[0]] = onnx::Computed("images");
    pair_[first.inputs()[0]] = second.inputs()[0];
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const auto& tensor = parameters_[i].second;
      hold(first.inputs()[i + 1], second.inputs()[i + 1], Known{tensor, tensor});
    }
    auto other = second.nodes().begin();
    bool same = true;
    for (const auto* node : first.nodes()) {
      same = other != second.nodes().end() && node->kind() == other->kind() &&
          node->outputs().size() == other->outputs().size();
      if (!same) {
        break;
      }
      visit(*node, **other);
      ++other;
    }
    check(
        same && other == second.nodes().end(),
        kHere,
        "the network does other things for a batch of {} than of {}; received one that looks at the batch's size",
        kBatches[0],
        kBatches[1]);
    const auto* features = first.outputs()[0];
    const auto* name = std::get_if<onnx::Computed>(&held_.at(features));
    check(name != nullptr, kHere, "the network's output must depend on the images, received one that does not");
    const auto rows = shape(features).at(0);
    check(
        rows.first == kBatches[0] && rows.second == kBatches[1],
        kHere,
        "the network must give one row an image, gave {} for {} images",
        rows.first,
        kBatches[0]);
    return *name;
  }

  Shape shape(const jit::Value* value) const {
    const auto first = value->type()->cast<c10::TensorType>();
    const auto second = pair_.at(value)->type()->cast<c10::TensorType>();
    Shape extents;
    if (first == nullptr || second == nullptr) {
      return extents;
    }
    const auto a = first->sizes().concrete_sizes(), b = second->sizes().concrete_sizes();
    for (size_t i = 0; a && b && i < a->size(); ++i) {
      extents.push_back({(*a)[i], b->at(i)});
    }
    return extents;
  }

 private:
  void hold(const jit::Value* first, const jit::Value* second, Held held) {
    held_[first] = std::move(held);
    pair_[first] = second;
  }

  void visit(const jit::Node& node, const jit::Node& other) {
    for (size_t i = 0; i < node.outputs().size(); ++i) {
      pair_[node.outputs()[i]] = other.outputs()[i];
    }
    if (node.kind() == c10::prim::Constant) {
      const auto first = *jit::toIValue(node.output()), second = *jit::toIValue(other.output());
      held_[node.output()] = Known{first, second, first.isInt() && first.toInt() != second.toInt()};
    } else if (node.kind() == c10::prim::ListConstruct) {
      list(node);
    } else if (node.kind() == c10::prim::ListUnpack) {
      unlist(node);
    } else if (std::all_of(node.inputs().begin(), node.inputs().end(), [&](const jit::Value* v) { return fixed(v); })) {
      compute(node);
    } else {
      convert(node);
    }
  }

  const Known* known(const jit::Value* value) const {
    return std::get_if<Known>(&held_.at(value));
  }
  bool fixed(const jit::Value* value) const { // the same whatever the images
    const auto* k = known(value);
    return k != nullptr && !k->varies;
  }

  void list(const jit::Node& node) {
    const auto type = node.output()->type()->expectRef<c10::ListType>().getElementType();
    c10::impl::GenericList first(type), second(type);
    bool varies = false;
    std::vector<onnx::Computed> names;
    const bool all_known = std::all_of(
        node.inputs().begin(), node.inputs().end(), [&](const jit::Value* v) { return known(v) != nullptr; });
    for (const auto* item : node.inputs()) {
      if (!all_known) {
        names.push_back(onnx::Call(graph_, "a list", {&held_.at(item)}, {}, {}).tensor(0));
        continue;
      }
      const auto& k = *known(item);
      first.push_back(k.first);
      second.push_back(k.second);
      varies = varies || k.varies;
    }
    held_[node.output()] = all_known ? Held(Known{first, second, varies}) : Held(names);
  }

  void unlist(const jit::Node& node) {
    const auto& whole = held_.at(node.input());
    for (size_t i = 0; i < node.outputs().size(); ++i) {
      if (const auto* names = std::get_if<std::vector<onnx::Computed>>(&whole)) {
        held_[node.outputs()[i]] = names->at(i);
      } else {
        const auto& k = std::get<Known>(whole);
        held_[node.outputs()[i]] = Known{k.first.toListRef()[i], k.second.toListRef()[i], k.varies};
      }
    }
  }

  void compute(const jit::Node& node) {
    jit::Stack stack;
    for (const auto* input : node.inputs()) {
      stack.push_back(known(input)->first);
    }
    node.getOperation()(stack);
    for (size_t i = 0; i < node.outputs().size(); ++i) {
      held_[node.outputs()[i]] = Known{stack.at(i), stack.at(i)};
    }
  }

  void convert(const jit::Node& node) {
    std::vector<const Held*> arguments;
    std::vector<Shape> shapes, results;
    for (const auto* input : node.inputs()) {
      arguments.push_back(&held_.at(input));
      shapes.push_back(shape(input));
    }
    for (const auto* output : node.outputs()) {
      results.push_back(shape(output));
    }
    held_[node.outputs()[0]] = onnx::convert(
        onnx::Call(graph_, node.kind().toUnqualString(), std::move(arguments), std::move(shapes), std::move(results)));
  }

  onnx::Graph& graph_;
  const NamedTensors& parameters_;
  std::unordered_map<const jit::Value*, Held> held_; // by the values of the first recording
  std::unordered_map<const jit::Value*, const jit::Value*> pair_; // of the second
};

} // namespace

void export_onnx(Encoder encoder, const std::filesystem::path& file, const OnnxOptions& options) {
  check(!encoder.is_empty(), kHere, "encoder must not be empty");
  const auto& info = encoder->info();
  const int64_t size = options.size != 0 ? options.size : info.input_size;
  check(size > 0, kHere, "size must be positive, or 0 for the encoder's own, received {}", size);
  const torch::NoGradGuard no_grad;
  const Evaluating evaluating(*encoder);
  const auto parameters = state_dict(*encoder);
  for (const auto& [name, tensor] : parameters) {
    check(
        (!tensor.is_floating_point() || tensor.scalar_type() == torch::kFloat) && !tensor.is_meta(),
        kHere,
        "parameters must be float32, with data, received {} for '{}'; encoder->to(torch::kFloat) makes them so",
        describe(tensor),
        name);
  }
  const auto device = parameters.empty() ? at::Device(at::kCPU) : parameters[0].second.device();
  const auto images = [&](int64_t n) { return torch::rand({n, info.n_in, size, size}, device); };
  const auto first = record(*encoder, parameters, images(kBatches[0]));
  const auto second = record(*encoder, parameters, images(kBatches[1]));

  onnx::Graph graph(parameters);
  graph.input("images", {{0, "batch"}, {info.n_in}, {size}, {size}});
  graph.output("features", Conversion(graph, parameters).run(*first, *second), {{0, "batch"}, {info.num_features}});
  auto metadata = options.metadata;
  metadata.emplace("name", info.name);
  if (static_cast<int64_t>(info.mean.size()) == info.n_in) {
    metadata.emplace("mean", fmt::format("{}", fmt::join(info.mean, " ")));
    metadata.emplace("std", fmt::format("{}", fmt::join(info.std, " ")));
  }
  write_file(file, {graph.serialise(info.name, kOnnxOpset, metadata)}, kHere);
}

} // namespace barlow
