// SPDX-License-Identifier: Apache-2.0
// How processes find each other, what they exchange, and what is said when they cannot.
#include <barlow/distributed.h>

#include <array>
#include <cstdlib>
#include <mutex>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "support/oracle.h"
#include "support/ranks.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

TEST(ProcessGroupErrors, ProcessesThatDoNotCome) {
  ProcessGroupOptions options{.rank = 0, .size = 3, .port = free_port(), .device = torch::kCPU, .connect_timeout = 1};
  EXPECT_THAT(error_of([&] { const ProcessGroup group(options); }), HasSubstr("did not come within 1 s: 1, 2"));
  options.rank = 2;
  EXPECT_THAT(error_of([&] { const ProcessGroup group(options); }), HasSubstr("rank 2 found no store at 127.0.0.1:"));
}

TEST(ProcessGroupErrors, APortInUse) {
  const Listener other;
  const ProcessGroupOptions options{
      .rank = 0, .size = 2, .port = other.port(), .device = torch::kCPU, .connect_timeout = 1};
  EXPECT_THAT(
      error_of([&] { const ProcessGroup group(options); }),
      HasSubstr(fmt::format("rank 0 cannot listen on port {}", other.port())));
}

TEST(ProcessGroupErrors, ARankThatIsThereTwice) {
  std::mutex mutex;
  std::vector<std::string> errors;
  in_threads(
      3,
      [&](ProcessGroupOptions options) {
        options.rank = std::min<int64_t>(options.rank, 1);
        auto error = error_of([&] { const ProcessGroup group(options); });
        const std::lock_guard lock(mutex);
        errors.push_back(std::move(error));
      },
      {.connect_timeout = 2});
  EXPECT_THAT(errors, ::testing::Contains(HasSubstr("there are two processes of rank 1")));
  EXPECT_THAT(errors, ::testing::Contains(HasSubstr("did not come within 2 s: 2")));
}

TEST(ProcessGroupErrors, GroupsOfDifferentSizes) {
  std::mutex mutex;
  std::vector<std::string> errors;
  in_threads(
      2,
      [&](ProcessGroupOptions options) {
        options.size = options.rank == 0 ? 2 : 3;
        auto error = error_of([&] { const ProcessGroup group(options); });
        const std::lock_guard lock(mutex);
        errors.push_back(std::move(error));
      },
      {.connect_timeout = 5});
  EXPECT_THAT(errors, ::testing::Each(HasSubstr("all processes must be alike")));
  EXPECT_THAT(errors, ::testing::Each(HasSubstr("3 processes' from rank 1")));
}

// As after each restart by torchrun, on any machine: its store still has what earlier processes left.
TEST(ProcessGroup, MeetsAgainInALaunchersStore) {
  c10d::TCPStoreOptions of_store;
  of_store.port = 0;
  of_store.isServer = true;
  of_store.waitWorkers = false;
  const auto launcher = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", of_store);
  ProcessGroupOptions options{.port = launcher->getPort(), .launcher_store = true, .connect_timeout = 20};
  for (int round = 0; round < 3; ++round) {
    in_threads(
        3,
        [&](const ProcessGroupOptions& of_rank) {
          if (of_rank.rank == 0 && round > 0) { // the others find the earlier round first
            std::this_thread::sleep_for(std::chrono::milliseconds(500));
          }
          const ProcessGroup group(of_rank);
          EXPECT_EQ(group.all_gather(of_rank.rank), (std::vector<int64_t>{0, 1, 2}));
        },
        options);
  }
}

TEST(ProcessGroupErrors, AProcessThatHasLeft) {
  std::mutex mutex;
  std::string error;
  in_threads(
      3,
      [&](const ProcessGroupOptions& options) {
        const ProcessGroup group(options);
        group.sum(torch::ones({1}));
        if (options.rank == 2) {
          return;
        }
        auto text = error_of([&] { group.sum(torch::ones({1})); });
        const std::lock_guard lock(mutex);
        error = std::move(text);
      },
      {.death_after = 1});
  EXPECT_THAT(error, HasSubstr("rank 2 (pid"));
  EXPECT_THAT(error, HasSubstr("has ended"));
}

// --- environment

class Environment : public ::testing::Test {
 protected:
  static constexpr std::array<const char*, 16> kNames{
      "RANK",
      "WORLD_SIZE",
      "LOCAL_RANK",
      "LOCAL_WORLD_SIZE",
      "MASTER_ADDR",
      "MASTER_PORT",
      "SLURM_PROCID",
      "SLURM_STEP_NUM_TASKS",
      "SLURM_NTASKS",
      "SLURM_LOCALID",
      "SLURM_STEP_NODELIST",
      "SLURM_STEP_TASKS_PER_NODE",
      "SLURM_JOB_ID",
      "OMPI_COMM_WORLD_RANK",
      "OMPI_COMM_WORLD_SIZE",
      "OMPI_COMM_WORLD_LOCAL_SIZE"};
  ~Environment() override {
    clear();
  }
  static void clear() {
    for (const auto* name : kNames) {
      ::unsetenv(name);
    }
  }
  static ProcessGroupOptions with(const std::vector<std::pair<std::string, std::string>>& variables) {
    clear();
    for (const auto& [name, value] : variables) {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
    return process_group_from_environment();
  }
  static std::string error_with(const std::vector<std::pair<std::string, std::string>>& variables) {
    return error_of([&] { with(variables); });
  }
};

TEST_F(Environment, OfEachLauncher) {
  EXPECT_EQ(with({}).size, 1);
  EXPECT_EQ(with({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}).size, 1); // a shell on a cluster, no step

  auto o = with(
      {{"RANK", "5"},
       {"WORLD_SIZE", "8"},
       {"LOCAL_RANK", "1"},
       {"LOCAL_WORLD_SIZE", "4"},
       {"MASTER_ADDR", "gpu1"},
       {"MASTER_PORT", "1234"}});
  EXPECT_EQ(std::tie(o.rank, o.size, o.local_rank, o.local_size, o.port), std::make_tuple(5, 8, 1, 4, 1234));
  EXPECT_EQ(o.address, "gpu1");

  o = with(
      {{"SLURM_PROCID", "5"},
       {"SLURM_STEP_NUM_TASKS", "8"},
       {"SLURM_LOCALID", "1"},
       {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"},
       {"SLURM_STEP_NODELIST", "gpu[07-09,12],login1"},
       {"SLURM_JOB_ID", "123456"}});
  EXPECT_EQ(std::tie(o.rank, o.size, o.local_rank, o.local_size, o.port), std::make_tuple(5, 8, 1, 4, 23456));
  EXPECT_EQ(o.address, "gpu07");
  EXPECT_EQ(
      with({{"SLURM_PROCID", "0"},
            {"SLURM_STEP_NUM_TASKS", "2"},
            {"SLURM_LOCALID", "0"},
            {"SLURM_STEP_NODELIST", "a1,b[2-3]"}})
          .address,
      "a1");

  o = with({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(std::tie(o.rank, o.size), std::make_tuple(1, 2));
}

TEST_F(Environment, ThatIsIncompleteOrContradictsItself) {
  EXPECT_THAT(error_with({{"RANK", "0"}}), HasSubstr("RANK is set and WORLD_SIZE is not"));
  EXPECT_THAT(error_with({{"WORLD_SIZE", "2"}}), HasSubstr("WORLD_SIZE is set and RANK is not"));
  EXPECT_THAT(error_with({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasSubstr("must be less than WORLD_SIZE"));
  EXPECT_THAT(error_with({{"RANK", "one"}, {"WORLD_SIZE", "2"}}), HasSubstr("received 'one'"));
  EXPECT_THAT(error_with({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), HasSubstr("MASTER_ADDR is not set"));
  EXPECT_THAT(
      error_with(
          {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "3"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}),
      HasSubstr("the rank on this machine"));
  EXPECT_THAT(
      error_with({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "99999"}}),
      HasSubstr("MASTER_PORT must be"));
  EXPECT_THAT(
      error_with({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}}),
      HasSubstr("on several machines"));
  EXPECT_THAT(error_with({{"SLURM_STEP_NUM_TASKS", "2"}}), HasSubstr("SLURM_PROCID is not"));
}

// --- the group itself

TEST(ProcessGroup, OfOneDoesNothing) {
  const ProcessGroup alone;
  const auto x = torch::ones({2});
  alone.sum(x);
  EXPECT_TRUE(x.equal(torch::ones({2})));
  EXPECT_TRUE(alone.gather(x, {2}).is_same(x));
  EXPECT_EQ(alone.all_gather(7), std::vector<int64_t>{7});
  EXPECT_EQ(alone.broadcast("text"), "text");
  EXPECT_FALSE(alone.any(false));
  EXPECT_EQ(alone.traffic().operations, 0);
}

TEST(ProcessGroup, SumsGathersAndBroadcasts) {
  as_ranks(4, [](const ProcessGroup& group) {
    const auto r = group.rank();
    auto x = torch::full({2, 3}, static_cast<double>(r + 1)).t(); // not contiguous
    group.sum(x);
    EXPECT_TRUE(x.equal(torch::full({3, 2}, 10.)));
    const auto rows = group.gather(torch::full({r, 2}, r), {0, 1, 2, 3}); // unequal, one without any
    EXPECT_TRUE(rows.select(1, 0).equal(torch::tensor({1, 2, 2, 3, 3, 3})));
    auto y = torch::full({2}, r);
    group.broadcast(std::vector<Tensor>{y});
    EXPECT_TRUE(y.equal(torch::zeros({2}, torch::kLong)));
    EXPECT_EQ(group.broadcast("rank " + std::to_string(r)), "rank 0");
    EXPECT_EQ(group.all_gather(r * r), (std::vector<int64_t>{0, 1, 4, 9}));
    EXPECT_TRUE(group.any(r == 2));
    EXPECT_FALSE(group.all(r == 2));
    EXPECT_NO_THROW(group.require_equal("here", "it", "same"));
    EXPECT_THAT(
        error_of([&] { group.require_equal("here", "it", r == 3 ? "other" : "same"); }),
        HasSubstr("[here] it must be the same in all processes, received 'same' from rank 0 and 'other' from rank 3"));
    EXPECT_GT(group.traffic().bytes, 0);
  });
}

} // namespace
} // namespace barlow
