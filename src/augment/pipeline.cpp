// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/pipeline.h>

#include <algorithm>

#include <torch/torch.h>

#include <barlow/augment/random_transforms.h>

#include "../check.h"
#include "stage.h"

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

Pipeline Pipeline::compose(const std::vector<Pipeline>& pipelines) {
  check(!pipelines.empty(), "Pipeline::compose", "there must be at least one pipeline");
  Pipeline all({}, pipelines[0].split_idx());
  for (const auto& p : pipelines) {
    all.transforms_.insert(all.transforms_.end(), p.transforms_.begin(), p.transforms_.end());
  }
  return all;
}

namespace {

constexpr auto kHere = "Pipeline";

void check_batch(const Tensor& x) {
  check(x.defined() && x.dim() == 4, kHere, "images must be [N,C,H,W], received {}", describe(x));
  check(x.numel() > 0 && !x.is_meta(), kHere, "the batch must have pixels, received {}", describe(x));
  check(
      x.is_floating_point() || x.scalar_type() == torch::kByte,
      kHere,
      "images must be floating or uint8, received {}; convert them first",
      describe(x));
}

} // namespace

// A row of fusable transforms is written down on meta tensors of x's sizes, then run at once.
template <class Draw>
Tensor Pipeline::run(const Tensor& x, size_t skip, const Draw& draw) const {
  check_batch(x);
  const torch::NoGradGuard no_grad;
  const auto type = x.is_floating_point() ? x.scalar_type() : torch::kFloat;
  Tensor view = x;
  for (size_t t = skip; t < transforms_.size();) {
    if (!transforms_[t]->fusable()) {
      view = view.is_floating_point() ? view : run_stages(view, {}, kHere);
      view = transforms_[t]->apply(view, draw(t, view.size(2), view.size(3)));
      check(
          view.dim() == 4 && view.size(0) == x.size(0) && view.numel() > 0 && view.is_floating_point() &&
              !view.is_meta(),
          kHere,
          "the transform {} must give floating [{},C,H,W], gave {}",
          transforms_[t]->name(),
          x.size(0),
          describe(view));
      ++t;
      continue;
    }
    StageRecorder recorder;
    auto shape = at::empty(view.sizes(), at::device(at::kMeta).dtype(type));
    for (; t < transforms_.size() && transforms_[t]->fusable(); ++t) {
      shape = transforms_[t]->apply(shape, draw(t, shape.size(2), shape.size(3)));
    }
    view = run_stages(view, recorder.stages, kHere);
  }
  return view.is_floating_point() ? view : run_stages(view, {}, kHere);
}

std::pair<Tensor, Pipeline::Drawn> Pipeline::apply_and_draw(const Tensor& x, const ViewKeys& keys, size_t skip) const {
  check_batch(x);
  check(
      keys.index.size() == static_cast<size_t>(x.size(0)),
      kHere,
      "there must be one key a sample, received {} for {}",
      keys.index.size(),
      describe(x));
  check(skip <= transforms_.size(), kHere, "there are {} transforms to skip, received {}", transforms_.size(), skip);
  Drawn drawn(transforms_.size());
  const auto view = run(x, skip, [&](size_t t, int64_t height, int64_t width) -> const auto& {
    const auto& transform = *transforms_[t];
    const auto draw_for = [&](int64_t index) {
      KeyedRandom random(keys.seed, keys.epoch, index, keys.view, static_cast<int64_t>(t));
      return transform.draw(random, height, width);
    };
    if (transform.same_on_batch()) {
      drawn[t].assign(keys.index.size(), draw_for(keys.first.value_or(keys.index[0])));
    } else {
      std::transform(keys.index.begin(), keys.index.end(), std::back_inserter(drawn[t]), draw_for);
    }
    return drawn[t];
  });
  return {view, drawn};
}

Tensor Pipeline::operator()(const Tensor& x, const ViewKeys& keys, size_t skip) const {
  return apply_and_draw(x, keys, skip).first;
}

size_t Pipeline::leading_crop() const {
  if (transforms_.empty() || dynamic_cast<const RandomResizedCrop*>(transforms_[0].get()) == nullptr) {
    return 0;
  }
  const bool mirrors =
      transforms_.size() > 1 && dynamic_cast<const RandomHorizontalFlip*>(transforms_[1].get()) != nullptr;
  return mirrors ? 2 : 1;
}

Tensor Pipeline::replay(const Tensor& x, const Drawn& drawn) const {
  check_batch(x);
  check(
      drawn.size() == transforms_.size(),
      kHere,
      "parameters must be those of {} transforms, received {}",
      transforms_.size(),
      drawn.size());
  for (size_t t = 0; t < drawn.size(); ++t) {
    check(
        drawn[t].size() == static_cast<size_t>(x.size(0)),
        kHere,
        "{} needs parameters for {} samples, received {}",
        transforms_[t]->name(),
        x.size(0),
        drawn[t].size());
  }
  return run(x, 0, [&](size_t t, int64_t, int64_t) -> const auto& { return drawn[t]; });
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
