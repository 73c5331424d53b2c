// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/error.h>

namespace barlow {

/// A process that died or does not answer; the text names it.
class ProcessGroupError : public Error {
 public:
  using Error::Error;
};

struct ProcessGroupOptions {
  int64_t rank = 0, size = 1;
  int64_t local_rank = 0, local_size = 1; ///< among the processes on this machine
  std::string address = "127.0.0.1"; ///< of the machine of rank 0
  int64_t port = 29500; ///< where rank 0 keeps the store, through which the processes find each other
  bool launcher_store = false; ///< the launcher (torchrun) keeps the store, also when it starts the processes again
  std::optional<at::Device> device{}; ///< nullopt: a GPU of its own if there are any, else the CPU

  double connect_timeout = 300; ///< seconds to wait for the others at the start
  double timeout = 1800; ///< seconds that an operation may take
  double death_after = 10; ///< seconds without a sign of life (one comes each second) that make a process dead
};

/// What the launcher says: torchrun's RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, else
/// mpirun's OMPI_*, else srun's SLURM_*; one process if there is none of them. Throws Error for variables that are
/// missing, no numbers, or contradict each other.
ProcessGroupOptions process_group_from_environment();

/// The part of a data set's batches that a process works on: see DataLoader::shard.
struct Shard {
  int64_t rank = 0, count = 1;
  int64_t local_count = 1; ///< processes that share this machine's cores
};

/// Bytes of the tensors that this process gave to collective operations; what goes over the wire for them is
/// 2 (W - 1) / W times that for a sum, W - 1 times for a gathering (of the rows given), in a ring.
struct Traffic {
  int64_t operations = 0, bytes = 0;
};

/// Processes that train together, one of them this one. Copies stand for the same group. On the CPU they talk through
/// Gloo, on CUDA through NCCL. In a group of one every operation does nothing, so no caller asks.
///
/// Operations are collective: every process has to call them, in the same order. They return when the result is there
/// (CPU) or in line on the stream (CUDA), and throw ProcessGroupError when another process has died: within
/// death_after and some 2 seconds, naming it. A process that then does not leave by itself, stuck on its device say, is
/// ended with kExitInterrupted after as long again. Processes stay equal to the bit if they have as many threads each.
class ProcessGroup {
 public:
  ProcessGroup(); ///< this process alone

  /// Waits for the others. Throws Error, on rank 0 with all that is wrong: processes that do not come, a rank that is
  /// there twice, other versions of barlow or LibTorch, a port in use, a library built without Gloo.
  explicit ProcessGroup(const ProcessGroupOptions& options);

  /// As the launcher says. Processes that share a machine share its cores, unless OMP_NUM_THREADS is set.
  static ProcessGroup from_environment();

  int64_t rank() const;
  int64_t size() const;
  bool is_main() const { ///< rank 0: who prints and writes
    return rank() == 0;
  }
  Shard shard() const;
  at::Device device() const; ///< ProcessGroupOptions::device

  /// The sum over the processes, in place. float32, float64, int64; identical to the bit in every process.
  void sum(const at::Tensor& x) const;
  /// Rows of all processes [sum of rows, ...], in the order of ranks; `rows` of each as from all_gather.
  at::Tensor gather(const at::Tensor& x, const std::vector<int64_t>& rows) const;
  /// Rank 0's values, in place.
  void broadcast(const std::vector<at::Tensor>& tensors) const;
  std::string broadcast(const std::string& bytes) const; ///< rank 0's
  std::vector<int64_t> all_gather(int64_t value) const; ///< by rank
  bool any(bool value) const;
  bool all(bool value) const;

  /// Throws Error "[here] ..." in every process unless all give the same text; rank 0's names the first other one and
  /// both texts.
  void require_equal(std::string_view here, const std::string& what, const std::string& text) const;

  Traffic traffic() const;

  class Peers;
  const std::shared_ptr<Peers>& peers() const { ///< what stands behind; empty in a group of one
    return peers_;
  }

 private:
  std::shared_ptr<Peers> peers_;
};

} // namespace barlow
