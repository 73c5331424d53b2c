// SPDX-License-Identifier: Apache-2.0
// Oracle files, finite differences, properties, and numbers worked by hand.
#include <barlow/loss.h>

#include <cmath>
#include <limits>

#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/error.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

struct Result {
  double loss = 0;
  Tensor g1, g2;
};

Result run(const Tensor& z1, const Tensor& z2, const LossOptions& options) {
  const auto a = z1.detach().clone().requires_grad_(), b = z2.detach().clone().requires_grad_();
  const auto terms = barlow_twins_loss_terms(a, b, options);
  terms.loss.backward();
  return {terms.loss.item<double>(), a.grad(), b.grad()};
}

struct Case {
  std::string key; // n5_d1024
  Tensor z1, z2; // float64
  double lmb = 0;
};

Case make_case(const std::string& key, double lmb) {
  int n = 0, d = 0;
  std::sscanf(key.c_str(), "n%d_d%d", &n, &d);
  const auto z1 = hashed(key + "/z1", {n, d}) * std::sqrt(12.);
  return {key, z1, 0.7 * z1 + 0.3 * (hashed(key + "/z2", {n, d}) * std::sqrt(12.)), lmb};
}

std::vector<Case> cases(const Oracle& oracle) {
  std::vector<Case> all;
  for (const auto& [key, lmb] : oracle.info["lambdas"].items()) {
    all.push_back(make_case(key, lmb));
  }
  return all;
}

void expect_gradient(const Oracle& oracle, const std::string& key, const Tensor& g, double tolerance, double floor) {
  if (oracle.tensors.count(key) != 0) {
    const auto scale = std::max(oracle.at(key).abs().max().item<double>(), floor / tolerance);
    EXPECT_TRUE(close_each(g, oracle.at(key), 0, tolerance * scale)) << key;
    return;
  }
  const double scale = oracle.at(key + "_absmax").item<double>();
  EXPECT_TRUE(close_each(g.narrow(0, 0, 2), oracle.at(key + "_rows"), 0, tolerance * scale)) << key;
  EXPECT_TRUE(close_each(g.norm().reshape({1}), oracle.at(key + "_norm"), tolerance)) << key;
  EXPECT_TRUE(close_each(g.abs().max().reshape({1}), oracle.at(key + "_absmax"), tolerance)) << key;
}

class LossRoutes : public ::testing::TestWithParam<LossRoute> {};
INSTANTIATE_TEST_SUITE_P(Routes, LossRoutes, ::testing::Values(LossRoute::Features, LossRoute::Samples));

// Tolerances: tests/oracles/core/loss.json, `tolerance`.
TEST_P(LossRoutes, EqualThePeersInFloat64) {
  const auto oracle = load_oracle("core/loss");
  for (const auto& c : cases(oracle)) {
    for (const auto& [peer, eps] :
         {std::pair{"selfsup", 0.}, std::pair{"official", 1e-5}, std::pair{"lightly", 1e-5}}) {
      const auto key = c.key + "/" + peer + "/";
      const auto r = run(c.z1, c.z2, {.lmb = c.lmb, .eps = eps, .route = GetParam()});
      const double expected = oracle.at(key + "loss").item<double>();
      EXPECT_NEAR(r.loss, expected, 1e-12 * expected) << key;
      expect_gradient(oracle, key + "g1", r.g1, 1e-11, 1e-10);
      expect_gradient(oracle, key + "g2", r.g2, 1e-11, 1e-10);
    }
  }
}

TEST_P(LossRoutes, StayWithinFourTimesThePeersOwnRoundingInFloat32) {
  const auto oracle = load_oracle("core/loss");
  for (const auto& c : cases(oracle)) {
    const auto key = c.key + "/selfsup";
    const auto& rounding = oracle.info["float32"][key];
    const auto r = run(c.z1.to(torch::kFloat), c.z2.to(torch::kFloat), {.lmb = c.lmb, .route = GetParam()});
    const double expected = oracle.at(key + "/loss").item<double>();
    EXPECT_NEAR(r.loss, expected, std::max(2e-6, 4 * rounding["loss_rel"].get<double>()) * expected) << key;
    if (c.z1.size(0) == 2) {
      continue; // the exact gradient is zero
    }
    expect_gradient(oracle, key + "/g1", r.g1, std::max(2e-5, 4 * rounding["g1_relmax"].get<double>()), 0);
    expect_gradient(oracle, key + "/g2", r.g2, std::max(2e-5, 4 * rounding["g2_relmax"].get<double>()), 0);
  }
}

// Central differences of the loss along random directions; error O(h^2) + rounding / h, both below 1e-7 here.
TEST_P(LossRoutes, GradientsAreThoseOfFiniteDifferences) {
  torch::manual_seed(1);
  for (const auto& [n, d] : {std::pair{3, 2}, std::pair{4, 7}, std::pair{9, 5}, std::pair{6, 6}}) {
    const auto z1 = torch::randn({n, d}, torch::kDouble), z2 = torch::randn({n, d}, torch::kDouble);
    const LossOptions options{.lmb = 0.3, .route = GetParam()};
    const auto r = run(z1, z2, options);
    for (int i = 0; i < 5; ++i) {
      const auto u = torch::randn_like(z1), v = torch::randn_like(z2);
      const double h = 1e-5;
      const double slope =
          (run(z1 + h * u, z2 + h * v, options).loss - run(z1 - h * u, z2 - h * v, options).loss) / (2 * h);
      const double expected = ((r.g1 * u).sum() + (r.g2 * v).sum()).item<double>();
      EXPECT_NEAR(slope, expected, 1e-6 * (1 + std::abs(expected))) << n << "x" << d;
    }
  }
}

TEST_P(LossRoutes, IgnoreScaleAndShiftOfEachFeature) {
  torch::manual_seed(2);
  const auto z1 = torch::randn({12, 6}, torch::kDouble), z2 = torch::randn({12, 6}, torch::kDouble);
  const auto scale = torch::rand({6}, torch::kDouble) * 100 + 0.01, shift = torch::randn({6}, torch::kDouble) * 50;
  const LossOptions options{.route = GetParam()};
  EXPECT_NEAR(run(z1 * scale + shift, z2, options).loss, run(z1, z2, options).loss, 1e-10);
}

TEST_P(LossRoutes, ConstantColumnCountsAsZero) {
  torch::manual_seed(3);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    auto z1 = torch::randn({8, 4}, type);
    const auto z2 = torch::randn({8, 4}, type);
    z1.select(1, 2).fill_(0.1);
    const auto r = run(z1, z2, {.route = GetParam()});
    // By hand: row 2 of C is zero, so it gives 1 on the diagonal and nothing else.
    const auto a = (z1 - z1.mean(0)) / z1.std(0, false), b = (z2 - z2.mean(0)) / z2.std(0, false);
    auto c = a.t().mm(b) / 8;
    c.select(0, 2).zero_();
    const auto off = c.square().sum() - c.diagonal().square().sum();
    const double expected = ((c.diagonal() - 1).square().sum() + 0.005 * off).item<double>();
    EXPECT_NEAR(r.loss, expected, 1e-5);
    EXPECT_TRUE(r.g1.isfinite().all().item<bool>());
    EXPECT_EQ(r.g1.select(1, 2).abs().max().item<double>(), 0);
  }
}

TEST_P(LossRoutes, SurviveExtremeScales) {
  torch::manual_seed(4);
  const auto z1 = torch::randn({16, 8}), z2 = torch::randn({16, 8});
  const LossOptions options{.route = GetParam()};
  const double expected = run(z1, z2, options).loss;
  for (const double scale : {1e-30, 1e-6, 1e6, 1e30}) {
    const auto r = run(z1 * scale, z2 / scale, options);
    EXPECT_NEAR(r.loss, expected, 2e-6 * expected) << scale;
    EXPECT_TRUE(r.g1.isfinite().all().item<bool>()) << scale;
  }
}

TEST_P(LossRoutes, ComputeInFloat32UnderAutocastAndForHalfTypes) {
  torch::manual_seed(5);
  const auto z1 = torch::randn({32, 24}), z2 = torch::randn({32, 24});
  const LossOptions options{.route = GetParam()};
  const double expected = run(z1, z2, options).loss;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const auto under_autocast = run(z1, z2, options);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(under_autocast.loss, expected);
  for (const auto type : {torch::kBFloat16, torch::kHalf}) {
    const auto h1 = z1.to(type), h2 = z2.to(type);
    const auto r = run(h1, h2, options);
    EXPECT_NEAR(r.loss, run(h1.to(torch::kFloat), h2.to(torch::kFloat), options).loss, 1e-6 * expected);
    EXPECT_EQ(r.g1.scalar_type(), type);
  }
}

TEST(Loss, RoutesAgree) {
  torch::manual_seed(6);
  for (const auto& [n, d] : {std::pair{2, 1}, std::pair{5, 64}, std::pair{64, 5}, std::pair{33, 33}}) {
    const auto z1 = torch::randn({n, d}), z2 = 0.5 * z1 + torch::randn({n, d});
    const auto f = run(z1, z2, {.route = LossRoute::Features}), s = run(z1, z2, {.route = LossRoute::Samples});
    EXPECT_NEAR(f.loss, s.loss, 2e-6 * f.loss) << n << "x" << d;
    EXPECT_TRUE(close_each(s.g1, f.g1, 0, 2e-5 * std::max(f.g1.abs().max().item<double>(), 1e-3))) << n << "x" << d;
  }
}

TEST(Loss, TwoSamplesByHand) { // standardised, two samples are +1 and -1: C_ij = +1 or -1
  const auto z1 = torch::tensor({{1., 5.}, {3., 2.}}), z2 = torch::tensor({{0., 1.}, {7., 2.}});
  const auto terms = barlow_twins_loss_terms(z1, z2, {.lmb = 0.1});
  EXPECT_NEAR(terms.on_diagonal.item<double>(), 0 + 4, 1e-6);
  EXPECT_NEAR(terms.off_diagonal.item<double>(), 2, 1e-6);
  EXPECT_NEAR(barlow_twins_loss(z1, z2, 0.1).item<double>(), 4.2, 1e-6);
}

// The same, by N - 1: every C_ij is half as large.
TEST_P(LossRoutes, UnbiasedCorrelationsShrinkByHand) {
  const auto z1 = torch::tensor({{1., 5.}, {3., 2.}}), z2 = torch::tensor({{0., 1.}, {7., 2.}});
  const auto terms = barlow_twins_loss_terms(z1, z2, {.lmb = 0.1, .unbiased = true, .route = GetParam()});
  EXPECT_NEAR(terms.on_diagonal.item<double>(), 0.25 + 2.25, 1e-6);
  EXPECT_NEAR(terms.off_diagonal.item<double>(), 2 * 0.25, 1e-6);
}

TEST(Loss, PermutedFeaturesAndSamplesChangeNothing) {
  torch::manual_seed(7);
  const auto z1 = torch::randn({10, 6}, torch::kDouble), z2 = torch::randn({10, 6}, torch::kDouble);
  const auto features = torch::randperm(6), samples = torch::randperm(10);
  const double loss = barlow_twins_loss(z1, z2).item<double>();
  EXPECT_NEAR(
      barlow_twins_loss(z1.index_select(1, features), z2.index_select(1, features)).item<double>(), loss, 1e-12);
  EXPECT_NEAR(barlow_twins_loss(z1.index_select(0, samples), z2.index_select(0, samples)).item<double>(), loss, 1e-12);
}

TEST(Loss, OnlyOneViewMayNeedTheGradient) {
  torch::manual_seed(8);
  const auto z1 = torch::randn({6, 9}, torch::kDouble), z2 = torch::randn({6, 9}, torch::kDouble);
  const auto both = run(z1, z2, {});
  const auto b = z2.clone().requires_grad_();
  barlow_twins_loss(z1, b).backward();
  EXPECT_TRUE(close_to_scale(b.grad(), both.g2, 1e-12));
}

TEST(Loss, StridedEmbeddingsAreTheSame) {
  torch::manual_seed(9);
  const auto whole = torch::randn({12, 20}, torch::kDouble);
  const auto z1 = whole.slice(1, 0, 20, 2), z2 = whole.slice(1, 1, 20, 2);
  EXPECT_EQ(
      barlow_twins_loss(z1, z2).item<double>(), barlow_twins_loss(z1.contiguous(), z2.contiguous()).item<double>());
}

TEST(Loss, NoSquareOfTheFeaturesIsAllocatedForFewSamples) {
  const int64_t n = 4, d = 60000; // D x D would be 14 GB
  EXPECT_GT(barlow_twins_loss(torch::randn({n, d}), torch::randn({n, d})).item<double>(), 0);
}

TEST(Loss, ExpectedStart) {
  EXPECT_DOUBLE_EQ(expected_initial_loss(5, 1024), 1024 + 0.005 * 1024 * 1023 / 5);
}

TEST(Loss, BadInputIsNamed) {
  using ::testing::HasSubstr;
  const auto z = torch::randn({4, 3});
  const auto message = [](const Tensor& a, const Tensor& b, double lmb = 0.005) {
    return error_of([&] { barlow_twins_loss(a, b, lmb); });
  };
  EXPECT_THAT(message(z, torch::randn({4, 2})), HasSubstr("[barlow_twins_loss] embeddings must be two [N,D] tensors"));
  EXPECT_THAT(message(z, torch::randn({4})), HasSubstr("[4]"));
  EXPECT_THAT(message(z, {}), HasSubstr("an undefined tensor"));
  EXPECT_THAT(message(z.to(torch::kLong), z.to(torch::kLong)), HasSubstr("floating"));
  EXPECT_THAT(message(z, z.to(torch::kDouble)), HasSubstr("one floating type"));
  EXPECT_THAT(message(z.narrow(0, 0, 1), z.narrow(0, 0, 1)), HasSubstr("at least 2 samples, received N = 1"));
  EXPECT_THAT(message(torch::randn({4, 0}), torch::randn({4, 0})), HasSubstr("at least 1 feature"));
  EXPECT_THAT(message(z, z, -1), HasSubstr("lmb"));
  EXPECT_THAT(message(z, z, std::nan("")), HasSubstr("lmb"));
}

TEST(Loss, NonFiniteEmbeddingsAreATypedError) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    auto z = torch::randn({8, 4});
    z[3][1] = bad;
    EXPECT_THROW(barlow_twins_loss(z, torch::randn({8, 4})), NonFiniteError);
    const auto terms = barlow_twins_loss_terms(z, torch::randn({8, 4}), {.check_finite = false});
    EXPECT_FALSE(std::isfinite(terms.loss.item<double>()));
  }
}

} // namespace
} // namespace barlow
