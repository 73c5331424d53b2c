// SPDX-License-Identifier: Apache-2.0
#include "onnx/call.h"

#include <torch/torch.h>

#include <barlow/error.h>

#include "check.h"

namespace barlow::onnx {

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

} // namespace barlow::onnx
