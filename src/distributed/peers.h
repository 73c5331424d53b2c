// SPDX-License-Identifier: Apache-2.0
// What a process group is made of, where LibTorch has c10d.
#pragma once

#include <atomic>
#include <functional>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <barlow/distributed.h>

#include "watch.h"

namespace barlow {

class ProcessGroup::Peers {
 public:
  explicit Peers(const ProcessGroupOptions& of_group);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  /// Waits for an operation on tensors of this device; counts its bytes.
  void run(
      const char* operation,
      const std::vector<at::Tensor>& tensors,
      const std::function<c10::intrusive_ptr<c10d::Work>(std::vector<at::Tensor>&)>& start);

  /// The sum of x over the processes, in place, not waited for. On the CPU other operations do not queue behind it.
  Watch::FuturePtr start_sum_of_gradients(const at::Tensor& x);

  /// Calls `body`, in which others may be waited for; an error that the death of a process explains is thrown as that.
  template <class Body>
  void blame(const char* operation, const Body& body) {
    try {
      body();
    } catch (const ProcessGroupError&) {
      throw;
    } catch (const std::exception& e) {
      if (watch_->failed()) {
        watch_->explain(operation, e.what());
      }
      throw;
    }
  }

  c10::intrusive_ptr<c10d::ProcessGroup> group() const {
    return group_;
  }
  c10::intrusive_ptr<c10d::ProcessGroup> group_of_gradients() const {
    return gradients_;
  }
  Traffic traffic() const {
    return {operations_, bytes_};
  }

  const ProcessGroupOptions options;
  const at::Device device; ///< of this process

 private:
  void count(const std::vector<at::Tensor>& tensors);

  c10::intrusive_ptr<c10d::Store> store_; // rank 0 keeps it
  c10::intrusive_ptr<c10d::Backend> nccl_; // on GPUs
  c10::intrusive_ptr<c10d::ProcessGroup> group_, gradients_;
  std::unique_ptr<Watch> watch_;
  std::atomic<int64_t> operations_ = 0, bytes_ = 0;
};

// The backends that this library was built with.
c10::intrusive_ptr<c10d::Backend> gloo_backend(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ProcessGroupOptions& options);
c10::intrusive_ptr<c10d::Backend> nccl_backend(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ProcessGroupOptions& options,
    const at::Device& device);
bool has_nccl();

} // namespace barlow
