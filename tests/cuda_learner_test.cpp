// SPDX-License-Identifier: Apache-2.0
// Fits, callbacks and checkpoints on CUDA, against the CPU and themselves. Skipped where there is no CUDA device.
#include <cmath>
#include <limits>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

#include "file.h"
#include "support/cuda_runs.h"
#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace nn = torch::nn;

class CudaLearner : public Cuda {};

TEST_F(CudaLearner, IsWhereALearnerTrainsUnlessToldOtherwise) {
  Learner learn(
      bright_data(), create_barlow_twins_model(create_encoder("xresnet18", {.n_in = 1})), {.progress = false});
  EXPECT_TRUE(learn.device.is_cuda());
  learn.add(BarlowTwins(tiny_views()));
  learn.fit(1);
  EXPECT_EQ(learn.recorder.raw_losses.size(), 5U);
}

// Four steps of float32; loss and views on CUDA are the CPU's to 1e-4 or better.
TEST_F(CudaLearner, LossesOfAFitAreTheCpus) {
  for (const bool views : {false, true}) {
    TinyRun run{.options = with_sgd(cuda(), 0.9), .dls = bright_data(64), .views = views};
    run.options.lr = 0.01;
    run.fit = [](Learner& learn) { learn.fit(1); };
    const auto found = end_of(run);
    EXPECT_EQ(found.losses.size(), 4U);
    run.options.device = torch::kCPU;
    SCOPED_TRACE(views);
    expect_near(found, end_of(run), 2e-3);
  }
}

TEST_F(CudaLearner, FitRepeatsToTheBit) {
  const Deterministic deterministic;
  for (const auto precision : {Precision::Float32, Precision::BFloat16, Precision::Float16}) {
    TinyRun run{.views = true, .dropout = 0.2};
    run.options.precision = precision;
    const auto first_run = end_of(run);
    expect_the_same(end_of(run), first_run);
  }
}

TEST_F(CudaLearner, ReadLagChangesNoValue) {
  const Deterministic deterministic;
  TinyRun run{.views = true};
  run.options.read_lag = 0;
  const auto at_once = end_of(run);
  for (const int64_t lag : {-1, 1, 8, 100}) {
    run.options.read_lag = lag;
    SCOPED_TRACE(lag);
    expect_the_same(end_of(run), at_once);
  }
}

TEST_F(CudaLearner, OneCycleSetsRatesAndMomenta) {
  std::vector<double> momenta;
  TinyRun run;
  run.prepare = [&](Learner& learn) {
    learn.add(Hook([&](Learner& l) {
      if (l.training) {
        momenta.push_back(l.opt->momentum());
      }
    }));
  };
  run.fit = [](Learner& learn) { learn.fit_one_cycle(2, 0.01); };
  const auto end = end_of(run);
  const auto rate = one_cycle(0.01), momentum = one_cycle_momentum();
  ASSERT_EQ(end.lrs.size(), 10U);
  ASSERT_EQ(momenta.size(), 10U);
  for (int64_t i = 0; i < 10; ++i) {
    EXPECT_DOUBLE_EQ(end.lrs[static_cast<size_t>(i)], rate(i, 10)) << i;
    EXPECT_DOUBLE_EQ(momenta[static_cast<size_t>(i)], momentum(i, 10)) << i;
  }
}

// Makes a step's input infinite.
Hook poison(int64_t step) {
  return Hook([step](Learner& learn) {
    if (learn.training && learn.train_iter == step) {
      learn.inputs = {learn.batch.x * std::numeric_limits<float>::infinity()};
    }
  });
}

TEST_F(CudaLearner, NonFiniteLossIsAnErrorThoughItIsReadLate) {
  for (const int64_t lag : {0, 3, 8}) {
    auto options = cuda();
    options.read_lag = lag;
    Learner learn(bright_data(), tiny_model(), options);
    learn.loss_func = loss_of_halves;
    learn.add(poison(1));
    EXPECT_THROW(learn.fit(1), NonFiniteError) << lag;
    for (const auto& p : learn.model->parameters()) {
      EXPECT_TRUE(p.isfinite().all().item<bool>()) << lag;
    }
  }
}

TEST_F(CudaLearner, SkippedStepsTouchNothing) {
  constexpr int64_t kStep = 6; // a replayed one, with cuda_graph
  struct Case {
    int64_t lag;
    bool graph;
    Precision precision;
  };
  for (const auto& [lag, graph, precision] :
       {Case{0, false, Precision::Float32},
        Case{8, false, Precision::Float32},
        Case{8, false, Precision::Float16},
        Case{8, true, Precision::Float32},
        Case{8, true, Precision::Float16}}) {
    SCOPED_TRACE(fmt::format("lag {}, graph {}, precision {}", lag, graph, static_cast<int>(precision)));
    auto options = cuda();
    options.non_finite = NonFinite::Skip;
    options.read_lag = lag;
    options.cuda_graph = graph;
    options.precision = precision;
    Learner learn(bright_data(), tiny_model(), options);
    learn.loss_func = loss_of_halves;
    std::vector<Tensor> before, state_before;
    const auto state_of = [](Learner& l) {
      std::vector<Tensor> all;
      for (const auto& [name, tensor] : l.opt->state()) {
        all.push_back(tensor.cpu().clone());
      }
      return all;
    };
    auto hook = poison(kStep);
    hook.before = [&, poisons = hook.before](Learner& l) {
      if (l.training && l.train_iter == kStep) {
        before = copies(*l.model);
        state_before = state_of(l);
      }
      poisons(l);
    };
    hook.after = [&](Learner& l) {
      if (l.training && l.train_iter == kStep + 1) {
        const auto after = copies(*l.model), state_after = state_of(l);
        for (size_t i = 0; i < before.size(); ++i) {
          EXPECT_TRUE(after[i].equal(before[i])) << i;
        }
        for (size_t i = 0; i < state_before.size(); ++i) {
          EXPECT_TRUE(state_after[i].equal(state_before[i])) << i;
        }
      }
    };
    learn.add(hook);
    learn.fit(2);
    EXPECT_FALSE(before.empty());
    EXPECT_EQ(learn.skipped, 1);
    EXPECT_EQ(learn.recorder.raw_losses.size(), 9U);
    for (const auto& x : copies(*learn.model)) {
      EXPECT_TRUE(x.isfinite().all().item<bool>());
    }
  }
}

double scale_of(Learner& learn) {
  for (const auto& [name, tensor] : learn.state().tensors) {
    if (name == "scaler.scale") {
      return tensor.item<double>();
    }
  }
  return -1;
}

// Embeddings as small as 1e-3 have gradients above 65504 / 65536.
TEST_F(CudaLearner, Float16SkipsAnOverflowAndHalvesItsScale) {
  for (const bool graph : {false, true}) {
    auto options = with_sgd(cuda());
    options.precision = Precision::Float16;
    options.cuda_graph = graph;
    const auto model = tiny_model();
    {
      const torch::NoGradGuard no_grad;
      const auto weights = model->projector->parameters(); // the last two are the last layer's
      for (auto p = weights.end() - 2; p != weights.end(); ++p) {
        Tensor(*p).mul_(1e-3);
      }
    }
    const auto first_weight = model->parameters()[0].detach().clone();
    Learner learn(bright_data(), model, options);
    learn.loss_func = loss_of_halves;
    learn.add(after_step(1, [&](Learner& l) {
      EXPECT_TRUE(l.model->parameters()[0].detach().cpu().equal(first_weight));
      EXPECT_EQ(scale_of(l), 32768);
    }));
    learn.fit(2);
    EXPECT_LT(scale_of(learn), 65536);
    EXPECT_EQ(learn.skipped, 0); // for the losses were finite
    EXPECT_EQ(learn.recorder.losses.size(), 10U);
    for (const auto& x : copies(*learn.model)) {
      EXPECT_TRUE(x.isfinite().all().item<bool>());
    }
  }
}

// 8 and 11 bits in three linear layers, eight steps of SGD; of a loss so small that no gradient exceeds 65504 / 65536.
TEST_F(CudaLearner, ReducedPrecisionsFollowFloat32) {
  const auto images = torch::randn({256, 1, 4, 4});
  const auto losses = [&](Precision precision) {
    auto options = with_sgd(cuda());
    options.lr = 10;
    options.precision = precision;
    Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 64})), small_model(), options);
    learn.loss_func = [](const Tensor& pred, const Batch& batch) { return loss_of_halves(pred, batch) * 1e-3; };
    learn.fit(2);
    for (const auto& x : copies(*learn.model)) {
      EXPECT_TRUE(x.isfinite().all().item<bool>());
    }
    EXPECT_EQ(scale_of(learn), precision == Precision::Float16 ? 65536 : -1);
    return learn.recorder.raw_losses;
  };
  const auto whole = losses(Precision::Float32);
  for (const auto& [precision, tolerance] :
       {std::pair{Precision::BFloat16, 0.1}, std::pair{Precision::Float16, 0.02}}) {
    const auto reduced = losses(precision);
    ASSERT_EQ(reduced.size(), 8U);
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_NEAR(reduced[i], whole[i], tolerance * whole[i]) << i;
    }
  }
}

// A step of SGD at rate 1 is the gradient. In float64 and without batch norm, which sees the parts.
TEST_F(CudaLearner, MicroBatchesGiveTheGradientOfTheWholeBatch) {
  const auto images = torch::rand({16, 1, 4, 4}, torch::kDouble);
  const auto stepped_by = [&](at::Device device, int64_t micro_batch) {
    torch::manual_seed(0);
    auto model = create_barlow_twins_model(
        Encoder(std::make_shared<LinearEncoder>()), {.hidden_size = 8, .projection_size = 4, .bn = false});
    model->to(torch::kDouble);
    auto options = with_sgd(cuda());
    options.device = device;
    options.micro_batch = micro_batch;
    Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 16})), model, options);
    learn.loss_func = loss_of_halves;
    learn.fit(1, 1.);
    return copies(*learn.model);
  };
  const auto whole = stepped_by(torch::kCPU, 0);
  for (const int64_t micro_batch : {0, 1, 5, 16, 31}) {
    SCOPED_TRACE(micro_batch);
    expect_all_close(stepped_by(torch::kCUDA, micro_batch), whole, 1e-9);
  }
}

TEST_F(CudaLearner, RateFinderLeavesEverythingAsItWas) {
  Learner learn(bright_data(), tiny_model(0.2), cuda());
  learn.add(BarlowTwins(tiny_views()));
  learn.fit(1);
  std::vector<Tensor> before;
  for (const auto& [name, tensor] : learn.state().tensors) {
    before.push_back(tensor.clone());
  }
  const auto found = learn.lr_find({.num_it = 40, .stop_div = false});
  EXPECT_GE(found.losses.size(), 10U);
  const auto after = learn.state().tensors;
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(after[i].second.equal(before[i])) << after[i].first;
  }
}

// ---- every callback, once ----

// Two epochs of views with labels.
template <class C, class Look>
void fit_with(C callback, Look look, LearnerOptions options = cuda()) {
  Learner learn(bright_data(), tiny_model(), std::move(options));
  learn.add(BarlowTwins(tiny_views()));
  auto& added = learn.add(std::move(callback));
  learn.fit(2);
  EXPECT_FALSE(learn.recorder.raw_losses.empty());
  for (const double loss : learn.recorder.raw_losses) {
    EXPECT_TRUE(std::isfinite(loss));
  }
  look(learn, added);
}

TEST_F(CudaLearner, CallbacksThatActOnTheDevice) {
  const auto ten_steps = [](Learner& learn, const auto&) { EXPECT_EQ(learn.recorder.raw_losses.size(), 10U); };
  fit_with(Ema({.decay = 0.9, .validate = true}), [&](Learner& learn, Ema& ema) {
    ten_steps(learn, ema);
    const auto averages = ema.state();
    const auto parameters = learn.model->parameters();
    ASSERT_EQ(averages.size(), parameters.size());
    for (const auto& [name, tensor] : averages) {
      EXPECT_TRUE(tensor.is_cuda() && tensor.isfinite().all().item<bool>());
    }
    const auto first_parameter = parameters[0].detach().clone();
    ema.exchange(learn);
    EXPECT_TRUE(ema.state()[0].second.equal(first_parameter));
  });
  fit_with(GradientClip(0.01), ten_steps);
  fit_with(GradientAccumulation(32), ten_steps);
  auto skips = cuda();
  skips.non_finite = NonFinite::Skip;
  fit_with(
      RollBack({.after = 2, .keep_every = 3}),
      [&](Learner& learn, const RollBack& roll_back) {
        ten_steps(learn, roll_back);
        EXPECT_EQ(roll_back.times(), 0);
      },
      skips);
  fit_with(OnlineLinear({.classes = 3}), [](Learner&, const OnlineLinear& head) {
    ASSERT_EQ(head.accuracies().size(), 2U);
    EXPECT_GE(head.accuracies()[1], 0);
  });
  const auto loader = bright_loader(30, {.batch_size = 8, .num_workers = 0});
  fit_with(OnlineKnn(loader, loader, {.k = 3}), [](Learner&, const OnlineKnn& knn) {
    ASSERT_EQ(knn.history().size(), 2U);
    EXPECT_GT(knn.history()[1].second, 0.3);
  });
}

// The accumulated step is the CPU's.
TEST_F(CudaLearner, AccumulationIsTheCpus) {
  TinyRun run{.options = with_sgd(cuda(), 0.9)};
  run.options.lr = 0.01;
  run.prepare = [](Learner& learn) { learn.add(GradientAccumulation(32)); };
  const auto found = end_of(run);
  run.options.device = torch::kCPU;
  expect_near(found, end_of(run), 2e-3);
}

TEST_F(CudaLearner, CallbacksThatWriteAndWatch) {
  const TemporaryFolder folder;
  const auto nothing = [](Learner&, const auto&) {};
  const auto is_there = [&](const char* file) { EXPECT_TRUE(std::filesystem::exists(folder.path() / file)) << file; };
  fit_with(CsvLog(folder.path() / "history.csv"), nothing);
  is_there("history.csv");
  fit_with(JsonLog(folder.path() / "log.jsonl"), nothing);
  is_there("log.jsonl");
  fit_with(EarlyStop({.patience = 5}), nothing);
  fit_with(TimeLimit(3600), nothing);
  fit_with(
      ShortEpochCallback(0.5), [](Learner& learn, const auto&) { EXPECT_LT(learn.recorder.raw_losses.size(), 10U); });
  fit_with(
      ParamScheduler(constant(1e-3)), [](Learner& learn, const auto&) { EXPECT_EQ(learn.recorder.lrs.back(), 1e-3); });
  fit_with(
      Checkpoints({.folder = folder.path() / "saved", .every_steps = 3, .signals = false}),
      [](Learner&, const Checkpoints& checkpoints) { EXPECT_EQ(checkpoints.failures(), 0); });
  is_there("saved/step-000000010.safetensors");
  is_there("saved/best.safetensors");
#ifdef BARLOW_HAS_OPENCV
  const auto loader = bright_loader(30, {.batch_size = 8, .num_workers = 0});
  fit_with(Report({.file = folder.path() / "report.html", .bank = loader, .queries = loader}), nothing);
  is_there("report.html");
#endif
#if defined(BARLOW_HAS_OPENCV) && defined(BARLOW_HAS_ISAL)
  fit_with(TensorBoard({.folder = folder.path() / "board", .embed = loader}), nothing);
  is_there("board");
#endif
  auto options = cuda();
  options.progress = true;
  ::testing::internal::CaptureStdout();
  Learner learn(bright_data(), tiny_model(), options);
  learn.add(BarlowTwins(tiny_views()));
  learn.fit(1);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("train_loss"));
}

// ---- checkpoints ----

// Saved after three of ten steps, with views, dropout, averages and a schedule.
TEST_F(CudaLearner, ResumedRunEndsAsTheUndisturbedOne) {
  const Deterministic deterministic;
  const TemporaryFolder folder;
  const auto file = folder.path() / "third.safetensors";
  for (const auto precision : {Precision::Float32, Precision::Float16}) {
    TinyRun run{.views = true, .dropout = 0.2};
    run.options.precision = precision;
    run.fit = [](Learner& learn) { learn.fit_one_cycle(2, 0.01); };
    run.prepare = [&](Learner& learn) {
      learn.add(Ema({.decay = 0.9, .validate = true}));
      learn.add(after_step(3, [&](Learner& l) { l.save(file); }));
    };
    const auto expected = end_of(run);
    run.prepare = [&](Learner& learn) {
      learn.add(Ema({.decay = 0.9, .validate = true}));
      learn.resume(file);
    };
    expect_the_same(end_of(run), expected);
  }
}

TEST_F(CudaLearner, CheckpointsGoToTheOtherDevice) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "third.safetensors";
  for (const auto& [from, to] :
       {std::pair{at::Device(torch::kCUDA), at::Device(torch::kCPU)},
        std::pair{at::Device(torch::kCPU), at::Device(torch::kCUDA)}}) {
    SCOPED_TRACE(from.str() + " to " + to.str());
    std::vector<Tensor> saved;
    TinyRun run{.dropout = 0.2};
    run.options.device = from;
    run.prepare = [&](Learner& learn) {
      learn.add(after_step(3, [&](Learner& l) {
        l.save(file);
        saved = copies(*l.model);
      }));
    };
    const auto whole = end_of(run);
    run.options.device = to;

    Learner loaded(bright_data(), tiny_model(), run.options);
    loaded.loss_func = loss_of_halves;
    loaded.load(file);
    const auto taken = copies(*loaded.model);
    for (size_t i = 0; i < saved.size(); ++i) {
      EXPECT_TRUE(taken[i].equal(saved[i])) << i;
    }
    EXPECT_EQ(loaded.model->parameters()[0].device().type(), to.type());
    loaded.fit(1);
    EXPECT_TRUE(std::isfinite(loaded.recorder.raw_losses.back()));

    run.prepare = [&](Learner& learn) { learn.resume(file); };
    const auto resumed = end_of(run); // with other dropout masks
    ASSERT_EQ(resumed.losses.size(), 10U);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(resumed.losses[i], whole.losses[i]) << i;
    }
    for (const double loss : resumed.losses) {
      EXPECT_TRUE(std::isfinite(loss));
    }
  }
}

} // namespace
} // namespace barlow
