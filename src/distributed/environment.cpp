// SPDX-License-Identifier: Apache-2.0
// What launchers tell a process of the group it belongs to.
#include <barlow/distributed.h>

#include <charconv>
#include <cstdlib>
#include <optional>

#include "../check.h"

namespace barlow {
namespace {

constexpr auto kHere = "process_group_from_environment";

std::optional<std::string> text_of(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

std::optional<int64_t> number_of(const std::string& name) {
  const auto text = text_of(name);
  if (!text) {
    return std::nullopt;
  }
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  check(
      error == std::errc() && end == text->data() + text->size() && number >= 0,
      kHere,
      "{} must be a number, not negative, received '{}'",
      name,
      *text);
  return number;
}

int64_t needed(const std::string& name, const std::string& beside) {
  const auto number = number_of(name);
  check(
      number.has_value(),
      kHere,
      "{} is set and {} is not; start the program by torchrun, srun or mpirun, or set both",
      beside,
      name);
  return *number;
}

void check_ranks(const ProcessGroupOptions& o, const std::string& rank, const std::string& size) {
  check(o.size >= 1, kHere, "{} must be at least 1, received {}", size, o.size);
  check(o.rank < o.size, kHere, "{} must be less than {}, received {} and {}", rank, size, o.rank, o.size);
  check(
      o.local_size >= 1 && o.local_rank < o.local_size && o.local_size <= o.size,
      kHere,
      "the rank on this machine must be less than the number of processes here, and that at most {}, received {} and "
      "{}",
      o.size,
      o.local_rank,
      o.local_size);
}

ProcessGroupOptions by_torchrun() {
  ProcessGroupOptions o;
  o.rank = needed("RANK", "WORLD_SIZE");
  o.size = needed("WORLD_SIZE", "RANK");
  const auto local_rank = number_of("LOCAL_RANK");
  o.local_rank = local_rank.value_or(0);
  o.local_size = number_of("LOCAL_WORLD_SIZE").value_or(local_rank ? *local_rank + 1 : 1);
  o.launcher_store = text_of("TORCHELASTIC_USE_AGENT_STORE") == "True";
  check_ranks(o, "RANK", "WORLD_SIZE");
  check(
      o.size == 1 || text_of("MASTER_ADDR"),
      kHere,
      "WORLD_SIZE is {} and MASTER_ADDR is not set; set it to the machine of rank 0",
      o.size);
  return o;
}

// The first of "gpu[03-07,12],login2".
std::string first_host(const std::string& list) {
  const auto bracket = list.find('[');
  if (bracket == std::string::npos || bracket > list.find(',')) {
    return list.substr(0, list.find(','));
  }
  const auto first = list.substr(bracket + 1, list.find_first_of("-,]", bracket + 1) - bracket - 1);
  const auto close = list.find(']', bracket);
  const auto rest = close == std::string::npos ? "" : list.substr(close + 1, list.find(',', close) - close - 1);
  return list.substr(0, bracket) + first + rest;
}

ProcessGroupOptions by_slurm() {
  ProcessGroupOptions o;
  o.rank = needed("SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
  o.size = needed("SLURM_STEP_NUM_TASKS", "SLURM_PROCID");
  o.local_rank = needed("SLURM_LOCALID", "SLURM_PROCID");
  // "4(x2),3": of the first machines; good enough to share cores by.
  const auto here = text_of("SLURM_STEP_TASKS_PER_NODE").value_or("");
  int64_t local_size = 0;
  std::from_chars(here.data(), here.data() + here.size(), local_size);
  o.local_size = std::max(local_size, o.local_rank + 1);
  check_ranks(o, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
  if (const auto hosts = text_of("SLURM_STEP_NODELIST")) {
    o.address = first_host(*hosts);
  }
  if (const auto job = number_of("SLURM_JOB_ID")) { // so that two jobs on one machine do not meet
    constexpr int64_t kFirstPort = 20000, kPorts = 20000;
    o.port = kFirstPort + *job % kPorts;
  }
  return o;
}

ProcessGroupOptions by_mpirun() {
  ProcessGroupOptions o;
  o.rank = needed("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  o.size = needed("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
  o.local_rank = number_of("OMPI_COMM_WORLD_LOCAL_RANK").value_or(0);
  o.local_size = number_of("OMPI_COMM_WORLD_LOCAL_SIZE").value_or(o.local_rank + 1);
  check_ranks(o, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  check(
      o.local_size == o.size || text_of("MASTER_ADDR"),
      kHere,
      "the {} processes are on several machines and MASTER_ADDR is not set; give mpirun -x MASTER_ADDR=HOST, the "
      "machine "
      "of rank 0",
      o.size);
  return o;
}

} // namespace

ProcessGroupOptions process_group_from_environment() {
  ProcessGroupOptions o;
  if (text_of("RANK") || text_of("WORLD_SIZE")) {
    o = by_torchrun();
  } else if (text_of("OMPI_COMM_WORLD_RANK") || text_of("OMPI_COMM_WORLD_SIZE")) { // perhaps within an srun
    o = by_mpirun();
  } else if (text_of("SLURM_STEP_NUM_TASKS")) { // SLURM_NTASKS alone: a shell that srun has not started
    o = by_slurm();
  }
  o.address = text_of("MASTER_ADDR").value_or(o.address);
  o.port = number_of("MASTER_PORT").value_or(o.port);
  check(o.port >= 1 && o.port <= 65535, kHere, "MASTER_PORT must be 1 to 65535, received {}", o.port);
  return o;
}

} // namespace barlow
