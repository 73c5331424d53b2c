// SPDX-License-Identifier: Apache-2.0
#include "batch_upload.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

namespace barlow {

BatchUpload::BatchUpload(const at::Device& device) : device_(device) {
  if (!device.is_cpu()) {
    stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, /*isHighPriority=*/false);
  }
}

void BatchUpload::move(Batch& batch) const {
  std::vector<at::Tensor*> of_host;
  const auto add = [&](at::Tensor& x) {
    if (x.defined() && x.is_cpu() && stream_) {
      of_host.push_back(&x);
    } else if (x.defined()) {
      x = x.to(device_);
    }
  };
  add(batch.x);
  add(batch.y);
  std::for_each(batch.views.begin(), batch.views.end(), add);
  if (of_host.empty()) {
    return;
  }
  const c10::impl::VirtualGuardImpl device(device_.type());
  const auto computing = device.getStream(device_);
  c10::Event copied(device_.type());
  {
    const c10::StreamGuard copying(*stream_);
    for (auto* x : of_host) {
      *x = x->to(device_, /*non_blocking=*/true);
    }
    copied.record(*stream_);
  }
  copied.block(computing);
  for (const auto* x : of_host) { // its memory is free again when `computing` has read it
    device.recordDataPtrOnStream(x->storage().data_ptr(), computing);
  }
}

} // namespace barlow
