// SPDX-License-Identifier: Apache-2.0
// Training steps as CUDA graphs, against the same step by step. Skipped where there is no CUDA device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

#include "support/cuda_runs.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using torch::Tensor;

class CudaGraph : public Cuda {};

// Rates are powers of 2, which the device's float32 has as well. In deterministic mode the kernels are the same;
// allowed is what other ones would change in ten steps of Adam.
double allowed(Precision precision) {
  return precision == Precision::Float32 ? 1e-5 : 0.1;
}
constexpr double kRate = 1. / 512;

void expect_the_eager_run(TinyRun run, double tolerance) {
  run.options.lr = kRate;
  run.options.cuda_graph = false;
  run.options.read_lag = 8;
  const auto eager = end_of(run);
  run.options.cuda_graph = true;
  const auto graphed = end_of(run);
  EXPECT_EQ(graphed.lrs, eager.lrs);
  expect_near(graphed, eager, tolerance);
}

TEST_F(CudaGraph, GraphedStepsAreTheEagerOnes) {
  const Deterministic deterministic;
  for (const auto precision : {Precision::Float32, Precision::BFloat16, Precision::Float16}) {
    for (const bool views : {false, true}) {
      SCOPED_TRACE(fmt::format("precision {}, views {}", static_cast<int>(precision), views));
      TinyRun run{.views = views};
      run.options.precision = precision;
      expect_the_eager_run(run, allowed(precision));
    }
  }
}

TEST_F(CudaGraph, GraphedStepsOfEveryOptimiser) {
  const Deterministic deterministic;
  for (const auto& optimizer : optimizers()) {
    SCOPED_TRACE(optimizer.name);
    TinyRun run;
    run.options.opt_func = optimizer.make;
    expect_the_eager_run(run, 1e-4); // LARS and LAMB scale by the rate on the host or on the device
  }
}

TEST_F(CudaGraph, GraphedStepsWithCallbacksThatLog) {
  const Deterministic deterministic;
  std::vector<std::vector<double>> norms;
  std::vector<Tensor> averages;
  TinyRun run{.views = true};
  run.prepare = [&](Learner& learn) {
    learn.add(GradientClip(0.5));
    learn.add(Ema({.decay = 0.9, .validate = true}));
    learn.add(Hook([](Learner& l) { l.log("first", torch::full({}, l.train_iter, torch::kCUDA)); }));
    norms.emplace_back();
    struct Read : Callback {
      std::vector<std::vector<double>>* norms = nullptr;
      std::string name() const override {
        return "Read";
      }
      void after_read(Learner& l) override {
        if (!l.values.training) {
          return;
        }
        const std::map<std::string, double> logged(l.values.logged.begin(), l.values.logged.end());
        EXPECT_EQ(l.values.logged.size(), 4U); // first, two of the loss, grad_norm
        EXPECT_EQ(logged.at("first"), static_cast<double>(l.values.step));
        norms->back().push_back(logged.at("grad_norm"));
      }
    } read;
    read.norms = &norms;
    learn.add(read);
  };
  run.fit = [&](Learner& learn) {
    learn.fit(2);
    for (const auto& [name, tensor] : learn.get<Ema>().state()) {
      averages.push_back(tensor.cpu().clone());
    }
  };
  expect_the_eager_run(run, 1e-5);
  ASSERT_EQ(norms.size(), 2U);
  ASSERT_EQ(norms[0].size(), norms[1].size());
  for (size_t i = 0; i < norms[0].size(); ++i) {
    EXPECT_NEAR(norms[1][i], norms[0][i], 1e-4 * norms[0][i]) << i;
  }
  const auto half = averages.begin() + static_cast<std::ptrdiff_t>(averages.size() / 2);
  expect_all_close({half, averages.end()}, {averages.begin(), half}, 1e-5);
}

// The workers make page-locked batches while a step is captured.
TEST_F(CudaGraph, GraphedStepsWithWorkers) {
  const Deterministic deterministic;
  for (int i = 0; i < 3; ++i) {
    expect_the_eager_run({.dls = bright_data(192, 16, true, /*workers=*/4), .views = true}, 1e-5);
  }
}

TEST_F(CudaGraph, GraphedStepsWithASmallerLastBatch) { // 16, 16, 12, which runs as it is
  const Deterministic deterministic;
  TinyRun run{.dls = bright_data(44, 16, /*drop_last=*/false)};
  run.fit = [](Learner& learn) { learn.fit(4); };
  expect_the_eager_run(run, 1e-5);
}

TEST_F(CudaGraph, GraphedStepsFollowTheRate) {
  const Deterministic deterministic;
  TinyRun run;
  run.fit = [](Learner& learn) { learn.fit_flat_cos(2, kRate, {.pct_start = 0.5}); };
  expect_the_eager_run(run, 1e-4); // rates of float32
}

TEST_F(CudaGraph, GraphedStepsReadTheLabelsOfTheirBatch) {
  const Deterministic deterministic;
  TinyRun run;
  run.prepare = [](Learner& learn) {
    learn.loss_func = [](const Tensor& pred, const Batch& batch) {
      return loss_of_halves(pred, batch) + (pred.mean(1) - batch.y.to(torch::kFloat)).square().mean();
    };
  };
  expect_the_eager_run(run, 1e-5);
}

TEST_F(CudaGraph, GraphedStepsDrawNewRandomNumbers) {
  TinyRun run{.dls = DataLoaders(bright_loader(8, {.batch_size = 8, .num_workers = 0})), .dropout = 0.5};
  run.options.lr = 1e-12; // so that the masks alone differ
  run.options.cuda_graph = true;
  run.fit = [](Learner& learn) { learn.fit(10); };
  const auto end = end_of(run);
  ASSERT_EQ(end.losses.size(), 10U);
  for (size_t i = 5; i < 10; ++i) {
    EXPECT_NE(end.losses[i], end.losses[i - 1]) << i;
  }
}

// A second fit with another rate, with parameters that no longer train and a callback that came in between.
TEST_F(CudaGraph, GraphOfASecondFitIsAnother) {
  const Deterministic deterministic;
  TinyRun run;
  run.fit = [](Learner& learn) {
    learn.fit(1);
    learn.fit(1, kRate / 4);
    freeze(*learn.model->encoder);
    learn.add(GradientClip(0.01));
    const auto before = learn.model->encoder->parameters()[0].detach().clone();
    learn.fit(2);
    EXPECT_TRUE(learn.model->encoder->parameters()[0].detach().equal(before));
    unfreeze(*learn.model->encoder);
    learn.fit(2);
    EXPECT_FALSE(learn.model->encoder->parameters()[0].detach().equal(before));
  };
  expect_the_eager_run(run, 1e-4);
}

TEST_F(CudaGraph, GraphLeavesLossAndEmbeddingsOfItsStep) {
  TinyRun run;
  run.options.cuda_graph = true;
  std::vector<double> seen;
  run.prepare = [&](Learner& learn) {
    learn.add(Hook({}, [&](Learner& l) {
      if (l.training) {
        const torch::NoGradGuard no_grad;
        seen.push_back(l.loss.item<double>());
        EXPECT_NEAR(loss_of_halves(l.pred, l.batch).item<double>(), seen.back(), 1e-4 * seen.back()) << l.train_iter;
      }
    }));
  };
  const auto end = end_of(run);
  ASSERT_EQ(seen.size(), end.losses.size());
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_FLOAT_EQ(static_cast<float>(seen[i]), static_cast<float>(end.losses[i])) << i;
  }
}

// Fails when it is called for the fourth time, while its step is captured.
struct FailsInCapture : Callback {
  int calls = 0;
  std::string name() const override {
    return "FailsInCapture";
  }
  bool capturable() const override {
    return true;
  }
  void before_loss(Learner& learn) override {
    if (learn.training && ++calls == 4) {
      throw Error("[test] of its own");
    }
  }
};

TEST_F(CudaGraph, GraphsThatCannotBeAreNamed) {
  auto options = cuda();
  options.cuda_graph = true;
  const auto message = [&](const std::function<void(Learner&)>& fit) {
    Learner learn(bright_data(), tiny_model(), options);
    learn.loss_func = loss_of_halves;
    return error_of([&] { fit(learn); });
  };
  EXPECT_THAT(message([](Learner& learn) { learn.fit_one_cycle(2); }), HasSubstr("constant momentum"));
  EXPECT_THAT(
      message([](Learner& learn) {
        learn.add(OnlineLinear({.classes = 3}));
        learn.fit(1);
      }),
      HasSubstr("no callback can act within the step"));
  EXPECT_THAT(
      message([](Learner& learn) {
        learn.add(FailsInCapture());
        learn.fit(1);
      }),
      ::testing::AllOf(HasSubstr("cannot be captured"), HasSubstr("of its own")));
  EXPECT_EQ(
      message([](Learner& learn) { // the device is as it was, and so is the Learner
        learn.add(FailsInCapture());
        error_of([&] { learn.fit(1); });
        learn.fit(1);
        EXPECT_EQ(learn.recorder.raw_losses.size(), 5U);
        throw Error("done");
      }),
      "done");
  EXPECT_THAT(
      message([](Learner& learn) { // which would be those of the captured batch
        learn.loss_func = [](const Tensor& pred, const Batch& batch) {
          return loss_of_halves(pred, batch) + batch.x.mean();
        };
        learn.fit(1);
      }),
      HasSubstr("cannot be captured"));
  const auto refused = [](LearnerOptions of) {
    of.cuda_graph = true;
    return error_of([&] { Learner(bright_data(), tiny_model(), of); });
  };
  auto other = cuda();
  other.read_lag = 0;
  EXPECT_THAT(refused(other), StartsWith("[Learner] cuda_graph needs"));
  other = cuda();
  other.micro_batch = 4;
  EXPECT_THAT(refused(other), StartsWith("[Learner] cuda_graph needs"));
  other = cuda();
  other.device = torch::kCPU;
  EXPECT_THAT(refused(other), StartsWith("[Learner] cuda_graph needs"));
}

TEST_F(CudaGraph, ResumedRunMayBeGraphed) {
  const Deterministic deterministic;
  const TemporaryFolder folder;
  const auto file = folder.path() / "third.safetensors";
  TinyRun run;
  run.options.lr = kRate;
  run.prepare = [&](Learner& learn) { learn.add(after_step(3, [&](Learner& l) { l.save(file); })); };
  const auto expected = end_of(run);
  run.options.cuda_graph = true;
  run.prepare = [&](Learner& learn) { learn.resume(file); };
  expect_near(end_of(run), expected, 1e-5);
}

// ---- the last test: it might harm others ----

// CUDA ends the capture where the loss is read.
TEST_F(CudaGraph, GraphThatIsReadIsNamedAndHarmsNothing) {
  auto options = cuda();
  options.cuda_graph = true;
  Learner learn(bright_data(), tiny_model(/*dropout=*/0.2), options);
  learn.loss_func = [](const Tensor& pred, const Batch& batch) {
    const auto loss = loss_of_halves(pred, batch);
    EXPECT_GT(loss.item<double>(), 0);
    return loss;
  };
  EXPECT_THAT(error_of([&] { learn.fit(1); }), HasSubstr("cannot be captured"));
  learn.loss_func = loss_of_halves;
  learn.fit(2);
  EXPECT_EQ(learn.recorder.raw_losses.size(), 10U);
  EXPECT_TRUE(torch::rand({3}, torch::kCUDA).isfinite().all().item<bool>());
}

} // namespace
} // namespace barlow
