// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/pipeline.h>

#include <algorithm>

#include <torch/torch.h>

#include "../check.h"

namespace barlow {

using torch::Tensor;

std::vector<double> Transform::draw(KeyedRandom&, int64_t, int64_t) const {
  return {};
}

Tensor Transform::decode(const Tensor& x) const {
  return x;
}

Pipeline::Pipeline(std::vector<TransformPtr> transforms, int split_idx)
    : transforms_(std::move(transforms)), split_idx_(split_idx) {
  for (const auto& t : transforms_) {
    check(t != nullptr, "Pipeline", "a transform must not be an empty pointer");
  }
  std::stable_sort(
      transforms_.begin(), transforms_.end(), [](const auto& a, const auto& b) { return a->order() < b->order(); });
}

std::pair<Tensor, Pipeline::Drawn> Pipeline::apply_and_draw(const Tensor& x, const ViewKeys& keys) const {
  check(x.defined() && x.dim() == 4, "Pipeline", "images must be [N,C,H,W], received {}", describe(x));
  check(
      keys.index.size() == static_cast<size_t>(x.size(0)),
      "Pipeline",
      "there must be one key a sample, received {} for {}",
      keys.index.size(),
      describe(x));
  const torch::NoGradGuard no_grad;
  Tensor view = x;
  Drawn drawn(transforms_.size());
  for (size_t t = 0; t < transforms_.size(); ++t) {
    for (const auto index : keys.index) {
      KeyedRandom random(keys.seed, keys.epoch, index, keys.view, static_cast<int64_t>(t));
      drawn[t].push_back(transforms_[t]->draw(random, view.size(2), view.size(3)));
    }
    view = transforms_[t]->apply(view, drawn[t]);
  }
  return {view, drawn};
}

Tensor Pipeline::operator()(const Tensor& x, const ViewKeys& keys) const {
  return apply_and_draw(x, keys).first;
}

Tensor Pipeline::replay(const Tensor& x, const Drawn& drawn) const {
  check(x.defined() && x.dim() == 4, "Pipeline", "images must be [N,C,H,W], received {}", describe(x));
  check(
      drawn.size() == transforms_.size(),
      "Pipeline",
      "parameters must be those of {} transforms, received {}",
      transforms_.size(),
      drawn.size());
  const torch::NoGradGuard no_grad;
  Tensor view = x;
  for (size_t t = 0; t < transforms_.size(); ++t) {
    check(
        drawn[t].size() == static_cast<size_t>(x.size(0)),
        "Pipeline",
        "{} needs parameters for {} samples, received {}",
        transforms_[t]->name(),
        x.size(0),
        drawn[t].size());
    view = transforms_[t]->apply(view, drawn[t]);
  }
  return view;
}

Tensor Pipeline::decode(Tensor x) const {
  for (auto t = transforms_.rbegin(); t != transforms_.rend(); ++t) {
    x = (*t)->decode(x);
  }
  return x;
}

std::ostream& operator<<(std::ostream& out, const Pipeline& pipeline) {
  out << "Pipeline: ";
  for (size_t t = 0; t < pipeline.transforms().size(); ++t) {
    out << (t == 0 ? "" : " -> ") << pipeline.transforms()[t]->name();
  }
  return out;
}

} // namespace barlow
