// SPDX-License-Identifier: Apache-2.0
#include "gradients.h"

#include <unordered_set>

#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "peers.h"

namespace barlow {
namespace {

using torch::Tensor;
constexpr auto kOperation = "sum of gradients";
constexpr int64_t kFirstBucket = int64_t{1} << 20, kBucket = int64_t{25} << 20; // bytes, c10d's

// c10d's own hooks make means; each process has its share of one sum.
class SumHook : public c10d::CppCommHookInterface<std::shared_ptr<ProcessGroup::Peers>> {
 public:
  SumHook(std::shared_ptr<ProcessGroup::Peers> peers, int64_t& started)
      : CppCommHookInterface(std::move(peers)), started_(started) {}
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    ++started_;
    return state_->start_sum_of_gradients(bucket.getBuffer());
  }

 private:
  int64_t& started_;
};

std::vector<std::vector<size_t>> buckets_of(const std::vector<Tensor>& parameters) {
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
      parameters, {static_cast<size_t>(kFirstBucket), static_cast<size_t>(kBucket)}));
  std::reverse(buckets.begin(), buckets.end()); // gradients come from the last layer first
  return buckets;
}

// The tensors whose gradients a backward pass from here accumulates, as far as the graph shows.
std::unordered_set<c10::TensorImpl*> leaves_of(const Tensor& loss) {
  std::unordered_set<c10::TensorImpl*> leaves;
  std::unordered_set<torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> next{loss.grad_fn().get()};
  while (!next.empty()) {
    auto* node = next.back();
    next.pop_back();
    if (node == nullptr || !seen.insert(node).second) {
      continue;
    }
    if (const auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) {
      leaves.insert(leaf->variable.unsafeGetTensorImpl());
    }
    for (const auto& edge : node->next_edges()) {
      next.push_back(edge.function.get());
    }
  }
  return leaves;
}

} // namespace

GradientSum::GradientSum(ProcessGroup group, std::vector<Tensor> parameters) : group_(std::move(group)) {
  std::copy_if(parameters.begin(), parameters.end(), std::back_inserter(parameters_), [](const Tensor& p) {
    return p.requires_grad();
  });
}

GradientSum::~GradientSum() = default;

void GradientSum::blamed(const std::function<void()>& body) {
  group_.peers()->blame(kOperation, body);
}

void GradientSum::make_reducer() {
  reducer_.reset();
  reducer_ = std::make_unique<c10d::Reducer>(
      parameters_,
      buckets_of(parameters_),
      group_.peers()->group_of_gradients(),
      std::vector<bool>(parameters_.size(), false),
      kBucket,
      /*find_unused_parameters=*/false,
      /*gradient_as_bucket_view=*/false,
      std::unordered_map<size_t, std::string>{},
      kFirstBucket,
      /*skip_all_reduce_unused_params=*/false,
      /*use_python_reducer=*/false,
      std::vector<int64_t>{});
  reducer_->register_comm_hook(std::make_unique<SumHook>(group_.peers(), started_));
}

// Laid out and summed as the Reducer's buckets are: a sum's last bits depend on where in the buffer a number stands.
void GradientSum::sum_bucket(const std::vector<size_t>& bucket, const int64_t* is_used) {
  int64_t size = 0;
  for (const auto i : bucket) {
    size += parameters_[i].numel();
  }
  const auto flat = torch::zeros({size}, parameters_[bucket[0]].options().requires_grad(false));
  std::vector<Tensor> parts;
  parts.reserve(bucket.size());
  int64_t at = 0;
  for (const auto i : bucket) {
    const auto& p = parameters_[i];
    parts.push_back(
        p.is_non_overlapping_and_dense() ? flat.as_strided(p.sizes(), p.strides(), at)
                                         : flat.narrow(0, at, p.numel()).view(p.sizes()));
    at += p.numel();
    if (p.grad().defined()) {
      parts.back().copy_(p.grad());
    }
  }
  blamed([&] { group_.peers()->start_sum_of_gradients(flat)->waitAndThrow(); });
  for (size_t k = 0; k < bucket.size(); ++k) {
    auto& grad = parameters_[bucket[k]].mutable_grad();
    if (grad.defined()) {
      grad.copy_(parts[k]);
    } else if (is_used[bucket[k]] > 0) {
      grad = parts[k].clone();
    }
  }
}

// The first step is summed afterwards; its graph tells whether the Reducer will do.
bool GradientSum::begin(const Tensor& loss, bool whole) {
  if (mode_ == Mode::Undecided && whole) {
    const auto leaves = leaves_of(loss);
    seen_.clear();
    for (const auto& p : parameters_) {
      seen_.push_back(leaves.contains(p.unsafeGetTensorImpl()));
    }
  }
  if (mode_ != Mode::Overlapped || !whole) {
    return false;
  }
  constexpr int64_t kLifetime = 1000; // steps: the Reducer notes the order of the gradients of all of them
  if (++steps_ % kLifetime == 0) {
    make_reducer();
  }
  started_ = 0;
  reducer_->prepare_for_backward({loss});
  return true;
}

// A parameter that had a gradient in the first step has none now: the Reducer has left all of them as they were.
void GradientSum::finish() {
  if (started_ < static_cast<int64_t>(buckets_of(parameters_).size())) {
    reducer_.reset();
    mode_ = Mode::Afterwards;
    sum_all();
  }
}

void GradientSum::sum_all() {
  if (mode_ == Mode::Undecided && !seen_.empty()) {
    const bool shown = std::all_of(seen_.begin(), seen_.end(), [](bool seen) { return seen; });
    mode_ = group_.all(shown) ? Mode::Overlapped : Mode::Afterwards;
  }
  const torch::NoGradGuard no_grad;
  // Parameters that no process used keep no gradient, as in a group of one.
  auto used = torch::zeros({static_cast<int64_t>(parameters_.size())}, torch::kLong);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    used[static_cast<int64_t>(i)] = parameters_[i].grad().defined() ? 1 : 0;
  }
  group_.sum(used);
  const auto* is_used = used.const_data_ptr<int64_t>();
  for (const auto& bucket : buckets_of(parameters_)) {
    sum_bucket(bucket, is_used);
  }
  if (mode_ == Mode::Overlapped && reducer_ == nullptr) {
    make_reducer();
  }
}

} // namespace barlow
