// SPDX-License-Identifier: Apache-2.0
// The order of events, the callbacks that come with the loop, and what happens when something goes wrong.
#include <barlow/learner.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/augment/presets.h>
#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/callbacks/json_log.h>
#include <barlow/callbacks/roll_back.h>
#include <barlow/callbacks/short_epoch.h>
#include <barlow/loss.h>
#include <barlow/nn.h>

#include "support/in_memory.h"
#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

// ---- the loop ----

// Notes every event; throws what it is told where it is told.
class Spy : public Callback {
 public:
  explicit Spy(std::vector<std::string>* events) : events_(events) {}
  std::string name() const override {
    return "Spy";
  }
#define BARLOW_EVENT(name)       \
  void name(Learner&) override { \
    events_->push_back(#name);   \
    if (on_event) {              \
      on_event(#name);           \
    }                            \
  }
  BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
  std::function<void(const std::string&)> on_event;

 private:
  std::vector<std::string>* events_;
};

struct Fixture {
  std::vector<std::string> events;
  Learner learn;
  Spy* spy;

  explicit Fixture(LearnerOptions options = quiet(), DataLoaders data = small_data(4, 4))
      : learn(std::move(data), small_model(), std::move(options)), spy(&learn.add(Spy(&events))) {
    learn.add(BarlowTwins(small_pipelines()));
  }
};

TEST(Loop, EventsComeInFastaisOrder) {
  Fixture f;
  f.learn.fit(1);
  EXPECT_THAT(
      f.events,
      ElementsAre(
          "before_fit",
          "before_epoch",
          "before_train",
          "before_batch",
          "before_pred",
          "after_pred",
          "before_loss",
          "after_loss",
          "before_backward",
          "after_backward",
          "before_step",
          "after_step",
          "after_read",
          "after_batch",
          "after_train",
          "before_validate",
          "before_batch",
          "before_pred",
          "after_pred",
          "before_loss",
          "after_loss",
          "after_read",
          "after_batch",
          "after_validate",
          "after_epoch",
          "after_fit"));
}

TEST(Loop, CancellationsLeaveTheirPartAndNoMore) {
  const auto events_after = [](const std::string& at, auto cancel) {
    Fixture f;
    f.spy->on_event = [&](const std::string& event) {
      if (event == at) {
        throw cancel;
      }
    };
    f.learn.fit(1);
    const auto first = std::find(f.events.begin(), f.events.end(), at);
    return std::vector<std::string>(first + 1, f.events.end());
  };
  EXPECT_THAT(events_after("after_pred", CancelFit()), ElementsAre("after_cancel_fit", "after_fit"));
  EXPECT_THAT(events_after("after_pred", CancelEpoch()), ElementsAre("after_cancel_epoch", "after_epoch", "after_fit"));
  EXPECT_THAT(
      events_after("before_validate", CancelValidate()),
      ElementsAre("after_cancel_validate", "after_validate", "after_epoch", "after_fit"));
  const auto train = events_after("before_step", CancelTrain());
  EXPECT_THAT(
      std::vector<std::string>(train.begin(), train.begin() + 3),
      ElementsAre("after_cancel_train", "after_train", "before_validate"));
  const auto batch = events_after("before_backward", CancelBatch());
  EXPECT_THAT(
      std::vector<std::string>(batch.begin(), batch.begin() + 4),
      ElementsAre("after_cancel_batch", "after_read", "after_batch", "after_train"));
}

TEST(Loop, CallbacksAreCalledByOrderAndOnlyForWhatTheyOverride) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(ShortEpochCallback(0.5));
  std::ostringstream out;
  learn.print_loop(out);
  EXPECT_THAT(out.str(), HasSubstr("after_read             Recorder\n"));
  EXPECT_THAT(out.str(), HasSubstr("before_batch           ShortEpochCallback BarlowTwins\n"));
  EXPECT_THAT(out.str(), HasSubstr("before_pred           \n"));
}

TEST(Loop, AFailureNamesCallbackEventEpochAndBatch) {
  Fixture f;
  f.spy->on_event = [](const std::string& event) {
    if (event == "after_pred") {
      throw std::runtime_error("no such thing");
    }
  };
  EXPECT_EQ(error_of([&] { f.learn.fit(1); }), "[Spy::after_pred] failed in epoch 0, training batch 0: no such thing");
  EXPECT_EQ(f.events.back(), "after_fit"); // what callbacks installed is taken away
  EXPECT_EQ(f.learn.loss_func, nullptr);
  f.spy->on_event = nullptr;
  f.learn.fit(1); // and the Learner can go on
}

TEST(Loop, AFailureAfterTheFitKeepsNobodyFromCleaningUp) {
  Fixture f;
  std::vector<std::string> others;
  f.learn.add(Spy(&others));
  f.spy->on_event = [](const std::string& event) {
    if (event == "after_fit") {
      throw std::runtime_error("no such thing");
    }
  };
  EXPECT_EQ(error_of([&] { f.learn.fit(1); }), "[Spy::after_fit] failed: no such thing");
  EXPECT_EQ(std::count(f.events.begin(), f.events.end(), "after_fit"), 1);
  EXPECT_EQ(std::count(others.begin(), others.end(), "after_fit"), 1);
  EXPECT_EQ(f.learn.loss_func, nullptr);
}

TEST(Loop, ACallbackThatRefusesIsNotThere) {
  struct Refusing : Callback {
    std::string name() const override {
      return "Refusing";
    }
    void added(Learner&) override {
      throw Error("[Refusing] not here");
    }
  };
  Fixture f;
  EXPECT_EQ(error_of([&] { f.learn.add(Refusing()); }), "[Refusing] not here");
  EXPECT_EQ(f.learn.find<Refusing>(), nullptr);
}

TEST(Loop, WhatWasFrozenNeedsAnotherOptimiser) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  auto first = learn.model->parameters()[0];
  first.requires_grad_(false);
  learn.fit(1);
  first.requires_grad_(true);
  EXPECT_THAT(
      error_of([&] { learn.fit(1); }), HasSubstr("'encoder.linear.weight' was frozen when the optimiser was made"));
  learn.opt.reset();
  const auto before = first.detach().clone();
  learn.fit(1);
  EXPECT_FALSE(first.equal(before));
}

TEST(Loop, ItsPositionIsThatOfTheNextTraining) {
  const auto at = [](const std::string& where, int64_t epoch, auto cancel) { // {in a fit, epoch, batch, steps, ...}
    Learner learn(small_data(), small_model(), quiet());
    std::vector<std::string> events;
    std::map<std::string, std::vector<int64_t>> positions;
    auto& spy = learn.add(Spy(&events));
    learn.add(BarlowTwins(small_pipelines()));
    spy.on_event = [&](const std::string& event) {
      if (event == "before_fit" || event == "before_epoch" || event == "after_epoch" || event == "after_fit") {
        for (const auto& [name, tensor] : learn.state().tensors) {
          if (name == "position") {
            const auto* first = tensor.template const_data_ptr<int64_t>();
            positions[event].assign(first, first + 5);
          }
        }
      }
      if (event == where && learn.epoch == epoch) {
        throw cancel;
      }
    };
    learn.fit(2);
    return positions;
  };
  auto whole = at("never", 0, CancelFit());
  EXPECT_THAT(whole["before_fit"], ElementsAre(1, 0, 0, 0, 0));
  EXPECT_THAT(whole["before_epoch"], ElementsAre(1, 1, 0, 3, 1));
  EXPECT_THAT(whole["after_epoch"], ElementsAre(1, 2, 0, 6, 2));
  EXPECT_THAT(whole["after_fit"], ElementsAre(1, 2, 0, 6, 2));
  EXPECT_THAT(at("before_epoch", 1, CancelFit())["after_fit"], ElementsAre(1, 1, 0, 3, 1));
  EXPECT_THAT(at("before_step", 0, CancelFit())["after_fit"], ElementsAre(1, 0, 1, 0, 0));
  EXPECT_THAT(at("before_step", 1, CancelEpoch())["after_epoch"], ElementsAre(1, 2, 0, 3, 2));
}

TEST(Loop, TrainsWithoutLabelsAndTheLossFalls) {
  Learner learn(small_data(64, 8, 16), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit(20, 1e-2);
  EXPECT_EQ(learn.recorder.losses.size(), 80U);
  EXPECT_EQ(learn.recorder.values.size(), 20U);
  EXPECT_LT(learn.recorder.losses.back(), learn.recorder.losses.front());
  EXPECT_TRUE(learn.recorder.values.back().valid_loss.has_value());
  EXPECT_EQ(learn.total_epochs, 20);
}

TEST(Loop, RepeatsToTheBitWhateverTheNumberOfWorkers) {
  const auto train = [](int64_t workers) {
    torch::manual_seed(3);
    const auto images = torch::rand({24, 1, 6, 6});
    Learner learn(
        DataLoaders(tensor_loader(images, {.batch_size = 4, .shuffle = true, .num_workers = workers})),
        small_model(),
        quiet());
    learn.add(BarlowTwins(small_pipelines()));
    learn.fit(3);
    return learn.recorder.raw_losses;
  };
  const auto expected = train(0);
  EXPECT_EQ(train(1), expected);
  EXPECT_EQ(train(3), expected);
}

TEST(Loop, EpochsGoOnWhereTheLastFitEnded) { // two fits of one epoch see the batches of one fit of two
  const auto losses = [](int fits) {
    Learner learn(small_data(), small_model(), quiet());
    learn.add(BarlowTwins(small_pipelines()));
    std::vector<double> all;
    for (int i = 0; i < fits; ++i) {
      learn.fit(2 / fits);
      all.insert(all.end(), learn.recorder.raw_losses.begin(), learn.recorder.raw_losses.end());
    }
    return all;
  };
  EXPECT_EQ(losses(1), losses(2));
}

TEST(Loop, OneBatchIsAStep) {
  Fixture f;
  f.learn.fit(1);
  const auto before = f.learn.model->parameters()[0].detach().clone();
  f.learn.get<BarlowTwins>().before_fit(f.learn);
  f.learn.training = true;
  f.learn.one_batch(f.learn.dls.train.epoch(7).next().value());
  f.learn.get<BarlowTwins>().after_fit(f.learn);
  EXPECT_FALSE(f.learn.model->parameters()[0].equal(before));
}

TEST(Loop, ShortEpochDoesTheFraction) {
  for (const auto& [fraction, steps] :
       {std::pair{0.001, 1U}, std::pair{0.5, 5U}, std::pair{0.51, 6U}, std::pair{1., 10U}}) {
    Learner learn(small_data(40, 4), small_model(), quiet());
    learn.add(ShortEpochCallback(fraction));
    learn.add(BarlowTwins(small_pipelines()));
    learn.fit(1);
    EXPECT_EQ(learn.recorder.raw_losses.size(), steps) << fraction;
  }
  EXPECT_THAT(error_of([] { ShortEpochCallback(0); }), HasSubstr("(0, 1]"));
}

TEST(Loop, ALastValidationSampleAloneIsLeftOut) {
  Learner learn(small_data(8, 5), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit(1);
  EXPECT_TRUE(std::isfinite(*learn.recorder.values[0].valid_loss));
}

// By hand: batches of four and of two samples.
TEST(Loop, TheValidationLossIsTheMeanOverSamples) {
  Learner learn(small_data(8, 6), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  struct Watch : Callback {
    double* sum;
    std::string name() const override {
      return "Watch";
    }
    void after_read(Learner& l) override {
      if (!l.values.training) {
        *sum += l.values.loss * static_cast<double>(l.values.samples);
      }
    }
  } watch;
  double sum = 0;
  watch.sum = &sum;
  learn.add(watch);
  learn.fit(1);
  EXPECT_NEAR(*learn.recorder.values[0].valid_loss, sum / 6, 1e-12 * sum);
}

TEST(Loop, AFitBeginsWithoutWhatTheLastOneLeft) {
  Learner learn(small_data(), small_model(), quiet()); // three batches of four
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(GradientAccumulation(8));
  learn.fit(1);
  EXPECT_FALSE(learn.opt->grads().empty()); // of the third batch
  struct Watch : Callback {
    std::string name() const override {
      return "Watch";
    }
    void before_fit(Learner& l) override {
      EXPECT_TRUE(l.opt->grads().empty());
    }
  };
  learn.add(Watch());
  learn.fit(1);
  EXPECT_NEAR(learn.recorder.losses[0], learn.recorder.raw_losses[0], 1e-9); // smoothing begins at the first
}

// The pixels of one batch are NaN.
DataLoaders poisoned_data() {
  auto images = torch::rand({8, 1, 6, 6});
  images[5].fill_(std::numeric_limits<float>::quiet_NaN());
  return DataLoaders(tensor_loader(images, {.batch_size = 4}));
}

TEST(Loop, ANonFiniteLossIsAnErrorBeforeTheStep) {
  Learner learn(poisoned_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  EXPECT_THROW(learn.fit(1), NonFiniteError);
  EXPECT_TRUE(learn.model->parameters()[0].isfinite().all().item<bool>());
}

TEST(Loop, ANonFiniteLossCanBeSkippedAndCounted) {
  auto options = quiet();
  options.non_finite = NonFinite::Skip;
  Learner learn(poisoned_data(), small_model(), options);
  learn.add(BarlowTwins(small_pipelines()));
  learn.fit(2);
  EXPECT_EQ(learn.skipped, 2);
  EXPECT_EQ(learn.recorder.raw_losses.size(), 2U);
  EXPECT_TRUE(learn.model->projector->parameters()[0].isfinite().all().item<bool>());
}

TEST(Loop, BadInputIsNamed) {
  Learner learn(small_data(), small_model(), quiet());
  EXPECT_THAT(error_of([&] { learn.fit(1); }), HasSubstr("no loss function"));
  EXPECT_THAT(error_of([&] { learn.get<BarlowTwins>(); }), HasSubstr("no callback"));
  learn.add(BarlowTwins(small_pipelines()));
  EXPECT_THAT(error_of([&] { learn.fit(0); }), HasSubstr("n_epoch"));
  EXPECT_THAT(error_of([&] { learn.fit(1, std::nan("")); }), HasSubstr("lr"));
  EXPECT_THAT(error_of([&] { learn.fit(1, -1); }), HasSubstr("lr"));

  Learner three_channels(
      DataLoaders(tensor_loader(torch::rand({8, 3, 6, 6}), {.batch_size = 4})), small_model(), quiet());
  three_channels.add(BarlowTwins(small_pipelines()));
  EXPECT_THAT(
      error_of([&] { three_channels.fit(1); }), HasSubstr("3 channels but the encoder 'linear' takes n_in = 1"));
  if (!torch::cuda::is_available()) {
    EXPECT_THAT(
        error_of([] { Learner(small_data(), small_model(), {.device = torch::kCUDA}); }), HasSubstr("use the CPU"));
  }
}

// ---- callbacks ----

struct BatchHook : Callback {
  explicit BatchHook(std::function<void(Learner&)> f) : hook(std::move(f)) {}
  std::string name() const override {
    return "BatchHook";
  }
  void before_loss(Learner& learn) override {
    hook(learn);
  }
  std::function<void(Learner&)> hook;
};

TEST(RollBackCallback, CountsLossesInARow) { // every other one is bad
  auto options = quiet();
  options.non_finite = NonFinite::Skip;
  Learner learn(DataLoaders(tensor_loader(torch::rand({24, 1, 6, 6}), {.batch_size = 4})), small_model(), options);
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(BatchHook{[](Learner& l) {
    if (l.train_iter % 2 == 1) {
      l.pred = l.pred * std::numeric_limits<float>::infinity();
    }
  }});
  const auto& roll_back = learn.add(RollBack({.after = 2}));
  learn.fit(1);
  EXPECT_EQ(learn.skipped, 3);
  EXPECT_EQ(roll_back.times(), 0);
}

TEST(GradientClipCallback, LeavesShortGradientsAlone) {
  const auto losses = [](bool clip) {
    auto options = quiet();
    options.opt_func = [](const torch::nn::Module& m) { return make_sgd(m); };
    Learner learn(small_data(), small_model(), options);
    learn.add(BarlowTwins(small_pipelines()));
    if (clip) {
      learn.add(GradientClip(1e6));
    }
    learn.fit(2, 0.01);
    return learn.recorder.raw_losses;
  };
  EXPECT_EQ(losses(true), losses(false));
}

TEST(BarlowTwinsCallback, NeedsTwoTrainingPipelines) {
  auto pipelines = small_pipelines();
  EXPECT_THAT(error_of([&] { BarlowTwins({pipelines[0]}); }), HasSubstr("two augmentation pipelines, received 1"));
  EXPECT_THAT(
      error_of([&] { BarlowTwins({pipelines[0], Pipeline(pipelines[1].transforms(), 1)}); }), HasSubstr("split_idx"));
}

TEST(BarlowTwinsCallback, PrintsItsPipelines) {
  ::testing::internal::CaptureStdout();
  const BarlowTwins barlow_twins(small_pipelines(), {.print_augs = true});
  EXPECT_EQ(
      ::testing::internal::GetCapturedStdout(),
      "Pipeline: RandomResizedCrop -> RandomHorizontalFlip\nPipeline: RandomResizedCrop -> RandomHorizontalFlip\n");
}

TEST(BarlowTwinsCallback, ShowDrawsTheViewsInRows) {
  TemporaryFolder folder;
  Learner learn(small_data(), small_model(), quiet());
  auto& barlow_twins = learn.add(BarlowTwins(small_pipelines()));
  const auto picture = barlow_twins.show(3, "");
  // 4x4 views are enlarged 28 times, margins of 4 between and around
  EXPECT_EQ(picture.sizes().vec(), (std::vector<int64_t>{1, 3 * 116 + 4, 2 * 116 + 4}));
  EXPECT_THAT(error_of([&] { barlow_twins.show(99, ""); }), HasSubstr("1 to 4"));
  learn.dls.train = learn.dls.train.shard({.rank = 1, .count = 2});
  EXPECT_EQ(barlow_twins.show(3, "").size(1), 2 * 116 + 4); // all that this process has
  EXPECT_THAT(error_of([] { BarlowTwins(small_pipelines()).show(1, ""); }), HasSubstr("learn.add"));
}

// The mean over the pairs (0,1), (0,s), (1,s) of a large view and another one, computed here from the same views.
TEST(BarlowTwinsCallback, MultiCropAveragesOverPairsWithALargeView) {
  torch::manual_seed(0);
  const auto crops = get_multi_crop_aug_pipelines({.size = 40}, {.small_crops = 2, .small_size = 32});
  Learner learn(
      DataLoaders(tensor_loader(torch::rand({4, 3, 48, 48}), {.batch_size = 4})),
      create_barlow_twins_model(create_encoder("xresnet18")),
      quiet());
  learn.add(BarlowTwins(crops.large, {.small_views = crops.small}));
  std::vector<torch::Tensor> z;
  double expected = 0;
  learn.add(BatchHook{[&](Learner& l) {
    z = l.pred.detach().chunk(4);
    for (const auto& [a, b] : std::vector<std::pair<size_t, size_t>>{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}}) {
      expected += barlow_twins_loss(z[a], z[b]).item<double>() / 5;
    }
  }});
  learn.fit(1);
  ASSERT_EQ(z.size(), 4U);
  EXPECT_NEAR(learn.recorder.raw_losses[0], expected, 1e-5 * expected);
}

TEST(JsonLogCallback, WritesStepsAndEpochs) {
  TemporaryFolder folder;
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(JsonLog(folder.path() / "new" / "log.jsonl"));
  learn.fit(2);
  std::ifstream in(folder.path() / "new" / "log.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(lines.size(), 8U); // 3 steps and an epoch, twice
  EXPECT_NEAR(
      lines[0]["loss"].get<double>(),
      lines[0]["on_diagonal"].get<double>() + 0.005 * lines[0]["off_diagonal"].get<double>(),
      1e-5);
  EXPECT_EQ(lines[4]["step"], 3);
  EXPECT_TRUE(lines[3].contains("valid_loss"));
}

TEST(JsonLogCallback, AFitWithoutAStepLeavesTheOldLogAndNoNewOne) {
  TemporaryFolder folder;
  std::ofstream(folder.path() / "old.jsonl") << "{}\n";
  Learner learn(small_data(), small_model(), quiet());
  for (const auto* name : {"old.jsonl", "new.jsonl"}) {
    learn.add(JsonLog(folder.path() / name));
  }
  error_of([&] { learn.fit(1); }); // no loss function
  EXPECT_EQ(fs::file_size(folder.path() / "old.jsonl"), 3U);
  EXPECT_FALSE(fs::exists(folder.path() / "new.jsonl"));
}

TEST(JsonLogCallback, AFolderThatCannotBeMadeIsAnErrorBeforeAnyStep) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(JsonLog("/dev/null/log.jsonl"));
  EXPECT_THAT(error_of([&] { learn.fit(1); }), HasSubstr("/dev/null/log.jsonl"));
  EXPECT_TRUE(learn.recorder.raw_losses.empty());
}

} // namespace
} // namespace barlow
