// SPDX-License-Identifier: Apache-2.0
#include "peers.h"

#include <array>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <unistd.h>

#include <c10/util/Logging.h>
#include <torch/torch.h>
#include <torch/version.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "../check.h"

namespace barlow {
namespace {

constexpr auto kHere = "ProcessGroup";

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
}

// LibTorch's own account of what went wrong, its first line.
std::string reason(const std::exception& e) {
  const auto* error = dynamic_cast<const c10::Error*>(&e);
  const std::string text = error != nullptr ? error->what_without_backtrace() : e.what();
  return text.substr(0, text.find('\n'));
}

std::vector<uint8_t> bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string text_of(c10d::Store& store, const std::string& key) {
  const auto value = store.get(key);
  return {value.begin(), value.end()};
}

c10::intrusive_ptr<c10d::Store> open_store(const ProcessGroupOptions& options, bool may_keep_it) {
  c10d::TCPStoreOptions tcp;
  tcp.port = static_cast<std::uint16_t>(options.port);
  tcp.isServer = may_keep_it && options.rank == 0 && !options.launcher_store;
  tcp.waitWorkers = false;
  tcp.timeout = milliseconds(options.connect_timeout / 2); // LibTorch tries twice
  const auto place = fmt::format("{}:{}", options.address, options.port);
  try {
    auto store = c10::make_intrusive<c10d::TCPStore>(options.address, tcp);
    store->setTimeout(milliseconds(options.connect_timeout));
    return store;
  } catch (const std::exception& e) {
    if (tcp.isServer) {
      throw Error(
          fmt::format(
              "[{}] rank 0 cannot listen on port {}: {}; choose a free one, as MASTER_PORT",
              kHere,
              options.port,
              reason(e)));
    }
    throw Error(
        fmt::format(
            "[{}] rank {} found no store at {} within {} s: {}; look whether rank 0 runs, and whether MASTER_ADDR and "
            "MASTER_PORT are right",
            kHere,
            options.rank,
            place,
            options.connect_timeout,
            reason(e)));
  }
}

std::string host_and_pid() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format("pid {} on {}", ::getpid(), host.data());
}

std::string versions(const ProcessGroupOptions& options) {
  return fmt::format("barlow {} with LibTorch {}, {} processes", BARLOW_VERSION, TORCH_VERSION, options.size);
}

std::string key(const char* what, int64_t rank) {
  return fmt::format("{}/{}", what, rank);
}

// What is wrong with the others; empty if nothing is.
std::string fault_of_others(c10d::Store& store, const ProcessGroupOptions& options) {
  std::vector<std::string> keys;
  keys.reserve(static_cast<size_t>(options.size));
  for (int64_t rank = 0; rank < options.size; ++rank) {
    keys.push_back(key("versions", rank));
  }
  try {
    store.wait(keys, milliseconds(options.connect_timeout));
  } catch (const std::exception&) {
    std::string missing;
    for (int64_t rank = 0; rank < options.size; ++rank) {
      if (!store.check({keys[static_cast<size_t>(rank)]})) {
        missing += fmt::format("{}{}", missing.empty() ? "" : ", ", rank);
      }
    }
    return fmt::format(
        "of {} processes these ranks did not come within {} s: {}; look at their output, and whether all were started "
        "with one WORLD_SIZE",
        options.size,
        options.connect_timeout,
        missing);
  }
  const auto ours = versions(options);
  for (int64_t rank = 1; rank < options.size; ++rank) {
    const auto theirs = text_of(store, keys[static_cast<size_t>(rank)]);
    if (theirs != ours) {
      return fmt::format(
          "all processes must be alike, received '{}' from rank {} ({}) and '{}' from rank 0; start the same program "
          "everywhere",
          theirs,
          rank,
          text_of(store, key("name", rank)),
          ours);
    }
  }
  return {};
}

constexpr auto kCurrent = "barlow/current";
constexpr auto kPause = std::chrono::milliseconds(100);

std::string current_round(c10d::Store& store) {
  return store.check({kCurrent}) ? text_of(store, kCurrent) : "";
}

// A launcher's store outlives the processes: rank 0 opens a new round each time.
c10::intrusive_ptr<c10d::Store> round_of(const c10::intrusive_ptr<c10d::Store>& store, const std::string& number) {
  return c10::make_intrusive<c10d::PrefixStore>("barlow/round_" + number, store);
}

void introduce(c10d::Store& round, const ProcessGroupOptions& options) {
  round.set(key("name", options.rank), bytes(host_and_pid()));
  round.set(key("beat", options.rank), bytes("0"));
  round.set(key("versions", options.rank), bytes(versions(options)));
}

std::string open_round(const c10::intrusive_ptr<c10d::Store>& store, const ProcessGroupOptions& options) {
  const auto number = std::to_string(store->add("barlow/rounds", 1));
  const auto round = round_of(store, number);
  round->add(key("here", 0), 1);
  introduce(*round, options);
  store->set(kCurrent, bytes(number));
  const auto fault = fault_of_others(*round, options);
  round->set("verdict", bytes(fault));
  if (!fault.empty()) { // the others ask ten times a second; the store may go with this process
    std::this_thread::sleep_for(5 * kPause);
  }
  check(fault.empty(), kHere, "{}", fault);
  return number;
}

// Whether rank 0 accepted this process; false if it opened another round meanwhile.
bool is_accepted(c10d::Store& store, c10d::Store& round, const std::string& number, const std::function<bool()>& late) {
  while (!round.check({"verdict"})) {
    if (current_round(store) != number || late()) {
      return false;
    }
    std::this_thread::sleep_for(kPause);
  }
  const auto fault = text_of(round, "verdict");
  check(fault.empty(), kHere, "rank 0 says: {}", fault);
  return true;
}

// The round found may be of processes that the launcher has ended: then there comes another.
std::string join_round(const c10::intrusive_ptr<c10d::Store>& store, const ProcessGroupOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto late = [&] {
    return std::chrono::steady_clock::now() - start > milliseconds(options.connect_timeout + 2);
  };
  std::string tried;
  bool taken = false;
  while (!late()) {
    const auto number = current_round(*store);
    if (number.empty() || number == tried) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    tried = number;
    const auto round = round_of(store, number);
    taken = round->add(key("here", options.rank), 1) > 1;
    if (taken && !options.launcher_store) {
      break;
    }
    if (!taken) {
      introduce(*round, options);
      if (is_accepted(*store, *round, number, late)) {
        return number;
      }
    }
  }
  check(
      !taken,
      kHere,
      "there are two processes of rank {}, or another job uses port {} of {}; give each process a rank of its own and "
      "each job a MASTER_PORT",
      options.rank,
      options.port,
      options.address);
  throw Error(
      fmt::format(
          "[{}] rank {} waited {} s for rank 0; look at its output", kHere, options.rank, options.connect_timeout));
}

// Each process says who it is; rank 0 looks and gives its verdict. Returns the round.
std::string shake_hands(const c10::intrusive_ptr<c10d::Store>& store, const ProcessGroupOptions& options) {
  try {
    return options.rank == 0 ? open_round(store, options) : join_round(store, options);
  } catch (const c10::Error& e) { // the store went away
    throw Error(
        fmt::format(
            "[{}] rank {} lost rank 0 while connecting: {}; look at its output", kHere, options.rank, reason(e)));
  }
}

std::vector<std::string> names_in(c10d::Store& round, int64_t size) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(size));
  for (int64_t rank = 0; rank < size; ++rank) {
    names.push_back(text_of(round, key("name", rank)));
  }
  return names;
}

at::Device own_device(const ProcessGroupOptions& options) {
  if (options.device) {
    return *options.device;
  }
  const auto gpus = torch::cuda::device_count();
  if (gpus == 0) {
    return torch::kCPU;
  }
  check(
      has_nccl(),
      kHere,
      "several processes on GPUs need NCCL, and this library was built without it: build it where nvcc is, or set "
      "ProcessGroupOptions::device to the CPU");
  check(
      options.local_rank < gpus,
      kHere,
      "local rank {} needs a GPU of its own, and there are {} here; start fewer processes on a machine",
      options.local_rank,
      gpus);
  return {torch::kCUDA, static_cast<at::DeviceIndex>(options.local_rank)};
}

// LibTorch logs a stack trace at each attempt to connect, and when a store has gone; our errors say what matters.
void quieten_log() {
  static std::once_flag once; // ranks may be threads
  std::call_once(once, [] {
    if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) {
      constexpr int kFatal = 3;
      FLAGS_caffe2_log_level = kFatal;
    }
  });
}

} // namespace

ProcessGroup::Peers::Peers(const ProcessGroupOptions& of_group) : options(of_group), device(own_device(options)) {
  quieten_log();
  const auto rank = static_cast<int>(options.rank), size = static_cast<int>(options.size);
  store_ = open_store(options, /*may_keep_it=*/true);
  const auto number = shake_hands(store_, options);
  const auto round = round_of(store_, number);
  const auto under = [&](const char* prefix) { return c10::make_intrusive<c10d::PrefixStore>(prefix, round); };
  c10::intrusive_ptr<c10d::Backend> nccl;
  if (device.is_cuda()) {
    nccl = nccl_backend(under("nccl"), options, device);
  }
  using c10d::ProcessGroup;
  const auto make_group = [&](const char* name) {
    const auto store = under(name);
    auto group = c10::make_intrusive<ProcessGroup>(store, rank, size);
    group->setBackend(c10::DeviceType::CPU, ProcessGroup::BackendType::GLOO, gloo_backend(store, options));
    group->setDefaultBackend(ProcessGroup::BackendType::GLOO);
    if (nccl != nullptr) {
      group->setBackend(c10::DeviceType::CUDA, ProcessGroup::BackendType::NCCL, nccl);
    }
    return group;
  };
  nccl_ = nccl;
  watch_ = std::make_unique<Watch>(
      options, round_of(open_store(options, /*may_keep_it=*/false), number), names_in(*round, options.size), [nccl] {
        try {
          nccl->abort();
        } catch (const std::exception&) { // NOLINT(bugprone-empty-catch): the process ends anyway
        }
      });
  try {
    group_ = make_group("group");
    gradients_ = make_group("gradients");
  } catch (const std::exception& e) { // somebody has died meanwhile, most likely
    watch_.release()->explain("connecting (GLOO_SOCKET_IFNAME names the network)", reason(e));
  }
}

ProcessGroup::Peers::~Peers() {
  if (!watch_->failed()) {
    watch_.reset();
    if (nccl_ != nullptr) {
      nccl_->shutdown();
    }
    return;
  }
  watch_->retire();
  if (options.rank == 0 && !options.launcher_store) { // the others have yet to read in this process' store who is lost
    std::this_thread::sleep_for(2 * watch_->interval());
  }
  // Their destructors would wait for operations, and for a store, that never answer.
  [[maybe_unused]] const auto* left = watch_.release();
  group_.release();
  gradients_.release();
  nccl_.release();
}

void ProcessGroup::Peers::count(const std::vector<at::Tensor>& tensors) {
  ++operations_;
  for (const auto& x : tensors) {
    bytes_ += static_cast<int64_t>(x.nbytes());
  }
}

void ProcessGroup::Peers::run(
    const char* operation,
    const std::vector<at::Tensor>& tensors,
    const std::function<c10::intrusive_ptr<c10d::Work>(std::vector<at::Tensor>&)>& start) {
  auto given = tensors;
  count(given);
  blame(operation, [&] {
    const auto work = start(given);
    if (given[0].is_cpu()) {
      watch_->guard(work->getFuture())->waitAndThrow();
    } else {
      watch_->note(work);
      work->wait(); // the stream does, not the host
    }
  });
}

Watch::FuturePtr ProcessGroup::Peers::start_sum_of_gradients(const at::Tensor& x) {
  std::vector<at::Tensor> given{x};
  count(given);
  const auto work = gradients_->allreduce(given);
  if (x.is_cpu()) {
    return watch_->guard(work->getFuture());
  }
  watch_->note(work);
  return work->getFuture();
}

} // namespace barlow
