// SPDX-License-Identifier: Apache-2.0
#include <barlow/distributed.h>

#include <cstdlib>
#include <numeric>

#include <torch/torch.h>

#include "../check.h"
#include "../file.h"
#include "../threads.h"
#include "peers.h"

namespace barlow {
namespace {

using torch::Tensor;

// A contiguous tensor for an operation in place, and back into x.
template <class Operation>
void in_place(const Tensor& x, Operation operation) {
  const torch::NoGradGuard no_grad;
  const auto flat = x.detach().contiguous();
  operation(flat);
  if (!flat.is_same(x) && flat.data_ptr() != x.data_ptr()) {
    x.detach().copy_(flat);
  }
}

// LibTorch 2.15 calls it all_gather_single, and warns of the name that 2.11 has.
template <class Group>
auto all_gather_single(Group& group, Tensor& all, Tensor& mine) {
  if constexpr (requires { group.all_gather_single(all, mine); }) {
    return group.all_gather_single(all, mine);
  } else {
    return group._allgather_base(all, mine);
  }
}

void check_options(const ProcessGroupOptions& o) {
  check(
      o.size >= 1 && o.rank >= 0 && o.rank < o.size,
      "ProcessGroup",
      "rank {} of {} processes does not exist",
      o.rank,
      o.size);
  check(
      o.connect_timeout > 0 && o.timeout > 0 && o.death_after > 0,
      "ProcessGroup",
      "connect_timeout, timeout and death_after must be positive, received {}, {} and {}",
      o.connect_timeout,
      o.timeout,
      o.death_after);
}

} // namespace

ProcessGroup::ProcessGroup() = default;

ProcessGroup::ProcessGroup(const ProcessGroupOptions& options) {
  check_options(options);
  if (options.size > 1) {
    peers_ = std::make_shared<Peers>(options);
  }
}

ProcessGroup ProcessGroup::from_environment() {
  const auto options = process_group_from_environment();
  if (options.local_size > 1 && std::getenv("OMP_NUM_THREADS") == nullptr) {
    at::set_num_threads(static_cast<int>(share_of_cores(options.local_size)));
  }
  return ProcessGroup(options);
}

int64_t ProcessGroup::rank() const {
  return peers_ == nullptr ? 0 : peers_->options.rank;
}

int64_t ProcessGroup::size() const {
  return peers_ == nullptr ? 1 : peers_->options.size;
}

Shard ProcessGroup::shard() const {
  return {.rank = rank(), .count = size(), .local_count = peers_ == nullptr ? 1 : peers_->options.local_size};
}

at::Device ProcessGroup::device() const {
  if (peers_ != nullptr) {
    return peers_->device;
  }
  return torch::cuda::is_available() ? torch::kCUDA : torch::kCPU;
}

void ProcessGroup::sum(const Tensor& x) const {
  if (peers_ == nullptr) {
    return;
  }
  constexpr int64_t kFew = int64_t{1} << 18; // bytes
  if (x.is_cpu() && static_cast<int64_t>(x.nbytes()) * size() <= kFew) { // half as many messages one after the other
    const torch::NoGradGuard no_grad;
    const auto all = gather(x.detach().unsqueeze(0), std::vector<int64_t>(static_cast<size_t>(size()), 1));
    x.detach().copy_(all.sum(0));
    return;
  }
  in_place(x, [&](const Tensor& flat) {
    peers_->run("sum", {flat}, [&](std::vector<Tensor>& given) { return peers_->group()->allreduce(given); });
  });
}

Tensor ProcessGroup::gather(const Tensor& x, const std::vector<int64_t>& rows) const {
  if (peers_ == nullptr) {
    return x;
  }
  check(
      static_cast<int64_t>(rows.size()) == size() && rows[static_cast<size_t>(rank())] == x.size(0),
      "ProcessGroup::gather",
      "rows must be those of {} processes, this one's {}",
      size(),
      x.size(0));
  const torch::NoGradGuard no_grad;
  const int64_t most = *std::max_element(rows.begin(), rows.end());
  auto mine = x.detach().contiguous();
  if (mine.size(0) < most) { // the operation wants as many from each
    auto shape = mine.sizes().vec();
    shape[0] = most - mine.size(0);
    mine = at::cat({mine, mine.new_zeros(shape)});
  }
  auto shape = mine.sizes().vec();
  shape[0] = most * size();
  auto all = mine.new_empty(shape);
  peers_->run(
      "gather", {mine}, [&](std::vector<Tensor>& given) { return all_gather_single(*peers_->group(), all, given[0]); });
  if (std::all_of(rows.begin(), rows.end(), [&](int64_t n) { return n == most; })) {
    return all;
  }
  std::vector<Tensor> parts;
  parts.reserve(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    parts.push_back(all.narrow(0, static_cast<int64_t>(r) * most, rows[r]));
  }
  return at::cat(parts);
}

void ProcessGroup::broadcast(const std::vector<Tensor>& tensors) const {
  if (peers_ == nullptr) {
    return;
  }
  for (const auto& x : tensors) {
    in_place(x, [&](const Tensor& flat) {
      peers_->run("broadcast", {flat}, [&](std::vector<Tensor>& given) { return peers_->group()->broadcast(given); });
    });
  }
}

std::string ProcessGroup::broadcast(const std::string& bytes) const {
  if (peers_ == nullptr) {
    return bytes;
  }
  const auto size = all_gather(static_cast<int64_t>(bytes.size()))[0];
  auto buffer = torch::empty({size}, torch::kByte);
  if (is_main()) {
    std::copy(bytes.begin(), bytes.end(), buffer.data_ptr<uint8_t>());
  }
  if (size > 0) {
    broadcast(std::vector<Tensor>{buffer});
  }
  const auto* begin = buffer.const_data_ptr<uint8_t>();
  return {begin, begin + size};
}

std::vector<int64_t> ProcessGroup::all_gather(int64_t value) const {
  if (peers_ == nullptr) {
    return {value};
  }
  const auto all = gather(torch::tensor({value}, torch::kLong), std::vector<int64_t>(static_cast<size_t>(size()), 1));
  const auto* begin = all.const_data_ptr<int64_t>();
  return {begin, begin + size()};
}

bool ProcessGroup::any(bool value) const {
  const auto all = all_gather(value ? 1 : 0);
  return std::any_of(all.begin(), all.end(), [](int64_t v) { return v != 0; });
}

bool ProcessGroup::all(bool value) const {
  return !any(!value);
}

void ProcessGroup::require_equal(std::string_view here, const std::string& what, const std::string& text) const {
  const auto hashes = all_gather((static_cast<int64_t>(text.size()) << 32) + crc32(text));
  const auto other = std::find_if(hashes.begin(), hashes.end(), [&](int64_t h) { return h != hashes[0]; });
  if (other == hashes.end()) {
    return;
  }
  const auto rank_of_other = static_cast<int64_t>(other - hashes.begin());
  const auto length = static_cast<int64_t>(text.size());
  const auto lengths = all_gather(length);
  const auto texts =
      gather(torch::from_blob(const_cast<char*>(text.data()), {length}, torch::kByte), lengths); // only read
  const auto* at = reinterpret_cast<const char*>(texts.const_data_ptr<uint8_t>());
  const auto before = std::accumulate(lengths.begin(), lengths.begin() + rank_of_other, int64_t{0});
  const std::string first(at, at + lengths[0]);
  const std::string theirs(at + before, at + before + lengths[static_cast<size_t>(rank_of_other)]);
  check(
      false,
      here,
      "{} must be the same in all processes, received '{}' from rank 0 and '{}' from rank {}; start all with the same "
      "options",
      what,
      first,
      theirs,
      rank_of_other);
}

Traffic ProcessGroup::traffic() const {
  return peers_ == nullptr ? Traffic{} : peers_->traffic();
}

} // namespace barlow
