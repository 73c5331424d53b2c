// SPDX-License-Identifier: Apache-2.0
// What a step may be made of: precision, micro-batches, late reading, schedules, and the callbacks that act on it. Each
// against the same step without it, or against its formula.
#include <cmath>
#include <fstream>
#include <limits>
#include <stdexcept>

#include <malloc.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/checkpoints.h>
#include <barlow/callbacks/csv_log.h>
#include <barlow/callbacks/early_stop.h>
#include <barlow/callbacks/ema.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/callbacks/param_scheduler.h>
#include <barlow/callbacks/time_limit.h>
#include <barlow/nn.h>

#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

// A callback made of one function.
class AfterBackward : public Callback {
 public:
  explicit AfterBackward(std::function<void(Learner&)> f) : f_(std::move(f)) {}
  std::string name() const override {
    return "AfterBackward";
  }
  void after_backward(Learner& learn) override {
    f_(learn);
  }

 private:
  std::function<void(Learner&)> f_;
};

std::vector<Tensor> gradients_of(const BarlowTwinsModel& model) {
  std::vector<Tensor> all;
  for (const auto& p : model->parameters()) {
    all.push_back(p.grad().clone());
  }
  return all;
}

// Gradients of the first step.
std::vector<Tensor> first_gradients(
    BarlowTwinsModel model,
    const Tensor& images,
    LearnerOptions options,
    const BarlowTwinsOptions& twins = {}) {
  std::vector<Tensor> gradients;
  Learner learn(
      DataLoaders(tensor_loader(images, {.batch_size = images.size(0)})), std::move(model), std::move(options));
  learn.add(BarlowTwins(small_pipelines(), twins));
  learn.add(AfterBackward([&](Learner& l) { gradients = gradients_of(l.model); }));
  learn.fit(1);
  return gradients;
}

BarlowTwinsModel without_batch_norm(torch::ScalarType type) {
  torch::manual_seed(0);
  auto model = create_barlow_twins_model(
      Encoder(std::make_shared<LinearEncoder>()), {.hidden_size = 8, .projection_size = 4, .bn = false});
  model->to(type);
  return model;
}

// To the largest of all gradients: the last bias has none but rounding.
void expect_all_close(const std::vector<Tensor>& a, const std::vector<Tensor>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  double scale = 0;
  for (const auto& x : b) {
    scale = std::max(scale, x.abs().max().item<double>());
  }
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(close_each(a[i], b[i], 0, tolerance * scale)) << i;
  }
}

// ---- micro-batches ----

TEST(MicroBatches, GiveTheGradientOfTheWholeBatch) {
  torch::manual_seed(4);
  const auto images = torch::rand({16, 1, 6, 6}, torch::kDouble);
  const auto whole = first_gradients(without_batch_norm(torch::kDouble), images, quiet());
  for (const int64_t size : {1, 5, 16, 31}) {
    for (const auto order : {ViewOrder::Concatenated, ViewOrder::Separate}) {
      auto options = quiet();
      options.micro_batch = size;
      const auto parts = first_gradients(without_batch_norm(torch::kDouble), images, options, {.view_order = order});
      expect_all_close(parts, whole, 1e-12); // float64: another order of sums
    }
  }
}

// Dropout: the second pass must draw what the first one drew. The sum over the batch of dL/dz is 0 in any case, so the
// comparison is with one pass in parts whose masks are known.
TEST(MicroBatches, SeeTheSameRandomNumbersTwice) {
  struct Noisy : EncoderImpl {
    Noisy() : EncoderImpl({.name = "noisy", .n_in = 1, .num_features = 6}) {
      linear = register_module("linear", torch::nn::Linear(16, 6));
    }
    Tensor forward(const Tensor& x) override {
      auto y = at::dropout(linear->forward(x.flatten(1)), 0.5, is_training());
      seen.push_back(y.detach().clone());
      return y;
    }
    torch::nn::Linear linear{nullptr};
    std::vector<Tensor> seen;
  };
  const auto noisy = std::make_shared<Noisy>();
  auto options = quiet();
  options.micro_batch = 8;
  first_gradients(create_barlow_twins_model(Encoder(noisy)), torch::rand({8, 1, 6, 6}), options);
  ASSERT_EQ(noisy->seen.size(), 4U); // two parts, twice
  EXPECT_TRUE(noisy->seen[0].equal(noisy->seen[2]));
  EXPECT_TRUE(noisy->seen[1].equal(noisy->seen[3]));
  EXPECT_FALSE(noisy->seen[0].equal(noisy->seen[1]));
}

TEST(MicroBatches, UpdateRunningStatisticsOnce) {
  const auto images = torch::rand({8, 1, 6, 6});
  auto model = small_model();
  auto options = quiet();
  options.micro_batch = 8; // the two views, one after the other, as ViewOrder::Separate has them
  const auto parts = first_gradients(model, images, options);
  auto separate = small_model();
  const auto whole = first_gradients(separate, images, quiet(), {.view_order = ViewOrder::Separate});
  expect_all_close(parts, whole, 1e-6);
  const auto a = model->buffers(), b = separate->buffers();
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(a[i].equal(b[i])) << i;
  }
}

// ---- precision ----

TEST(Precisions, ReducedOnesFollowFloat32) {
  torch::manual_seed(4);
  const auto images = torch::rand({32, 1, 6, 6});
  const BarlowTwinsOptions small{.loss_scale = 1e-3}; // no gradient exceeds 65504 at float16's first scale, 65536
  const auto exact = first_gradients(without_batch_norm(torch::kFloat), images, quiet(), small);
  for (const auto& [precision, tolerance] :
       {std::pair{Precision::BFloat16, 0.1}, std::pair{Precision::Float16, 0.02}}) { // 8 and 11 bits, three layers
    auto options = quiet();
    options.precision = precision;
    auto gradients = first_gradients(without_batch_norm(torch::kFloat), images, options, small);
    for (auto& g : gradients) {
      EXPECT_EQ(g.scalar_type(), torch::kFloat);
      g = precision == Precision::Float16 ? g / 65536 : g; // before they are unscaled
    }
    expect_all_close(gradients, exact, tolerance);
  }
}

TEST(Precisions, Float16SkipsAnOverflowAndHalvesItsScale) {
  auto options = quiet();
  options.precision = Precision::Float16;
  options.opt_func = [](const torch::nn::Module& m) { return make_sgd(m); };
  Learner learn(small_data(8, 4), small_model(), options);
  // Embeddings as small as 1e-3 have gradients above 65504 / 65536.
  const torch::NoGradGuard no_grad;
  const auto weights = learn.model->projector->parameters(); // the last two are the last layer's
  for (auto p = weights.end() - 2; p != weights.end(); ++p) {
    p->mul_(1e-3);
  }
  const auto before = learn.model->parameters()[0].detach().clone();
  torch::GradMode::set_enabled(true);
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit(1);
  const auto state = learn.state();
  const auto scale =
      std::find_if(state.tensors.begin(), state.tensors.end(), [](const auto& t) { return t.first == "scaler.scale"; });
  ASSERT_NE(scale, state.tensors.end());
  EXPECT_LT(scale->second.item<double>(), 65536);
  EXPECT_TRUE(learn.model->parameters()[0].detach().isfinite().all().item<bool>());
  EXPECT_EQ(learn.recorder.losses.size(), 2U);
}

// ---- reading late ----

std::vector<double> losses_with(const LearnerOptions& options, std::vector<double>* validation = nullptr) {
  Learner learn(small_data(16, 8), small_model(), options);
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit(3);
  if (validation != nullptr) {
    for (const auto& epoch : learn.recorder.values) {
      validation->push_back(*epoch.valid_loss);
    }
  }
  return learn.recorder.raw_losses;
}

TEST(ReadLag, ChangesNoValue) {
  std::vector<double> valid, late_valid;
  const auto at_once = losses_with(quiet(), &valid);
  for (const int64_t lag : {1, 3, 100}) {
    auto options = quiet();
    options.read_lag = lag;
    late_valid.clear();
    EXPECT_EQ(losses_with(options, &late_valid), at_once) << lag;
    EXPECT_EQ(late_valid, valid);
  }
}

// ---- the loss's options ----

TEST(BarlowTwinsOptions, ScaleLossAndGradient) {
  const auto images = torch::rand({16, 1, 6, 6}, torch::kDouble);
  const auto plain = first_gradients(without_batch_norm(torch::kDouble), images, quiet());
  auto scaled = first_gradients(without_batch_norm(torch::kDouble), images, quiet(), {.loss_scale = 0.1});
  auto world = first_gradients(without_batch_norm(torch::kDouble), images, quiet(), {.reference_world_size = 4});
  for (size_t i = 0; i < plain.size(); ++i) {
    scaled[i] *= 10;
    world[i] *= 4;
  }
  expect_all_close(scaled, plain, 1e-12);
  expect_all_close(world, plain, 1e-12);

  const auto loss = [&](const BarlowTwinsOptions& options) {
    Learner learn(small_data(), small_model(), quiet());
    learn.add(BarlowTwins(small_pipelines(), options));
    learn.fit(1);
    EXPECT_EQ(learn.gradient_scale, 1);
    return learn.recorder.raw_losses[0];
  };
  EXPECT_NEAR(loss({.loss_scale = 0.1}), 0.1 * loss({}), 1e-6);
  EXPECT_EQ(loss({.reference_world_size = 4}), loss({})); // shown as it is
  EXPECT_THAT(error_of([] { BarlowTwins(small_pipelines(), {.loss_scale = 0}); }), HasSubstr("loss_scale"));
  EXPECT_THAT(
      error_of([] { BarlowTwins(small_pipelines(), {.reference_world_size = 0}); }), HasSubstr("reference_world_size"));
}

// ---- callbacks on gradients ----

TEST(GradientClipCallback, BoundsTheNormAndLogsIt) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  double norm = 0, logged = 0;
  learn.add(GradientClip(0.01));
  struct Watch : Callback {
    double *norm, *logged;
    std::string name() const override {
      return "Watch";
    }
    int order() const override {
      return 20;
    }
    void before_step(Learner& l) override {
      double sum = 0;
      for (const auto& g : l.opt->grads()) {
        sum += g.square().sum().item<double>();
      }
      *norm = std::sqrt(sum);
    }
    void after_read(Learner& l) override {
      if (l.values.training) {
        *logged = l.values.logged.back().second;
      }
    }
  } watch;
  watch.norm = &norm;
  watch.logged = &logged;
  learn.add(watch);
  learn.fit(1);
  EXPECT_NEAR(norm, 0.01, 1e-6);
  EXPECT_GT(logged, 0.01);
  EXPECT_THAT(error_of([] { GradientClip(0); }), HasSubstr("max_norm"));
}

TEST(GradientAccumulationCallback, StepsWithTheMeanGradient) {
  torch::manual_seed(4);
  const auto images = torch::rand({8, 1, 6, 6}, torch::kDouble);
  // By hand: the mean of the gradients of both batches, one SGD step.
  std::vector<std::vector<Tensor>> each;
  auto options = quiet();
  options.opt_func = [](const torch::nn::Module& m) { return make_sgd(m); };
  options.lr = 1e-9; // the second gradient is that of the first parameters, nearly
  Learner by_hand(DataLoaders(tensor_loader(images, {.batch_size = 4})), without_batch_norm(torch::kDouble), options);
  by_hand.add(BarlowTwins(small_pipelines()));
  by_hand.add(AfterBackward([&](Learner& l) { each.push_back(gradients_of(l.model)); }));
  by_hand.fit(1);

  options.lr = 0.1;
  Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 4})), without_batch_norm(torch::kDouble), options);
  const auto start = without_batch_norm(torch::kDouble);
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(GradientAccumulation(8));
  learn.fit(1);
  std::vector<Tensor> expected;
  expected.reserve(each[0].size());
  for (size_t i = 0; i < each[0].size(); ++i) {
    expected.push_back(start->parameters()[i].detach() - 0.1 * (each[0][i] + each[1][i]) / 2);
  }
  expect_all_close(learn.model->parameters(), expected, 1e-6); // by_hand's first step has moved it by 1e-9
  EXPECT_EQ(learn.recorder.losses.size(), 2U);
}

TEST(EmaCallback, AveragesByItsFormula) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  auto& ema = learn.add(Ema({.decay = 0.9}));
  auto expected = learn.model->parameters()[0].detach().clone();
  struct Watch : Callback {
    Tensor* average;
    std::string name() const override {
      return "Watch";
    }
    void after_step(Learner& l) override {
      *average = 0.9 * *average + 0.1 * l.model->parameters()[0].detach();
    }
  } watch;
  watch.average = &expected;
  learn.add(watch);
  learn.fit(2);
  const auto trained = learn.model->parameters()[0].detach().clone();
  ema.exchange(learn);
  EXPECT_TRUE(close_to_scale(learn.model->parameters()[0], expected, 1e-6));
  ema.exchange(learn);
  EXPECT_TRUE(learn.model->parameters()[0].equal(trained));
  EXPECT_THAT(error_of([] { Ema({.decay = 1}); }), HasSubstr("decay"));
}

TEST(EmaCallback, ValidatesWithTheAverages) {
  const auto valid_loss = [](double decay) {
    Learner learn(small_data(), small_model(), quiet());
    learn.add(BarlowTwins(small_pipelines()));
    learn.add(Ema({.decay = decay, .validate = true}));
    learn.fit(2, 0.1);
    return std::pair(*learn.recorder.values.back().valid_loss, learn.model->parameters()[0].detach().clone());
  };
  const auto [none, trained] = valid_loss(0); // the average is the parameter
  const auto [much, same] = valid_loss(0.999);
  EXPECT_NE(none, much);
  EXPECT_TRUE(trained.equal(same)); // training does not notice
}

// ---- ends of a fit ----

struct Epochs : Callback {
  int64_t fails_in = -1, begun = 0, trained = 0;

  std::string name() const override {
    return "Epochs";
  }
  void before_epoch(Learner&) override {
    ++begun;
  }
  void before_train(Learner& learn) override {
    if (learn.epoch == fails_in) {
      throw std::runtime_error("the end");
    }
    ++trained;
  }
};

constexpr EarlyStopOptions kStops{.patience = 2, .min_delta = 1e9}; // nothing is that much better, but for the first

TEST(EarlyStopCallback, WaitsForItsPatience) {
  Learner learn(small_data(8, 8), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(EarlyStop(kStops));
  const auto& epochs = learn.add(Epochs());
  learn.fit(10);
  EXPECT_EQ(learn.recorder.values.size(), 3U);
  EXPECT_EQ(epochs.begun, 3); // a fourth is not begun either
  EXPECT_THAT(error_of([] { EarlyStop({.patience = 0}); }), HasSubstr("patience"));
}

TEST(EarlyStopCallback, CountsOnInAResumedRun) {
  const TemporaryFolder folder;
  const auto trained = [&](int64_t fails_in) {
    Learner learn(small_data(8, 8), small_model(), quiet());
    learn.add(BarlowTwins(small_pipelines()));
    learn.add(EarlyStop(kStops));
    learn.add(Checkpoints({.folder = folder.path() / "saved", .resume = Resume::Auto}));
    Epochs counts;
    counts.fails_in = fails_in;
    const auto& epochs = learn.add(counts);
    try {
      learn.fit(10);
    } catch (const std::runtime_error& e) {
      EXPECT_THAT(e.what(), HasSubstr("the end"));
    }
    return epochs.trained;
  };
  EXPECT_EQ(trained(2), 2); // one of them without progress
  EXPECT_EQ(trained(-1), 1); // the second
  EXPECT_EQ(trained(-1), 0); // it was stopped
}

TEST(TimeLimitCallback, EndsTheFit) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(TimeLimit(1e-9));
  learn.fit(10);
  EXPECT_EQ(learn.recorder.losses.size(), 1U);
  EXPECT_THAT(error_of([] { TimeLimit(0); }), HasSubstr("seconds"));
}

TEST(CsvLogCallback, WritesALineAnEpoch) {
  TemporaryFolder folder;
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(CsvLog(folder.path() / "history.csv"));
  learn.fit(2);
  std::ifstream in(folder.path() / "history.csv");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
  }
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0], "epoch,train_loss,valid_loss,seconds");
  EXPECT_THAT(lines[2], ::testing::StartsWith("1,"));
}

// ---- schedules in the loop ----

TEST(ParamSchedulerCallback, SetsEachStepsRateAndMomentum) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit(
      2, [](int64_t step, int64_t steps) { return 0.1 * static_cast<double>(step + 1) / static_cast<double>(steps); });
  ASSERT_EQ(learn.recorder.lrs.size(), 6U);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_DOUBLE_EQ(learn.recorder.lrs[i], 0.1 * static_cast<double>(i + 1) / 6);
  }
  std::ostringstream loop;
  learn.print_loop(loop);
  EXPECT_THAT(loop.str(), ::testing::Not(HasSubstr("ParamScheduler"))); // gone with its fit
}

TEST(FitOneCycle, IsFastaisPolicy) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit_one_cycle(4, 0.02);
  const auto schedule = one_cycle(0.02);
  for (int64_t step = 0; step < 12; ++step) {
    EXPECT_DOUBLE_EQ(learn.recorder.lrs[static_cast<size_t>(step)], schedule(step, 12));
  }
  EXPECT_EQ(learn.opt->momentum(), 0.9); // as it was
  learn.fit_flat_cos(4);
  EXPECT_DOUBLE_EQ(learn.recorder.lrs[0], 1e-3);
  EXPECT_LT(learn.recorder.lrs.back(), 1e-3);
  EXPECT_THAT(error_of([&] { learn.fit_one_cycle(1, std::nan("")); }), HasSubstr("rate"));
}

// Reference: valley, steep and minimum of fastai 2.8.12 on the same curve, in float64.
TEST(SuggestRates, AreFastais) {
  std::vector<double> lrs, losses;
  for (int i = 0; i < 90; ++i) {
    const double x = -6 + 7 * i / 90.;
    lrs.push_back(std::pow(10, x));
    losses.push_back(
        2 - 1 / (1 + std::exp(-3 * (x + 2.5))) + (x > -0.5 ? 3 * (x + 0.5) * (x + 0.5) : 0) + 0.02 * std::sin(9. * i));
  }
  const auto found = suggest_rates(lrs, losses);
  EXPECT_NEAR(found.valley / 0.009261187281287938, 1, 1e-9);
  EXPECT_NEAR(found.steepest / 0.004524343346616744, 1, 1e-9);
  EXPECT_NEAR(found.minimum / 0.033282981394546204, 1, 1e-9);
  EXPECT_THAT(error_of([] { suggest_rates({1, 2}, {1, 2}); }), HasSubstr("at least 3"));
}

TEST(LrFind, LeavesEverythingAsItWas) {
  TemporaryFolder folder;
  Learner learn(small_data(64, 8), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Ema());
  learn.fit(1);
  std::vector<Tensor> before;
  for (const auto& [name, tensor] : learn.state().tensors) {
    before.push_back(tensor.clone());
  }
  const auto found = learn.lr_find({.stop_div = false, .plot = folder.path() / "lr.png"});
  EXPECT_GE(found.losses.size(), 20U);
  EXPECT_GT(found.valley, 1e-7);
  EXPECT_LT(found.valley, 10);
  const auto after = learn.state().tensors;
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(after[i].second.equal(before[i])) << after[i].first;
  }
#if BARLOW_HAS_OPENCV
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "lr.png"));
#endif
  EXPECT_THAT(error_of([&] { learn.lr_find({.start_lr = 1, .end_lr = 0.1}); }), HasSubstr("start_lr < end_lr"));
}

TEST(KeepMemory, TakesLargeBlocksFromTheHeap) { // which keeps them, while mapped ones go back when they are freed
  const Learner learn(small_data(), small_model(), quiet());
  const auto mapped = ::mallinfo2().hblks;
  const auto block = torch::empty({64 << 20}, torch::kByte);
  EXPECT_EQ(::mallinfo2().hblks, mapped);
}

TEST(LearnerOptionsErrors, AreNamedBeforeAnyWork) {
  auto one = quiet();
  Learner batch_of_one(small_data(4, 4, 1), small_model(), one);
  batch_of_one.add(BarlowTwins(small_pipelines()));
  EXPECT_THAT(error_of([&] { batch_of_one.fit(1); }), HasSubstr("a batch of 1 has no statistics"));
  EXPECT_THAT(
      error_of([] { Learner(small_data(), small_model(), {.device = torch::kCPU, .micro_batch = -1}); }),
      HasSubstr("micro_batch"));
  EXPECT_THAT(
      error_of([] { Learner(small_data(), small_model(), {.device = torch::kCPU, .cuda_graph = true}); }),
      HasSubstr("cuda_graph"));
}

} // namespace
} // namespace barlow
