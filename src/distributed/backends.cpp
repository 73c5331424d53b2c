// SPDX-License-Identifier: Apache-2.0
#include "peers.h"

#include <cstdlib>

#ifdef BARLOW_HAS_GLOO
#define USE_C10D_GLOO // what LibTorch's header asks for
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef BARLOW_HAS_NCCL
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "../check.h"

namespace barlow {
namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
}

} // namespace

#ifdef BARLOW_HAS_GLOO

// As torch's Python: GLOO_SOCKET_IFNAME names the network to use.
c10::intrusive_ptr<c10d::Backend> gloo_backend(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ProcessGroupOptions& options) {
  using c10d::ProcessGroupGloo;
  auto gloo = ProcessGroupGloo::Options::create(milliseconds(options.connect_timeout));
  gloo->threads = 1; // operations come one after the other; with more threads they take two to four times as long
  const char* network = std::getenv("GLOO_SOCKET_IFNAME");
  if (network != nullptr && *network != '\0') {
    gloo->devices.push_back(ProcessGroupGloo::createDeviceForInterface(network));
  } else if (options.local_size == options.size) {
    gloo->devices.push_back(ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  } else {
    gloo->devices.push_back(ProcessGroupGloo::createDefaultDevice());
  }
  auto backend = c10::make_intrusive<ProcessGroupGloo>(
      store, static_cast<int>(options.rank), static_cast<int>(options.size), gloo);
  backend->setTimeout(milliseconds(options.timeout));
  return backend;
}

#else

c10::intrusive_ptr<c10d::Backend> gloo_backend(const c10::intrusive_ptr<c10d::Store>&, const ProcessGroupOptions&) {
  throw Error(
      "[ProcessGroup] several processes need a library built with Gloo's headers (Debian: libgloo-dev), which this "
      "one was not");
}

#endif

#ifdef BARLOW_HAS_NCCL

bool has_nccl() {
  return true;
}

c10::intrusive_ptr<c10d::Backend> nccl_backend(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ProcessGroupOptions& options,
    const at::Device& device) {
  ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0); // or it ends the process before Watch says why
  auto nccl = c10d::ProcessGroupNCCL::Options::create();
  nccl->timeout = milliseconds(options.timeout);
  auto backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      store, static_cast<int>(options.rank), static_cast<int>(options.size), nccl);
  backend->setBoundDeviceId(device);
  return backend;
}

#else

bool has_nccl() {
  return false;
}

c10::intrusive_ptr<c10d::Backend>
nccl_backend(const c10::intrusive_ptr<c10d::Store>&, const ProcessGroupOptions&, const at::Device&) {
  throw Error("[ProcessGroup] this library was built without NCCL");
}

#endif

} // namespace barlow
