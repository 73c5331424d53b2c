// SPDX-License-Identifier: Apache-2.0
// Eight steps of training as fastai and the authors' program make them: tests/oracles/core/train_oracles.py.
#include <cmath>

#include <gtest/gtest.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/encoder.h>
#include <barlow/learner.h>
#include <barlow/nn.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

// Replaces whatever comes by given images.
class Given : public Transform {
 public:
  explicit Given(Tensor view) : view_(std::move(view)) {}
  std::string name() const override {
    return "Given";
  }
  Tensor apply(const Tensor&, const std::vector<std::vector<double>>&) const override {
    return view_;
  }

 private:
  Tensor view_;
};

Pipeline given(const Tensor& view) {
  return Pipeline({std::make_shared<Given>(view)});
}

Tensor numbers(const nlohmann::json& list) {
  return torch::tensor(list.get<std::vector<double>>(), torch::kDouble);
}

class Trajectories : public ::testing::TestWithParam<const char*> {
 protected:
  Oracle oracle_ = load_oracle("core/train");
  std::string run_ = GetParam();
  BarlowTwinsModel model_{nullptr};
  std::vector<double> smoothed_;

  static std::unique_ptr<Optimizer> optimizer(const torch::nn::Module& module, const nlohmann::json& run) {
    if (run[0] == "adam") {
      return make_adam(module);
    }
    if (run[0] == "sgd") {
      return make_sgd(module, {.momentum = 0.9, .weight_decay = 1e-6});
    }
    return make_lars(module, {.lr = run[3][0], .bias_lr = run[3][1].get<double>()});
  }

  // `nudge`: every parameter is first changed by up to that share of itself.
  Tensor losses(torch::ScalarType type, double nudge = 0) {
    const auto& config = oracle_.info["config"];
    const int64_t n = config["batch"], size = config["size"], steps = config["steps"];
    model_ = create_barlow_twins_model(
        create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = 1024});
    model_->to(type);
    fill_by_name(*model_);
    if (nudge > 0) {
      const torch::NoGradGuard no_grad;
      for (const auto& p : model_->named_parameters()) {
        p->mul_(1 + 2 * nudge * hashed("nudge of " + p.key(), p->sizes()));
      }
    }
    const auto x1 = hashed("x1", {n, 1, size, size}) * std::sqrt(12.);
    const auto x2 = x1 + 0.2 * hashed("x2", {n, 1, size, size});
    const auto& run = oracle_.info["runs"][run_]; // optimiser, forward, loss, rates
    LearnerOptions options{.device = torch::kCPU, .progress = false};
    options.lr = run[3].is_array() ? run[3][0].get<double>() : run[3].get<double>();
    options.opt_func = [&](const torch::nn::Module& module) { return optimizer(module, run); };
    Learner learn(DataLoaders(tensor_loader(torch::zeros({n * steps, 1, 2, 2}), {.batch_size = n})), model_, options);
    const bool official = run[2] == "official";
    learn.add(BarlowTwins(
        {given(x1.to(type)), given(x2.to(type))},
        {.lmb = official ? 0.0051 : 0.005,
         .eps = official ? 1e-5 : 0,
         .view_order = run[1] == "joint" ? ViewOrder::Concatenated : ViewOrder::Separate}));
    learn.fit(1);
    smoothed_ = learn.recorder.losses;
    return torch::tensor(learn.recorder.raw_losses, torch::kDouble);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Runs,
    Trajectories,
    ::testing::Values(
        "adam_joint",
        "adam_separate",
        "adam_gentle",
        "sgd_joint",
        "sgd_separate",
        "lars_joint",
        "lars_separate",
        "official",
        "official_gentle"),
    [](const auto& test) { return std::string(test.param); });

// 100 times what reordering the rows changes in float64, at least 1e-9; the file's own rule.
TEST_P(Trajectories, EqualFastaisInFloat64) {
  const auto got = losses(torch::kDouble);
  const auto& rounding = oracle_.info["float64_reordered"][run_];
  const auto allowed = (numbers(rounding["loss_rel_per_step"]) * 100).clamp_min(1e-9);
  const auto& expected = oracle_.at(run_ + "/loss64");
  EXPECT_TRUE(((got - expected).abs() <= allowed * expected).all().item<bool>()) << largest_difference(got, expected);

  const auto tensors = oracle_.info["tensors"].get<std::vector<std::string>>();
  const auto zero_gradients = oracle_.info["zero_gradients"].get<std::vector<std::string>>();
  const auto state = state_dict(*model_);
  const double norm_allowed = std::max(1e-9, 100 * rounding["norm_rel_max"].get<double>());
  ASSERT_EQ(state.size(), tensors.size());
  for (size_t i = 0; i < state.size(); ++i) {
    const auto& [name, tensor] = state[i];
    ASSERT_EQ(name, tensors[i]);
    if (std::find(zero_gradients.begin(), zero_gradients.end(), name) == zero_gradients.end()) {
      const auto norm = tensor.to(torch::kDouble).norm();
      EXPECT_TRUE(close_each(norm, oracle_.at(run_ + "/norm")[static_cast<int64_t>(i)], norm_allowed, 1e-12)) << name;
    }
  }
  if (oracle_.info["fastai"].contains(run_)) {
    const auto smooth = numbers(oracle_.info["fastai"][run_]["recorder_smooth_losses"]);
    EXPECT_TRUE(close_each(torch::tensor(smoothed_, torch::kDouble), smooth, 1e-5)); // fastai smooths in float32
  }
}

// 5e-6 for the first loss, then four times what fastai itself lost in float32, or what float64 loses of parameters that
// are nudged by eight float32 roundings, at this step or an earlier one: what is lost does not come back. (Fastai's
// numbers alone do not hold for fastai on another processor; with AVX-512 a loss differs by 4 % at the fourth step of
// lars_separate.)
TEST_P(Trajectories, FollowFastaisInFloat32) {
  const auto got = losses(torch::kFloat);
  const auto& expected = oracle_.at(run_ + "/loss64");
  constexpr double kNudge = 8 * 0x1p-24;
  const auto nudged = (losses(torch::kDouble, kNudge) - expected).abs() / expected;
  const auto fastais = numbers(oracle_.info["float32"][run_]["loss_rel_per_step"]);
  auto allowed = 4 * std::get<0>(at::maximum(fastais, nudged).cummax(0));
  allowed[0] = 5e-6;
  EXPECT_TRUE(((got - expected).abs() <= allowed * expected).all().item<bool>())
      << largest_difference(got, expected) << "\nrelative, fastai's, nudged, allowed\n"
      << at::stack({(got - expected).abs() / expected, fastais, nudged, allowed});
}

} // namespace
} // namespace barlow
