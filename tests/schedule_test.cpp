// SPDX-License-Identifier: Apache-2.0
// The peers' schedules, recorded step by step: tests/oracles/core/sched_oracles.py.
#include <barlow/schedule.h>

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;

torch::Tensor values_of(const Schedule& schedule, int64_t steps) {
  std::vector<double> values;
  values.reserve(static_cast<size_t>(steps));
  for (int64_t step = 0; step < steps; ++step) {
    values.push_back(schedule(step, steps));
  }
  return torch::tensor(values, torch::kDouble);
}

class Schedules : public ::testing::Test {
 protected:
  Oracle oracle_ = load_oracle("core/sched");
  double config(const char* key) const {
    return oracle_.info["config"][key].get<double>();
  }
  int64_t count(const char* key) const {
    return oracle_.info["config"][key].get<int64_t>();
  }
};

TEST_F(Schedules, EqualFastais) { // which computes its position in float32
  const auto steps = count("epochs") * count("steps");
  const auto lr = config("lr_max");
  EXPECT_TRUE(close_each(values_of(one_cycle(lr), steps), oracle_.at("one_cycle_lr"), 1e-5));
  EXPECT_TRUE(close_each(values_of(one_cycle_momentum(), steps), oracle_.at("one_cycle_mom"), 1e-5));
  EXPECT_TRUE(close_each(values_of(flat_cosine(lr), steps), oracle_.at("flat_cos_lr"), 1e-5));
}

TEST_F(Schedules, EqualTheAuthors) {
  const auto steps = count("o_epochs") * count("o_steps");
  for (const auto& [key, rate] : {std::pair{"official_weights", 0.2}, std::pair{"official_biases", 0.0048}}) {
    const double lr = rate * config("o_batch") / 256;
    const auto schedule = warmup_cosine(lr, {.warmup_steps = 10 * count("o_steps"), .end = 0.001 * lr});
    EXPECT_TRUE(close_each(values_of(schedule, steps), oracle_.at(key), 1e-12)) << key;
  }
}

TEST_F(Schedules, EqualLightlys) {
  const auto steps = count("l_max");
  const auto with = warmup_cosine(1, {.warmup_steps = count("l_warm"), .end = 0.001, .ramp = Ramp::Lightly});
  const auto without = warmup_cosine(1, {.end = 0.001, .ramp = Ramp::Lightly});
  EXPECT_TRUE(close_each(values_of(with, steps), oracle_.at("lightly_warmup"), 1e-12));
  EXPECT_TRUE(close_each(values_of(without, steps), oracle_.at("lightly_nowarmup"), 1e-12));
}

TEST(WarmupCosine, SoloLearnsWarmupEndsAtTheFullRate) {
  const auto schedule = warmup_cosine(0.3, {.warmup_steps = 5, .warmup_start = 0.1, .ramp = Ramp::SoloLearn});
  const auto v = values_of(schedule, 9);
  EXPECT_TRUE(close_each(v.narrow(0, 0, 6), torch::tensor({0.1, 0.15, 0.2, 0.25, 0.3, 0.3}, torch::kDouble), 1e-12));
  EXPECT_NEAR(v[7].item<double>(), 0.15, 1e-12); // half way down
}

TEST(WarmupCosine, AFitShorterThanItsWarmupEndsInIt) {
  const auto v = values_of(warmup_cosine(1, {.warmup_steps = 100}), 10);
  EXPECT_NEAR(v[9].item<double>(), 0.09, 1e-12);
}

TEST(StepDecay, FallsAtItsMilestones) {
  const auto v = values_of(step_decay(1, {0.6, 0.8}), 10);
  EXPECT_TRUE(close_each(v, torch::tensor({1., 1., 1., 1., 1., 1., .1, .1, .01, .01}, torch::kDouble), 1e-12));
}

TEST(ByEpoch, ChangesBetweenEpochsOnly) {
  const auto v = values_of(by_epoch(warmup_cosine(1, {}), 2), 6);
  EXPECT_TRUE(close_each(v, torch::tensor({1., 1., 1., .5, .5, .5}, torch::kDouble), 1e-12));
}

TEST(LearningRates, FollowTheAuthorsTableAndTheLinearRule) {
  EXPECT_DOUBLE_EQ(authors_lr(128).lr, 0.7 * 128 / 256);
  EXPECT_DOUBLE_EQ(authors_lr(2048).lr, 0.2 * 2048 / 256);
  const double between = authors_lr(362).lr / 362 * 256; // 362 is half way from 256 to 512 in the logarithm
  EXPECT_NEAR(between, 0.35, 1e-3);
  EXPECT_THAT(authors_lr(256).source, HasSubstr("base rate 0.4 of the authors' table for batch 256"));
  EXPECT_DOUBLE_EQ(linear_lr(0.06, 256, 128).lr, 0.12);
  EXPECT_THAT(linear_lr(0.06, 256, 128).source, HasSubstr("0.06 times batch 256 / 128"));
}

TEST(ScheduleErrors, AreNamed) {
  EXPECT_THAT(error_of([] { one_cycle(std::nan("")); }), HasSubstr("[one_cycle]"));
  EXPECT_THAT(error_of([] { one_cycle(1, {.pct_start = 2}); }), HasSubstr("pct_start"));
  EXPECT_THAT(error_of([] { flat_cosine(1, {.div_final = 0}); }), HasSubstr("divisors"));
  EXPECT_THAT(error_of([] { warmup_cosine(1, {.warmup_steps = -1}); }), HasSubstr("warmup_steps"));
  EXPECT_THAT(error_of([] { warmup_cosine(1, {.end = 2}); }), HasSubstr("end"));
  EXPECT_THAT(error_of([] { step_decay(1, {60}); }), HasSubstr("shares"));
  EXPECT_THAT(error_of([] { authors_lr(1); }), HasSubstr("batch_size"));
}

} // namespace
} // namespace barlow
