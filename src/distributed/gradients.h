// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/distributed.h>

namespace c10d {
class Reducer;
}

namespace barlow {

/// The sum of the parameters' gradients over the processes, each of which has its rows' share of one loss. Where the
/// graph of the first step shows every parameter, buckets of gradients are summed while the backward pass goes on
/// (c10d::Reducer); where some are unused, or hidden as by gradient checkpointing, after it. All processes have to use
/// the same parameters in a step. In a group of one it does nothing.
class GradientSum {
 public:
  GradientSum(ProcessGroup group, std::vector<at::Tensor> parameters);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  /// Calls `backward`, the last backward pass of the step, which starts from `loss`. `whole`: it is also the only one.
  template <class Backward>
  void run(const at::Tensor& loss, bool whole, Backward backward) {
    if (group_.size() == 1) {
      backward();
      return;
    }
    const bool overlapped = begin(loss, whole);
    blamed([&] { backward(); });
    overlapped ? finish() : sum_all();
  }

 private:
  bool begin(const at::Tensor& loss, bool whole);
  void finish();
  void sum_all();
  void sum_bucket(const std::vector<size_t>& bucket, const int64_t* is_used);
  void blamed(const std::function<void()>& body);
  void make_reducer();

  ProcessGroup group_;
  std::vector<at::Tensor> parameters_;
  std::vector<bool> seen_; // of the parameters, in the first step's graph
  enum class Mode { Undecided, Overlapped, Afterwards } mode_ = Mode::Undecided;
  int64_t started_ = 0; // buckets of this step
  int64_t steps_ = 0; // of all the Reducers
  std::unique_ptr<c10d::Reducer> reducer_;
};

} // namespace barlow
