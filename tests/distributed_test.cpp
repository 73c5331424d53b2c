// SPDX-License-Identifier: Apache-2.0
// Many processes, one gradient: tests/oracles/core/dist_oracle.py, and one process with all rows.
#include <barlow/distributed.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <mutex>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <barlow/batch_norm.h>
#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/checkpoints.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/learner.h>
#include <barlow/loss.h>
#include <barlow/nn.h>

#include "distributed/gradients.h"
#include "support/in_memory.h"
#include "support/oracle.h"
#include "support/ranks.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace nn = torch::nn;

// --- loss and gradient

int64_t first_row(int64_t n, int64_t rank, int64_t size) {
  return n * rank / size;
}

Tensor part_of(const Tensor& x, const ProcessGroup& group) {
  const auto begin = first_row(x.size(0), group.rank(), group.size());
  return x.narrow(0, begin, first_row(x.size(0), group.rank() + 1, group.size()) - begin);
}

using Network = std::function<Tensor(const Tensor&)>;
using LossOf = std::function<Tensor(const Tensor&, const Tensor&, const ProcessGroup&)>;

struct Outcome {
  Tensor loss;
  std::map<std::string, Tensor> gradients, buffers;
};

// Loss of views x1, x2, joint or one after the other, and the gradients, summed over the processes.
Outcome outcome(
    nn::Module& module,
    const Network& forward,
    const Tensor& x1,
    const Tensor& x2,
    bool joint,
    const ProcessGroup& group,
    const LossOf& loss_of,
    int steps = 1) {
  GradientSum sum(group, module.parameters());
  Tensor loss;
  for (int step = 0; step < steps; ++step) { // from the second on with the Reducer
    module.zero_grad();
    Tensor z1, z2;
    if (joint) {
      const auto z = forward(at::cat({part_of(x1, group), part_of(x2, group)})).chunk(2);
      z1 = z[0];
      z2 = z[1];
    } else {
      z1 = forward(part_of(x1, group));
      z2 = forward(part_of(x2, group));
    }
    loss = loss_of(z1, z2, group);
    sum.run(loss, /*whole=*/true, [&] { loss.backward(); });
  }
  Outcome out{.loss = loss.detach(), .gradients = {}, .buffers = {}};
  for (const auto& p : module.named_parameters()) {
    out.gradients[p.key()] = p.value().grad().clone();
  }
  for (const auto& b : module.named_buffers()) {
    if (b.key().find("running_") != std::string::npos) {
      out.buffers[b.key()] = b.value().clone();
    }
  }
  return out;
}

LossOf exact(double lmb, double eps, LossRoute route = LossRoute::Auto) {
  return [=](const Tensor& z1, const Tensor& z2, const ProcessGroup& group) {
    return barlow_twins_loss_terms(z1, z2, {.lmb = lmb, .eps = eps, .route = route, .process_group = group}).loss;
  };
}

nn::Sequential oracle_projector(int64_t in, int64_t d, torch::ScalarType type) {
  nn::Sequential net(nn::Linear(in, d), BatchNorm1d(d), nn::ReLU(), nn::Linear(d, d));
  net->to(type);
  nn::Module named; // the hash is of the names
  named.register_module("projector", net.ptr());
  fill_by_name(named);
  return net;
}

// Differences from the oracle, relative to each tensor's largest number; the biases before a batch norm have no
// gradient and count as they are.
double largest_error(const Oracle& oracle, const std::string& run, const Outcome& out, bool with_buffers = true) {
  double largest = 0;
  const auto compare = [&](const std::string& key, const Tensor& ours) {
    const auto& theirs = oracle.at(run + "/" + key);
    const double scale = theirs.abs().max().item<double>();
    const double error = (ours.to(torch::kDouble).view_as(theirs) - theirs).abs().max().item<double>();
    largest = std::max(largest, scale > 1e-9 ? error / scale : error);
  };
  compare("loss", out.loss);
  for (const auto& [name, gradient] : out.gradients) {
    compare("grad/" + name, gradient);
  }
  for (const auto& [name, buffer] : with_buffers ? out.buffers : std::map<std::string, Tensor>()) {
    compare("after/" + name, buffer);
  }
  return largest;
}

struct OracleRun {
  Oracle oracle = load_oracle("core/dist");
  int64_t n = oracle.info["config"]["n"], in = oracle.info["config"]["d_in"], d = oracle.info["config"]["d"];
  double lmb = oracle.info["config"]["lambda"];
  Tensor x1 = hashed("x1", {n, in}) * std::sqrt(12.);
  Tensor x2 = x1 + 0.5 * hashed("x2", {n, in}) * std::sqrt(12.);
};

struct RunOptions {
  torch::ScalarType type = torch::kDouble;
  LossRoute route = LossRoute::Auto;
  int steps = 1;
  LossOf loss{}; // empty: the library's
  bool synchronised = true;
};

double error_of_oracle_run(const std::string& run, const ProcessGroup& group, const RunOptions& options) {
  const OracleRun o;
  auto net = oracle_projector(o.in, o.d, options.type);
  if (options.synchronised) {
    sync_batch_norm(*net, group);
  }
  const auto out = outcome(
      *net,
      [&](const Tensor& x) { return net->forward(x); },
      o.x1.to(options.type),
      o.x2.to(options.type),
      run.starts_with("joint"),
      group,
      options.loss ? options.loss : exact(o.lmb, run.ends_with("official") ? 1e-5 : 0, options.route),
      options.steps);
  return largest_error(o.oracle, run, out, /*with_buffers=*/options.steps == 1);
}

constexpr std::array<const char*, 4> kRuns{"joint_selfsup", "joint_official", "separate_selfsup", "separate_official"};

// Over all processes.
double largest(int64_t size, const std::function<double(const ProcessGroup&)>& f) {
  std::mutex mutex;
  double all = 0;
  as_ranks(size, [&](const ProcessGroup& group) {
    const double one = f(group);
    const std::lock_guard lock(mutex);
    all = std::max(all, one);
  });
  return all;
}

class DistributedOracle : public ::testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Processes, DistributedOracle, ::testing::Values(1, 2, 3, 4, 8));

TEST_P(DistributedOracle, LossAndGradientsAreThoseOfOneProcess) {
  const auto worst = [](torch::ScalarType type) {
    return [type](const ProcessGroup& group) {
      double error = 0;
      for (const auto* run : kRuns) {
        for (const auto route : {LossRoute::Features, LossRoute::Samples}) {
          error = std::max(error, error_of_oracle_run(run, group, {.type = type, .route = route}));
        }
      }
      return error;
    };
  };
  const double in_float64 = largest(GetParam(), worst(torch::kDouble));
  const double in_float32 = largest(GetParam(), worst(torch::kFloat));
  std::cout << GetParam() << " processes: float64 " << in_float64 << ", float32 " << in_float32 << '\n';
  EXPECT_LT(in_float64, 1e-12);
  EXPECT_LT(in_float32, 1e-5); // rounding of one process too
}

TEST_P(DistributedOracle, AlsoByTheReducerWhileTheBackwardPassGoesOn) {
  const auto later_steps = [](const ProcessGroup& group) {
    return std::max(
        error_of_oracle_run("joint_official", group, {.steps = 3}),
        error_of_oracle_run("separate_selfsup", group, {.steps = 2}));
  };
  EXPECT_LT(largest(GetParam(), later_steps), 1e-12);
}

double error_with(int64_t size, const RunOptions& options) {
  return largest(
      size, [&](const ProcessGroup& group) { return error_of_oracle_run("joint_official", group, options); });
}

// What others do is noticed by the same comparison.
TEST(DistributedOracleNotices, CorrelationReducedWithoutItsGradient) {
  const LossOf raw = [](const Tensor& z1, const Tensor& z2, const ProcessGroup& group) {
    const auto standardised = [](const Tensor& z) {
      return (z - z.mean(0)) / (z.var(0, /*unbiased=*/false) + 1e-5).sqrt();
    };
    auto c = standardised(z1).t().mm(standardised(z2)) / static_cast<double>(z1.size(0) * group.size());
    group.sum(c.detach()); // in place, behind autograd's back
    const auto diagonal = c.diagonal();
    return (diagonal - 1).square().sum() + 0.0051 * (c.square().sum() - diagonal.square().sum());
  };
  EXPECT_LT(error_with(1, {.loss = raw}), 1e-11);
  EXPECT_GT(error_with(2, {.loss = raw}), 1e-2);
}

TEST(DistributedOracleNotices, LocalStatistics) {
  const auto local = [](const Tensor& z1, const Tensor& z2, const ProcessGroup& group) {
    return barlow_twins_loss_terms(z1, z2, {.lmb = 0.0051, .eps = 1e-5}).loss / static_cast<double>(group.size());
  };
  EXPECT_LT(error_with(1, {.loss = local}), 1e-12);
  EXPECT_GT(error_with(2, {.loss = local}), 1e-2);
}

TEST(DistributedOracleNotices, BatchNormsThatAreNotSynchronised) {
  EXPECT_GT(error_with(2, {.synchronised = false}), 1e-3);
}

// --- a whole network

BarlowTwinsModel resnet_and_projector(torch::ScalarType type) {
  auto model =
      create_barlow_twins_model(create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 64, .projection_size = 64});
  model->to(type);
  fill_by_name(*model);
  return model;
}

Outcome outcome_of_resnet(torch::ScalarType type, const ProcessGroup& group, int64_t n, int steps) {
  auto model = resnet_and_projector(type);
  sync_batch_norm(*model, group);
  const auto x1 = hashed("c", {n, 1, 32, 32}) * std::sqrt(12.);
  const auto x2 = x1 + 0.2 * hashed("x2", {n, 1, 32, 32});
  return outcome(
      *model,
      [&](const Tensor& x) { return model->forward(x); },
      x1.to(type),
      x2.to(type),
      /*joint=*/true,
      group,
      exact(0.005, 0),
      steps);
}

struct Difference {
  double loss = 0, gradient = 0, buffer = 0; // relative to each tensor's norm
};

Difference difference(const Outcome& a, const Outcome& b) {
  const auto relative = [](const Tensor& x, const Tensor& y) {
    return ((x - y).norm() / y.norm().clamp_min(1e-30)).item<double>();
  };
  Difference largest{.loss = relative(a.loss, b.loss)};
  double all = 0;
  for (const auto& [name, gradient] : b.gradients) {
    all = std::max(all, gradient.norm().item<double>());
  }
  for (const auto& [name, gradient] : b.gradients) { // those that are rounding alone say nothing
    if (gradient.norm().item<double>() > 1e-4 * all) {
      largest.gradient = std::max(largest.gradient, relative(a.gradients.at(name), gradient));
    }
  }
  for (const auto& [name, buffer] : b.buffers) {
    largest.buffer = std::max(largest.buffer, relative(a.buffers.at(name), buffer));
  }
  return largest;
}

class DistributedNetwork : public ::testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Processes, DistributedNetwork, ::testing::Values(2, 3, 4));

TEST_P(DistributedNetwork, XResNetHasTheGradientsOfOneProcess) {
  for (const auto type : {torch::kDouble, torch::kFloat}) {
    const auto alone = outcome_of_resnet(type, ProcessGroup(), 16, 2);
    std::mutex mutex;
    Difference worst;
    as_ranks(GetParam(), [&](const ProcessGroup& group) {
      const auto together = outcome_of_resnet(type, group, 16, 2);
      const auto d = difference(together, alone);
      const std::lock_guard lock(mutex);
      worst = {std::max(worst.loss, d.loss), std::max(worst.gradient, d.gradient), std::max(worst.buffer, d.buffer)};
    });
    // In float32 one process is itself 1e-6 (loss) and 3e-5 (gradient) away from float64, and 3e-6 from itself with
    // another number of threads; a near-tie of ReLU or max-pool that is decided otherwise, as with AVX-512, moves a
    // gradient by 1e-2.
    const bool exact = type == torch::kDouble;
    EXPECT_LT(worst.loss, exact ? 1e-12 : 1e-5);
    EXPECT_LT(worst.gradient, exact ? 1e-12 : 5e-2);
    EXPECT_LT(worst.buffer, exact ? 1e-12 : 5e-6);
    std::cout << torch::toString(type) << ": loss " << worst.loss << ", gradient " << worst.gradient << ", statistics "
              << worst.buffer << '\n';
  }
}

// --- batch norm

TEST(SyncedBatchNorm, IsTorchsOverAllRows) {
  torch::manual_seed(0);
  for (const bool images : {false, true}) {
    for (const bool affine : {false, true}) {
      const auto x =
          (images ? torch::randn({7, 3, 4, 5}, torch::kDouble) : torch::randn({7, 3}, torch::kDouble)) * 2 + 9;
      const auto upstream = torch::randn_like(x);
      const auto options = nn::BatchNormOptions(3).affine(affine);
      const auto run = [&](auto norm, const Tensor& rows, const Tensor& grad) {
        norm->to(torch::kDouble);
        if (affine) {
          const torch::NoGradGuard no_grad;
          norm->weight.copy_(torch::arange(1., 4.));
        }
        const auto input = rows.detach().clone().requires_grad_();
        const auto y = norm->forward(input);
        y.backward(grad);
        return std::vector<Tensor>{
            y.detach(), input.grad(), norm->running_mean, norm->running_var, norm->num_batches_tracked};
      };
      std::vector<Tensor> whole;
      if (images) {
        whole = run(nn::BatchNorm2d(options), x, upstream);
      } else {
        whole = run(nn::BatchNorm1d(options), x, upstream);
      }
      for (const int64_t size : {2, 3, 9}) { // of nine two or more have no rows
        as_ranks(size, [&](const ProcessGroup& group) {
          std::vector<Tensor> part;
          if (images) {
            BatchNorm2d norm(options);
            sync_batch_norm(*norm, group);
            part = run(norm, part_of(x, group), part_of(upstream, group));
          } else {
            BatchNorm1d norm(options);
            sync_batch_norm(*norm, group);
            part = run(norm, part_of(x, group), part_of(upstream, group));
          }
          EXPECT_TRUE(close_each(part[0], part_of(whole[0], group), 0, 1e-12));
          EXPECT_TRUE(close_each(part[1], part_of(whole[1], group), 0, 1e-12));
          for (size_t i = 2; i < 5; ++i) {
            EXPECT_TRUE(close_each(part[i].to(torch::kDouble), whole[i].to(torch::kDouble), 1e-12)) << i;
          }
        });
      }
    }
  }
}

TEST(SyncedBatchNorm, CannotBeHadOfTorchsOwn) {
  as_ranks(2, [](const ProcessGroup& group) {
    nn::Sequential net(nn::Linear(2, 2), nn::BatchNorm1d(2));
    EXPECT_THAT(error_of([&] { sync_batch_norm(*net, group); }), HasSubstr("'1' cannot be synchronised"));
  });
}

// --- data

TEST(Shards, HaveEveryRowOnceWithTheSameViews) {
  torch::manual_seed(0);
  for (const int64_t samples : {5, 24, 29}) {
    const auto images = torch::rand({samples, 1, 6, 6});
    for (const bool shuffle : {false, true}) {
      const auto whole = tensor_loader(images, {.batch_size = 8, .shuffle = shuffle, .num_workers = 2});
      for (const int64_t count : {1, 2, 3, 4, 7}) {
        std::vector<BatchStream> streams;
        streams.reserve(static_cast<size_t>(count));
        for (int64_t rank = 0; rank < count; ++rank) {
          streams.push_back(whole.shard({.rank = rank, .count = count}).epoch(3));
        }
        auto all = whole.epoch(3);
        while (auto batch = all.next()) {
          std::vector<Tensor> rows;
          std::vector<int64_t> index;
          for (auto& stream : streams) {
            const auto part = stream.next();
            ASSERT_TRUE(part.has_value());
            EXPECT_LE(part->size(), (batch->size() + count - 1) / count);
            EXPECT_EQ(part->first, batch->first);
            rows.push_back(part->x);
            index.insert(index.end(), part->index.begin(), part->index.end());
          }
          EXPECT_EQ(index, batch->index);
          EXPECT_TRUE(at::cat(rows).equal(batch->x));
        }
        for (auto& stream : streams) {
          EXPECT_FALSE(stream.next().has_value());
        }
      }
    }
  }
}

// Numbers as images; those in `bad` cannot be had.
class Counted : public StreamDataset {
 public:
  Counted(int64_t announced, int64_t there) : announced_(announced), there_(there) {}
  int64_t size() const override {
    return announced_;
  }
  std::unique_ptr<SampleStream> stream(uint64_t, int64_t, bool) const override {
    class Stream : public SampleStream {
     public:
      explicit Stream(int64_t there) : there_(there) {}
      std::optional<Item> next() override {
        if (at_ == there_) {
          return std::nullopt;
        }
        const auto number = at_++;
        return Item{.index = number, .sample = {torch::full({1, 2, 2}, static_cast<double>(number))}};
      }

     private:
      int64_t at_ = 0, there_;
    };
    return std::make_unique<Stream>(there_);
  }

 private:
  int64_t announced_, there_;
};

TEST(Shards, OfAStreamThatEndsEarlyEndTogether) {
  for (const bool drop_last : {false, true}) {
    for (const int64_t there : {17, 18, 23}) {
      const DataLoader whole(
          std::make_shared<Counted>(30, there), {.batch_size = 8, .drop_last = drop_last, .num_workers = 1});
      auto all = whole.epoch(0), first = whole.shard({.rank = 0, .count = 2}).epoch(0),
           second = whole.shard({.rank = 1, .count = 2}).epoch(0);
      while (const auto batch = all.next()) {
        const auto a = first.next(), b = second.next();
        ASSERT_TRUE(a && b);
        EXPECT_TRUE(at::cat({a->x, b->x}).equal(batch->x));
      }
      EXPECT_FALSE(first.next() || second.next());
    }
  }
}

class HalfBroken : public TensorDataset {
 public:
  using TensorDataset::TensorDataset;
  Sample get(int64_t index) const override {
    return index < 4 ? throw Error("broken") : TensorDataset::get(index);
  }
};

TEST(Shards, OfAStreamWithFewerRowsThanProcesses) {
  for (const int64_t workers : {0, 3}) {
    const DataLoader whole(std::make_shared<Counted>(9, 9), {.batch_size = 8, .num_workers = workers});
    std::vector<int64_t> rows;
    for (int64_t rank = 0; rank < 8; ++rank) {
      auto stream = whole.shard({.rank = rank, .count = 8}).epoch(0);
      EXPECT_EQ(stream.next()->size(), 1);
      const auto last = stream.next();
      ASSERT_TRUE(last.has_value());
      EXPECT_EQ(last->x.sizes().slice(1), (std::vector<int64_t>{1, 2, 2}));
      EXPECT_EQ(last->x.size(0), last->size());
      rows.push_back(last->size());
    }
    EXPECT_EQ(rows, (std::vector<int64_t>{0, 0, 0, 0, 0, 0, 0, 1}));
  }
}

TEST(Shards, WithoutAGoodSampleHaveNoRows) {
  const DataLoader whole(
      std::make_shared<HalfBroken>(torch::rand({8, 3, 5, 5})), {.batch_size = 8, .num_workers = 1, .max_bad = 1});
  const auto part = whole.shard({.rank = 0, .count = 2}).epoch(0).next();
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->size(), 0);
  EXPECT_EQ(part->x.sizes(), (std::vector<int64_t>{0, 3, 5, 5}));
  EXPECT_EQ(whole.shard({.rank = 1, .count = 2}).epoch(0).next()->size(), 4);
}

// --- Learner

struct Trained {
  std::vector<double> losses, valid;
  std::vector<Tensor> parameters;
};

Trained train(
    const ProcessGroup& group,
    BarlowTwinsModel model,
    const DataLoaders& dls,
    std::vector<Pipeline> pipelines,
    int64_t epochs,
    LearnerOptions options = {},
    const std::function<void(Learner&)>& prepare = {}) {
  options.device = torch::kCPU;
  options.progress = false;
  options.process_group = group;
  if (!options.opt_func) {
    options.opt_func = [](const nn::Module& m) { return make_sgd(m, {.momentum = 0.9, .weight_decay = 1e-4}); };
  }
  Learner learn(dls, std::move(model), options);
  learn.add(BarlowTwins(std::move(pipelines)));
  if (prepare) {
    prepare(learn);
  }
  learn.fit(epochs);
  Trained out{.losses = learn.recorder.raw_losses, .valid = {}, .parameters = {}};
  for (const auto& line : learn.recorder.values) {
    out.valid.push_back(line.valid_loss.value_or(-1));
  }
  for (const auto& p : learn.model->parameters()) {
    out.parameters.push_back(p.detach().clone());
  }
  return out;
}

double largest_gap(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]) / std::abs(b[i]));
  }
  return largest;
}

// Training with every number of processes, told by one with all rows.
void expect_the_same(
    const std::vector<int64_t>& sizes,
    const std::function<Trained(const ProcessGroup&)>& run,
    double tolerance) {
  const auto alone = run(ProcessGroup());
  for (const auto size : sizes) {
    as_ranks(size, [&](const ProcessGroup& group) {
      const auto together = run(group);
      EXPECT_LT(largest_gap(together.losses, alone.losses), tolerance) << size;
      EXPECT_LT(largest_gap(together.valid, alone.valid), tolerance) << size;
      for (size_t i = 0; i < alone.parameters.size(); ++i) {
        const auto& a = alone.parameters[i];
        EXPECT_TRUE(close_each(together.parameters[i], a, 0, tolerance * a.abs().max().item<double>() + 1e-30)) << i;
      }
    });
  }
}

BarlowTwinsModel small_double_model() {
  auto model = small_model();
  model->to(torch::kDouble);
  fill_by_name(*model);
  return model;
}

// The last batch for validation has 5 - 4 = 1 row, which is left out, or 7 - 4 = 3, fewer than some groups.
// Threads share torch's generator, so that these are not drawn from it.
DataLoaders small_double_data(int64_t valid = 7) {
  return DataLoaders(
      tensor_loader(hashed("train", {60, 1, 6, 6}) + 0.5, {.batch_size = 12, .shuffle = true, .drop_last = true}),
      tensor_loader(hashed("valid", {valid, 1, 6, 6}) + 0.5, {.batch_size = 4}));
}

TEST(DistributedLearner, TwentyStepsAreThoseOfOneProcess) {
  const auto run = [](const ProcessGroup& group) {
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 4, {.lr = 1e-3});
  };
  expect_the_same({2, 3, 4, 6}, run, 1e-11);
}

TEST(DistributedLearner, AlsoOfXResNet) {
  const auto images = hashed("images", {24, 1, 40, 40}) + 0.5;
  const auto pipelines =
      get_barlow_twins_aug_pipelines({.size = 32, .jitter = false, .bw = false, .stats = std::nullopt});
  const auto run = [&](const ProcessGroup& group) {
    const DataLoaders dls(tensor_loader(images, {.batch_size = 12, .shuffle = true, .drop_last = true}));
    return train(group, resnet_and_projector(torch::kDouble), dls, pipelines, 10, {.lr = 1e-4});
  };
  expect_the_same({2, 3}, run, 1e-9);
}

TEST(DistributedLearner, AlsoInMicroBatchesWithAccumulationAndCheckpointing) {
  const auto run = [](const ProcessGroup& group) {
    auto accumulate = [](Learner& learn) { learn.add(GradientAccumulation(24)); };
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 2, {.lr = 1e-3}, accumulate);
  };
  expect_the_same({2, 3}, run, 1e-11);

  const auto images = hashed("images", {24, 1, 32, 32}) + 0.5;
  const auto resnet = [&](const ProcessGroup& group, int64_t nchunks, int64_t micro_batch) {
    auto model = create_barlow_twins_model(
        create_encoder("resnet10t", {.n_in = 1, .checkpoint_nchunks = nchunks}),
        {.hidden_size = 16, .projection_size = 16});
    model->to(torch::kDouble);
    fill_by_name(*model);
    const DataLoaders dls(tensor_loader(images, {.batch_size = 12, .drop_last = true}));
    const auto pipelines =
        get_barlow_twins_aug_pipelines({.size = 32, .jitter = false, .bw = false, .stats = std::nullopt});
    return train(group, model, dls, pipelines, 2, {.lr = 1e-4, .micro_batch = micro_batch});
  };
  expect_the_same({2, 3}, [&](const ProcessGroup& group) { return resnet(group, 3, 0); }, 1e-9);
  // Batch norms see parts of 8 rows in all, whoever has them.
  expect_the_same({2}, [&](const ProcessGroup& group) { return resnet(group, 0, 8 / group.size()); }, 1);
}

TEST(DistributedLearner, EveryProcessHasTheSameParametersToTheBit) {
  const auto data = small_data(60, 7, 12);
  std::mutex mutex;
  std::vector<std::vector<Tensor>> all;
  as_ranks(3, [&](const ProcessGroup& group) {
    auto trained = train(group, small_model(), data, small_pipelines(), 3);
    const std::lock_guard lock(mutex);
    all.push_back(trained.parameters);
  });
  for (size_t r = 1; r < all.size(); ++r) {
    for (size_t i = 0; i < all[r].size(); ++i) {
      EXPECT_TRUE(all[r][i].equal(all[0][i]));
    }
  }
}

TEST(DistributedLearner, TakesRankZerosParameters) {
  as_ranks(2, [](const ProcessGroup& group) {
    auto model = small_double_model();
    const torch::NoGradGuard no_grad;
    model->projector->parameters()[0].mul_(group.rank() + 1);
    const auto expected = small_double_model()->projector->parameters()[0].clone();
    LearnerOptions options = quiet();
    options.process_group = group;
    options.lr = 1e-30;
    Learner learn(small_double_data(), model, options);
    learn.add(BarlowTwins(small_pipelines()));
    const torch::AutoGradMode with_grad(true);
    learn.fit(1);
    EXPECT_TRUE(close_each(model->projector->parameters()[0].detach(), expected, 1e-12));
  });
}

TEST(DistributedLearner, UnusedParametersKeepNoGradient) {
  class Half : public EncoderImpl {
   public:
    Half() : EncoderImpl({.name = "half", .n_in = 1, .num_features = 6}) {
      used_ = register_module("used", nn::Linear(16, 6));
      unused_ = register_module("unused", nn::Linear(16, 6));
    }
    Tensor forward(const Tensor& x) override {
      return used_->forward(x.flatten(1));
    }

   private:
    nn::Linear used_{nullptr}, unused_{nullptr};
  };
  const auto run = [](const ProcessGroup& group) {
    auto model = create_barlow_twins_model(Encoder(std::make_shared<Half>()), {.hidden_size = 8, .projection_size = 4});
    model->to(torch::kDouble);
    fill_by_name(*model);
    return train(group, model, small_double_data(), small_pipelines(), 1, {.lr = 1e-3});
  };
  expect_the_same({2}, run, 1e-11);
}

TEST(DistributedLearner, SkipsTheStepTogetherWhenOneHasABadImage) {
  as_ranks(2, [](const ProcessGroup& group) {
    auto images = (hashed("images", {24, 1, 6, 6}) + 0.5).to(torch::kFloat);
    images[0].fill_(std::nan(""));
    LearnerOptions options = quiet();
    options.process_group = group;
    options.non_finite = NonFinite::Skip;
    Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 8})), small_model(), options);
    learn.add(BarlowTwins(small_pipelines()));
    learn.fit(1);
    EXPECT_EQ(learn.skipped, 1);
    EXPECT_EQ(learn.recorder.raw_losses.size(), 2U);
  });
}

TEST(DistributedLearner, GoesOnFromACheckpointToTheBit) {
  for (const int64_t size : {2, 3}) {
    const auto data = small_data(60, 7, 12);
    const auto folder = std::filesystem::temp_directory_path() / fmt::format("barlow_dist_{}_{}", ::getpid(), size);
    std::filesystem::remove_all(folder);
    std::mutex mutex;
    std::map<int64_t, std::vector<Tensor>> whole, resumed;
    const auto fit = [&](const ProcessGroup& group, const std::filesystem::path& to, Resume resume, bool cut) {
      LearnerOptions options = quiet();
      options.process_group = group;
      Learner learn(data, small_model(), options);
      learn.add(BarlowTwins(small_pipelines()));
      learn.add(Checkpoints({.folder = to, .resume = resume, .every_steps = 1, .keep = 100, .signals = false}));
      learn.fit(3);
      if (cut && group.is_main()) { // as if the run had ended at step 7
        for (int step = 8; step <= 15; ++step) {
          std::filesystem::remove(to / fmt::format("step-{:09}.safetensors", step));
        }
      }
      std::vector<Tensor> parameters;
      for (const auto& p : learn.model->parameters()) {
        parameters.push_back(p.detach().clone());
      }
      return parameters;
    };
    as_ranks(size, [&](const ProcessGroup& group) {
      auto parameters = fit(group, folder, Resume::Never, true);
      const std::lock_guard lock(mutex);
      whole[group.rank()] = std::move(parameters);
    });
    as_ranks(size, [&](const ProcessGroup& group) {
      // Only rank 0 has the folder.
      auto parameters = fit(group, group.is_main() ? folder : folder / "elsewhere", Resume::Auto, false);
      const std::lock_guard lock(mutex);
      resumed[group.rank()] = std::move(parameters);
    });
    for (const auto& [rank, parameters] : whole) {
      for (size_t i = 0; i < parameters.size(); ++i) {
        EXPECT_TRUE(parameters[i].equal(resumed[rank][i])) << rank << ' ' << i;
      }
    }
    std::filesystem::remove_all(folder);
  }
}

TEST(DistributedLearner, GoesOnWithAnotherNumberOfProcesses) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("barlow_other_number_{}", ::getpid());
  std::filesystem::remove_all(folder);
  const auto checkpointed = [&](int64_t every) {
    return [folder, every](Learner& learn) {
      learn.add(Checkpoints(
          {.folder = folder,
           .resume = every > 0 ? Resume::Never : Resume::Auto,
           .every_epochs = 0,
           .every_steps = every,
           .keep = 9,
           .signals = false}));
    };
  };
  const auto run = [](const ProcessGroup& group, const std::function<void(Learner&)>& prepare = {}) {
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 2, {.lr = 1e-3}, prepare);
  };
  const auto whole = run(ProcessGroup());
  as_ranks(2, [&](const ProcessGroup& group) { run(group, checkpointed(4)); });
  for (const int step : {8, 10}) {
    std::filesystem::remove(folder / fmt::format("step-{:09}.safetensors", step));
  }
  as_ranks(3, [&](const ProcessGroup& group) {
    const auto resumed = run(group, checkpointed(0));
    EXPECT_EQ(resumed.losses.size(), 10U);
    EXPECT_LT(largest_gap(resumed.losses, whole.losses), 1e-11);
    for (size_t i = 0; i < whole.parameters.size(); ++i) {
      EXPECT_TRUE(close_each(resumed.parameters[i], whole.parameters[i], 0, 1e-11)) << i;
    }
  });
  std::filesystem::remove_all(folder);
}

TEST(DistributedLearner, GoesOnInTheMiddleOfAnAccumulation) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("barlow_accumulated_{}", ::getpid());
  std::filesystem::remove_all(folder);
  const auto run = [&](const ProcessGroup& group, std::optional<Resume> resume) {
    return train(
        group, small_double_model(), small_double_data(), small_pipelines(), 2, {.lr = 1e-3}, [&](Learner& learn) {
          learn.add(GradientAccumulation(24));
          if (resume) {
            learn.add(
                Checkpoints({.folder = folder, .resume = *resume, .every_steps = 1, .keep = 99, .signals = false}));
          }
        });
  };
  const auto whole = run(ProcessGroup(), std::nullopt);
  as_ranks(2, [&](const ProcessGroup& group) { run(group, Resume::Never); });
  for (int step = 6; step <= 10; ++step) { // step 5 is the first of a pair
    std::filesystem::remove(folder / fmt::format("step-{:09}.safetensors", step));
  }
  as_ranks(3, [&](const ProcessGroup& group) {
    const auto resumed = run(group, Resume::Auto);
    EXPECT_LT(largest_gap(resumed.losses, whole.losses), 1e-11);
    for (size_t i = 0; i < whole.parameters.size(); ++i) {
      EXPECT_TRUE(close_each(resumed.parameters[i], whole.parameters[i], 0, 1e-11)) << i;
    }
  });
  std::filesystem::remove_all(folder);
}

// --- networks of a process that has no rows

class WithoutRows : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Families,
    WithoutRows,
    ::testing::Values(
        "convnext_atto",
        "densenet121",
        "ecaresnet26t",
        "efficientnet_b0",
        "efficientnet_cc_b0_4e",
        "fastai:resnet18",
        "fastai:squeezenet1_1",
        "legacy_seresnet18",
        "mixer_s32_224",
        "mobilenetv3_small_050",
        "mobilenetv4_conv_small",
        "regnetx_002",
        "regnety_002",
        "resnet10t",
        "resnetv2_50",
        "swin_tiny_patch4_window7_224",
        "vgg11_bn",
        "vit_tiny_patch16_224",
        "xresnet18"));

TEST_P(WithoutRows, FeaturesAndGradientsAreThere) {
  auto encoder = create_encoder(GetParam());
  const auto size = encoder->info().input_size;
  encoder->eval();
  const auto features = encoder->forward(torch::zeros({0, 3, size, size}));
  EXPECT_EQ(features.sizes(), (std::vector<int64_t>{0, encoder->num_features()}));
  EXPECT_NO_THROW(features.sum().backward());
}

// --- bad input

TEST(DistributedErrors, OptionsThatDifferAreNamed) {
  std::mutex mutex;
  std::map<int64_t, std::string> errors;
  const auto data = small_data(12, 5, 4);
  as_ranks(2, [&](const ProcessGroup& group) {
    LearnerOptions options = quiet();
    options.process_group = group;
    options.lr = group.rank() == 1 ? 0.5 : 0.25;
    Learner learn(data, small_model(), options);
    learn.add(BarlowTwins(small_pipelines()));
    auto error = error_of([&] { learn.fit(1); });
    const std::lock_guard lock(mutex);
    errors[group.rank()] = std::move(error);
  });
  for (const auto rank : {0, 1}) {
    EXPECT_THAT(errors[rank], HasSubstr("[Learner::fit] the run must be the same in all processes"));
    EXPECT_THAT(errors[rank], HasSubstr("fit at 0.25"));
    EXPECT_THAT(errors[rank], HasSubstr("fit at 0.5"));
    EXPECT_THAT(errors[rank], HasSubstr("from rank 1"));
  }
}

TEST(DistributedErrors, BatchThatCannotBeDivided) {
  as_ranks(3, [](const ProcessGroup& group) {
    LearnerOptions options = quiet();
    options.process_group = group;
    const auto error = error_of([&] { const Learner learn(small_data(12, 5, 4), small_model(), options); });
    EXPECT_THAT(error, HasSubstr("must be a multiple of their number, received 4 and 3; take 6"));
  });
}

TEST(DistributedErrors, ProcessesThatDoNotCome) {
  ProcessGroupOptions options{.rank = 0, .size = 3, .port = free_port(), .device = torch::kCPU, .connect_timeout = 1};
  EXPECT_THAT(error_of([&] { const ProcessGroup group(options); }), HasSubstr("did not come within 1 s: 1, 2"));
  options.rank = 2;
  EXPECT_THAT(error_of([&] { const ProcessGroup group(options); }), HasSubstr("rank 2 found no store at 127.0.0.1:"));
}

TEST(DistributedErrors, APortInUse) {
  const Listener other;
  const ProcessGroupOptions options{
      .rank = 0, .size = 2, .port = other.port(), .device = torch::kCPU, .connect_timeout = 1};
  EXPECT_THAT(
      error_of([&] { const ProcessGroup group(options); }),
      HasSubstr(fmt::format("rank 0 cannot listen on port {}", other.port())));
}

TEST(DistributedErrors, ARankThatIsThereTwice) {
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

TEST(DistributedErrors, GroupsOfDifferentSizes) {
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

TEST(DistributedErrors, AProcessThatHasLeft) {
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
