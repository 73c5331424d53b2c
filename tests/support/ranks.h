// SPDX-License-Identifier: Apache-2.0
// Process groups whose processes are threads of this one.
#pragma once

#include <cstdlib>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <torch/torch.h>

#include <barlow/distributed.h>

namespace barlow::testing {

/// A socket that listens on a port of its own, as another program's would.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_ANY);
    socklen_t length = sizeof any;
    auto* address = reinterpret_cast<sockaddr*>(&any);
    ok_ = ::bind(socket_, address, length) == 0 && ::listen(socket_, 1) == 0 &&
        ::getsockname(socket_, address, &length) == 0;
    port_ = ntohs(any.sin_port);
  }
  ~Listener() {
    ::close(socket_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  int64_t port() const {
    return ok_ ? port_ : -1;
  }

 private:
  int socket_;
  bool ok_ = false;
  int64_t port_ = 0;
};

inline int64_t free_port() {
  return Listener().port();
}

/// Calls body(options) in a thread for each process; throws what the first of them threw, after all have ended.
inline void in_threads(
    int64_t size,
    const std::function<void(const ProcessGroupOptions&)>& body,
    ProcessGroupOptions options = {}) {
  // LibTorch's record of operations is one for the whole process, and not made for several groups in threads.
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", 0);
  options.device = torch::kCPU;
  options.size = options.local_size = size;
  options.port = options.launcher_store ? options.port : free_port();
  std::vector<std::exception_ptr> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < size; ++rank) {
    options.rank = options.local_rank = rank;
    threads.emplace_back([&body, &errors, options] {
      at::set_num_threads(1);
      try {
        body(options);
      } catch (...) {
        errors[static_cast<size_t>(options.rank)] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (const auto& error : errors) {
    if (error) {
      std::rethrow_exception(error);
    }
  }
}

inline void as_ranks(int64_t size, const std::function<void(const ProcessGroup&)>& body) {
  in_threads(size, [&](const ProcessGroupOptions& options) { body(ProcessGroup(options)); });
}

/// This process's share of the rows, a view.
inline torch::Tensor part_of(const torch::Tensor& x, const ProcessGroup& group) {
  const auto begin = x.size(0) * group.rank() / group.size();
  return x.narrow(0, begin, x.size(0) * (group.rank() + 1) / group.size() - begin);
}

} // namespace barlow::testing
