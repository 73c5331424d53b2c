// SPDX-License-Identifier: Apache-2.0
// A loop in float64 as the reference, and the rule of the parameter groups against fastai's own list.
#include <barlow/optim.h>

#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/model.h>
#include <barlow/nn.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

constexpr int kSteps = 5;
constexpr double kRounding = 1e-13; // float64, some ten operations a step

// Five steps of an optimiser over two parameters, the second one spared; `formula` makes the same, one at a time:
// (t, p, g, first state, second state, is spared) -> p.
using Formula = std::function<Tensor(int, const Tensor&, const Tensor&, Tensor&, Tensor&, bool)>;

void expect_formula(
    const std::function<std::unique_ptr<Optimizer>(std::vector<ParamGroup>)>& make,
    double lr,
    double decay,
    const Formula& formula) {
  torch::manual_seed(0);
  std::vector<Tensor> params{
      torch::randn({7, 3}, torch::kDouble).requires_grad_(), torch::randn({5}, torch::kDouble).requires_grad_()};
  const auto optimizer = make(
      {{.params = {params[0]}, .lr = lr, .weight_decay = decay},
       {.params = {params[1]}, .lr = lr / 2, .lr_mult = 0.5, .adapt = false}});
  std::vector<Tensor> expected{params[0].detach().clone(), params[1].detach().clone()}, first, second;
  for (const auto& p : expected) {
    first.push_back(torch::zeros_like(p));
    second.push_back(torch::zeros_like(p));
  }
  for (int t = 1; t <= kSteps; ++t) {
    for (size_t i = 0; i < 2; ++i) {
      const auto g = torch::randn_like(expected[i]);
      params[i].mutable_grad() = g.clone();
      expected[i] = formula(t, expected[i], g, first[i], second[i], i == 1);
    }
    optimizer->step();
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(close_to_scale(params[i], expected[i], kRounding)) << "step " << t << ", parameter " << i;
    }
  }
}

template <class O, class Options>
auto maker(const Options& options) {
  return [options](std::vector<ParamGroup> groups) { return std::make_unique<O>(std::move(groups), options); };
}

// Adam's step without its rate.
Tensor adam_step(const AdamOptions& o, int t, const Tensor& g, Tensor& m, Tensor& v) {
  m = o.mom * m + (1 - o.mom) * g;
  v = o.sqr_mom * v + (1 - o.sqr_mom) * g * g;
  return (m / (1 - std::pow(o.mom, t))) / ((v / (1 - std::pow(o.sqr_mom, t))).sqrt() + o.eps);
}

TEST(Adam, EqualsItsFormula) {
  const AdamOptions o{.lr = 0.01, .wd = 0.1};
  expect_formula(
      maker<Adam>(o), o.lr, o.wd, [&](int t, const Tensor& p, const Tensor& g, Tensor& m, Tensor& v, bool spared) {
        const double lr = spared ? o.lr / 2 : o.lr;
        return p * (1 - (spared ? 0 : lr * o.wd)) - lr * adam_step(o, t, g, m, v);
      });
}

TEST(Sgd, EqualsItsFormula) {
  for (const bool nesterov : {false, true}) {
    const SgdOptions o{.lr = 0.1, .momentum = 0.8, .weight_decay = 0.05, .nesterov = nesterov};
    expect_formula(
        maker<Sgd>(o),
        o.lr,
        o.weight_decay,
        [&](int, const Tensor& p, const Tensor& g, Tensor& v, Tensor&, bool spared) {
          const auto d = g + (spared ? 0 : o.weight_decay) * p;
          v = o.momentum * v + d;
          return p - (spared ? o.lr / 2 : o.lr) * (nesterov ? d + o.momentum * v : v);
        });
  }
}

TEST(Lars, EqualsItsFormulas) {
  for (const bool clip : {false, true}) {
    const LarsOptions o = clip ? LarsOptions::solo_learn() : LarsOptions{.weight_decay = 0.1};
    expect_formula(
        maker<Lars>(o),
        o.lr,
        o.weight_decay,
        [&](int, const Tensor& p, const Tensor& g, Tensor& v, Tensor&, bool spared) {
          const auto d = g + (spared ? 0 : o.weight_decay) * p;
          auto q = torch::ones({}, torch::kDouble);
          if (!spared) {
            q = clip ? (o.eta * p.norm() / (g.norm() + o.weight_decay * p.norm() + o.eps) / o.lr).clamp_max(1)
                     : o.eta * p.norm() / d.norm();
          }
          v = o.momentum * v + q * d;
          return p - (spared ? o.lr / 2 : o.lr) * v;
        });
  }
}

TEST(Lars, ZeroParametersTakeSgdsStep) {
  auto p = torch::zeros({3}).requires_grad_();
  Lars lars({{.params = {p}, .lr = 0.5}});
  p.mutable_grad() = torch::ones({3});
  lars.step();
  EXPECT_TRUE(p.detach().equal(torch::full({3}, -0.5)));
}

TEST(Lamb, EqualsItsFormula) {
  const AdamOptions o{.lr = 0.1, .wd = 0.1};
  expect_formula(
      maker<Lamb>(o), o.lr, o.wd, [&](int t, const Tensor& p, const Tensor& g, Tensor& m, Tensor& v, bool spared) {
        const double lr = spared ? o.lr / 2 : o.lr;
        const auto decayed = p * (1 - (spared ? 0 : lr * o.wd)), s = adam_step(o, t, g, m, v);
        const auto q = spared ? torch::ones({}, torch::kDouble) : (decayed.norm() / s.norm()).clamp_max(10);
        return decayed - lr * q * s;
      });
}

// By hand: Adam's first step of a constant gradient is one everywhere, here for parameters of length 0, 100 and 2.
TEST(Lamb, TheRatioIsOneForZerosAndTenAtMost) {
  std::vector<Tensor> params;
  for (const double value : {0., 50., 1.}) {
    params.push_back(torch::full({4}, value, torch::kDouble).requires_grad_());
    params.back().mutable_grad() = torch::full({4}, 3, torch::kDouble);
  }
  Lamb lamb({{.params = params, .lr = 0.01}}, {.eps = 0});
  lamb.step();
  EXPECT_NEAR(params[0][0].item<double>(), -0.01, 1e-12);
  EXPECT_NEAR(params[1][0].item<double>(), 50 - 10 * 0.01, 1e-12);
  EXPECT_NEAR(params[2][0].item<double>(), 1 - 0.01, 1e-12);
}

// ---- what all of them do ----

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Optimizer>(std::vector<ParamGroup>)> make;
};

class EveryOptimizer : public ::testing::TestWithParam<Kind> {
 protected:
  Tensor p_ = [] {
    torch::manual_seed(2);
    return torch::randn({4, 3, 3, 3}).requires_grad_();
  }();

  std::unique_ptr<Optimizer> make() {
    return GetParam().make({{.params = {p_}, .lr = 0.1, .weight_decay = 0.01}});
  }
  void step(Optimizer& optimizer, int t, const Tensor& found_inf = {}) {
    torch::manual_seed(t);
    p_.mutable_grad() = torch::randn({4, 3, 3, 3});
    optimizer.step(found_inf);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    EveryOptimizer,
    ::testing::Values(
        Kind{"adam", maker<Adam>(AdamOptions{})},
        Kind{"sgd", maker<Sgd>(SgdOptions{.momentum = 0.9})},
        Kind{"lars", maker<Lars>(LarsOptions{})},
        Kind{"lars_clipped", maker<Lars>(LarsOptions::solo_learn())},
        Kind{"lamb", maker<Lamb>(AdamOptions{})}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_P(EveryOptimizer, GoesOnFromItsState) {
  auto first = make();
  step(*first, 1);
  step(*first, 2);
  const auto saved = first->state();
  EXPECT_FALSE(saved.empty());
  NamedTensors copies;
  for (const auto& [name, tensor] : saved) {
    copies.emplace_back(name, tensor.clone());
  }
  const auto at_two = p_.detach().clone();
  step(*first, 3);
  const auto expected = p_.detach().clone();

  p_.data().copy_(at_two);
  p_.set_data(p_.detach().contiguous(at::MemoryFormat::ChannelsLast)); // as an encoder may turn its weights
  auto second = make();
  second->load_state(copies);
  step(*second, 3);
  EXPECT_TRUE(p_.detach().contiguous().equal(expected)) << largest_difference(p_, expected);
}

TEST_P(EveryOptimizer, LoadsAllOrNothing) {
  auto optimizer = make();
  step(*optimizer, 1);
  NamedTensors other;
  for (const auto& [name, tensor] : optimizer->state()) {
    other.emplace_back(name, torch::zeros_like(tensor));
  }
  const auto before = optimizer->state()[0].second.clone();
  other.emplace_back("0.0.spin", torch::zeros({1}));
  EXPECT_THAT(error_of([&] { optimizer->load_state(other); }), ::testing::HasSubstr("'0.0.spin'"));
  other.pop_back();
  other[0].second = torch::zeros({2});
  EXPECT_THAT(error_of([&] { optimizer->load_state(other); }), ::testing::HasSubstr("not its parameter's shape"));
  EXPECT_TRUE(optimizer->state()[0].second.equal(before));
}

TEST_P(EveryOptimizer, BeginsAnewFromTheStateOfTheStart) {
  auto fresh = make();
  const auto of_the_start = fresh->state(); // nothing
  step(*fresh, 1);
  const auto expected = p_.detach().clone();
  auto used = make();
  for (const int t : {5, 6}) {
    step(*used, t);
  }
  p_.data().copy_([] {
    torch::manual_seed(2);
    return torch::randn({4, 3, 3, 3});
  }());
  used->load_state(of_the_start);
  step(*used, 1);
  EXPECT_TRUE(p_.detach().equal(expected)) << largest_difference(p_, expected);
}

TEST_P(EveryOptimizer, AFlaggedStepChangesNothing) {
  auto optimizer = make();
  step(*optimizer, 1, torch::zeros({}));
  const auto before = p_.detach().clone();
  NamedTensors state;
  for (const auto& [name, tensor] : optimizer->state()) {
    state.emplace_back(name, tensor.clone());
  }
  p_.mutable_grad() = torch::full({4, 3, 3, 3}, std::nan(""));
  optimizer->step(torch::ones({}));
  EXPECT_TRUE(p_.detach().equal(before));
  for (const auto& [name, tensor] : optimizer->state()) {
    const auto old = std::find_if(state.begin(), state.end(), [&](const auto& s) { return s.first == name; });
    EXPECT_TRUE(tensor.equal(old->second)) << name;
  }
}

TEST_P(EveryOptimizer, RatesOnTheDeviceAreTheSame) {
  auto plain = make();
  step(*plain, 1);
  plain->set_lr(0.05);
  step(*plain, 2);
  const auto expected = p_.detach().clone();
  torch::manual_seed(2);
  p_.data().copy_(torch::randn({4, 3, 3, 3}));
  auto device = make();
  device->use_device_rates();
  step(*device, 1);
  device->set_lr(0.05);
  device->update_device_rates();
  step(*device, 2);
  EXPECT_TRUE(close_to_scale(p_, expected, 1e-6)); // the rate is float32 there
}

TEST(Adam, TakesGradientsThatLieInMemoryOtherwise) {
  torch::manual_seed(1);
  const auto start = torch::randn({4, 3, 3, 3}), g = torch::randn({4, 3, 3, 3});
  const auto stepped = [&](at::MemoryFormat of_p, at::MemoryFormat of_g) {
    auto p = start.clone().contiguous(of_p).requires_grad_();
    Adam adam({{.params = {p}}});
    p.mutable_grad() = g.contiguous(of_g);
    adam.step();
    return p.detach().contiguous();
  };
  const auto c = at::MemoryFormat::Contiguous, l = at::MemoryFormat::ChannelsLast;
  EXPECT_TRUE(stepped(c, l).equal(stepped(c, c)));
  EXPECT_TRUE(stepped(l, c).equal(stepped(c, c)));
  EXPECT_TRUE(stepped(l, l).equal(stepped(c, c)));
}

TEST(Adam, LeavesParametersWithoutGradientAlone) {
  auto a = torch::ones({2}).requires_grad_(), b = torch::ones({2}).requires_grad_();
  Adam adam({{.params = {a, b}, .lr = 0.1, .weight_decay = 0.5}});
  a.mutable_grad() = torch::ones({2});
  adam.step();
  EXPECT_LT(a[0].item<double>(), 1);
  EXPECT_EQ(b[0].item<double>(), 1);
  adam.zero_grad();
  EXPECT_FALSE(a.grad().defined());
}

TEST(ParamGroups, SpareWhatFastaiSpares) {
  const auto oracle = load_oracle("core/train");
  auto model = create_barlow_twins_model(
      create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = 1024});
  const auto groups = param_groups(*model, 1e-3, 0.01);
  ASSERT_EQ(groups.size(), 2U);
  std::vector<std::string> spared;
  for (const auto& item : model->named_parameters()) {
    for (const auto& p : groups[1].params) {
      if (p.is_same(item.value())) {
        spared.push_back(item.key());
      }
    }
  }
  EXPECT_THAT(
      spared,
      ::testing::UnorderedElementsAreArray(
          oracle.info["fastai"]["adam_joint"]["no_weight_decay"].get<std::vector<std::string>>()));
  EXPECT_EQ(groups[0].params.size() + groups[1].params.size(), model->parameters().size());
  EXPECT_EQ(groups[0].weight_decay, 0.01);
  EXPECT_EQ(groups[1].weight_decay, 0);
}

TEST(ParamGroups, ThePapersRuleSparesOneDimension) {
  const auto model = create_mlp_module(4, {.hidden_size = 3, .projection_size = 2, .nlayers = 2});
  const auto lars = make_lars(*model, {.lr = 0.2, .bias_lr = 0.0048});
  ASSERT_EQ(lars->groups().size(), 2U);
  const auto &weights = lars->groups()[0], &spared = lars->groups()[1];
  EXPECT_EQ(weights.params.size(), 2U);
  EXPECT_EQ(spared.params.size(), 4U); // two biases, the norm's weight and bias
  EXPECT_TRUE(weights.adapt);
  EXPECT_FALSE(spared.adapt);
  EXPECT_EQ(spared.weight_decay, 0);
  lars->set_lr(0.1);
  EXPECT_DOUBLE_EQ(spared.lr, 0.0024);
  EXPECT_EQ(make_sgd(*model)->groups().size(), 1U);
}

TEST(Optimizer, BadInputIsNamed) {
  const auto p = torch::ones({2}).requires_grad_();
  EXPECT_THAT(error_of([&] { Adam({{.params = {p, p}}}); }), ::testing::HasSubstr("twice"));
  EXPECT_THAT(
      error_of([&] { Adam(std::vector<ParamGroup>{{.params = {}}}); }),
      ::testing::HasSubstr("every group must have parameters"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p * 2}}}); }), ::testing::HasSubstr("leaf"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p}}}, {.mom = 1}); }), ::testing::HasSubstr("mom"));
  EXPECT_THAT(error_of([&] { Sgd({{.params = {p}}}, {.nesterov = true}); }), ::testing::HasSubstr("nesterov"));
  EXPECT_THAT(error_of([&] { Lars({{.params = {p}}}, {.eta = 0}); }), ::testing::HasSubstr("eta"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p}}}).set_momentum(1); }), ::testing::HasSubstr("momentum"));
  EXPECT_THAT(error_of([&] { Adam({{.params = {p}}}).set_lr(std::nan("")); }), ::testing::HasSubstr("lr"));
}

} // namespace
} // namespace barlow
