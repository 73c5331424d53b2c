// SPDX-License-Identifier: Apache-2.0
// Steps whose loss is not finite: left out, without a trace, and gone back from.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/ema.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/callbacks/roll_back.h>
#include <barlow/nn.h>

#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

LearnerOptions skipping(int64_t read_lag) {
  auto options = quiet();
  options.non_finite = NonFinite::Skip;
  options.read_lag = read_lag;
  return options;
}

void expect_finite(const torch::nn::Module& model, int64_t lag) {
  for (const auto& [name, tensor] : state_dict(model)) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name << ", lag " << lag;
  }
}

// After all others.
class AfterBatch : public Callback {
 public:
  explicit AfterBatch(std::function<void(Learner&)> f) : f_(std::move(f)) {}
  std::string name() const override {
    return "AfterBatch";
  }
  int order() const override {
    return 99;
  }
  void after_batch(Learner& learn) override {
    f_(learn);
  }

 private:
  std::function<void(Learner&)> f_;
};

TEST(ReadLag, ANonFiniteLossIsAnErrorAllTheSameAndTouchesNothing) {
  auto options = quiet();
  options.read_lag = 4;
  Learner learn(small_data(24, 4), small_model(), options);
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Poison({1}));
  EXPECT_THROW(learn.fit(1), NonFiniteError);
  for (const auto& p : learn.model->parameters()) {
    EXPECT_TRUE(p.isfinite().all().item<bool>());
  }
}

TEST(NonFiniteSkip, LeavesParametersAndRunningStatisticsAlone) {
  for (const int64_t lag : {0, 2}) {
    Learner learn(small_data(24, 4), small_model(), skipping(lag));
    learn.add(BarlowTwins(small_pipelines()));
    learn.add(Poison({1, 7}));
    learn.fit(2);
    EXPECT_EQ(learn.skipped, 2);
    EXPECT_EQ(learn.recorder.raw_losses.size(), 10U);
    expect_finite(*learn.model, lag);
  }
}

TEST(NonFiniteSkip, AnAccumulatedStepWithABadBatchIsLeftOut) {
  for (const int64_t lag : {0, 2}) {
    Learner learn(small_data(40, 4), small_model(), skipping(lag));
    learn.add(BarlowTwins(small_pipelines()));
    learn.add(GradientAccumulation(16));
    learn.add(Poison({1}));
    const auto before = learn.model->parameters()[0].detach().clone();
    learn.fit(1);
    EXPECT_EQ(learn.skipped, 1);
    EXPECT_FALSE(learn.model->parameters()[0].equal(before)); // the other steps are made
    expect_finite(*learn.model, lag);
  }
}

TEST(RollBackCallback, GoesBackToWhatACheckpointBrought) { // which comes after before_fit
  const auto options = skipping(0);
  Learner learn(small_data(16, 4), small_model(), options);
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Poison({0, 1}));
  learn.add(RollBack({.after = 2}));
  struct Brings : Callback {
    std::string name() const override {
      return "Brings";
    }
    void before_epoch(Learner& l) override {
      const torch::NoGradGuard no_grad;
      l.model->parameters()[0].fill_(0.25);
    }
    void before_batch(Learner& l) override {
      if (l.train_iter == 2) {
        EXPECT_TRUE(l.model->parameters()[0].eq(0.25).all().item<bool>());
      }
    }
  };
  learn.add(Brings());
  learn.fit(1);
  EXPECT_EQ(learn.get<RollBack>().times(), 1);
}

class RollBackWithLag : public ::testing::TestWithParam<int64_t> {};

TEST_P(RollBackWithLag, GoesBackAfterSomeInARow) {
  const auto options = skipping(GetParam());
  Learner learn(small_data(32, 4), small_model(), options);
  const auto& ema = learn.add(Ema({.decay = 0.5}));
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Poison({3, 4, 5}));
  auto& roll_back = learn.add(RollBack({.after = 3, .keep_every = 2}));
  std::vector<Tensor> at_two; // a parameter and its average
  const auto first = learn.model->parameters()[0];
  learn.add(AfterBatch([&](Learner& l) {
    if (l.train_iter == 2) {
      at_two = {first.detach().clone(), ema.state()[0].second.clone()};
    }
    if (l.train_iter == 6) {
      EXPECT_TRUE(first.equal(at_two.at(0)));
      EXPECT_TRUE(ema.state()[0].second.equal(at_two.at(1)));
    }
  }));
  ::testing::internal::CaptureStderr();
  learn.fit(1);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("back to the state of step 2"));
  EXPECT_EQ(roll_back.times(), 1);
  EXPECT_EQ(learn.skipped, 3);
}

TEST(RollBackCallback, GoesBackBeforeTheAveragesValidate) { // which exchange the parameters
  const auto options = skipping(8);
  Learner learn(small_data(24, 4), small_model(), options);
  const auto& ema = learn.add(Ema({.decay = 0.5, .validate = true}));
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Poison({3, 4, 5})); // the last ones
  const auto& roll_back = learn.add(RollBack({.after = 3, .keep_every = 2}));
  Tensor parameter, average;
  learn.add(AfterBatch([&](Learner& l) {
    if (l.training && l.train_iter == 2) {
      parameter = l.model->parameters()[0].detach().clone();
      average = ema.state()[0].second.clone();
    }
  }));
  learn.fit(1);
  EXPECT_EQ(roll_back.times(), 1);
  EXPECT_TRUE(learn.model->parameters()[0].equal(parameter));
  EXPECT_TRUE(ema.state()[0].second.equal(average));
}

INSTANTIATE_TEST_SUITE_P(Lags, RollBackWithLag, ::testing::Values(0, 2, 8));

TEST(RollBackCallback, NeedsBadStepsToBeSkipped) {
  Learner strict(small_data(), small_model(), quiet());
  strict.add(BarlowTwins(small_pipelines()));
  strict.add(RollBack());
  EXPECT_THAT(error_of([&] { strict.fit(1); }), HasSubstr("NonFinite::Skip"));
}

} // namespace
} // namespace barlow
