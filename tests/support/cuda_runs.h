// SPDX-License-Identifier: Apache-2.0
// Short runs on CUDA that can be compared with one another.
#pragma once

#include <functional>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/barlow.h>
#include <barlow/nn.h>

#include "support/cuda.h"
#include "support/numbers.h"
#include "support/small_run.h"

namespace barlow::testing {

struct NamedOptimizer {
  const char* name;
  std::function<std::unique_ptr<Optimizer>(const torch::nn::Module&)> make;
};

inline std::vector<NamedOptimizer> optimizers() {
  return {
      {"Adam", [](const torch::nn::Module& m) { return make_adam(m); }},
      {"AdamW", [](const torch::nn::Module& m) { return make_adam(m, AdamOptions::torch_adamw()); }},
      {"LAMB", [](const torch::nn::Module& m) { return make_lamb(m); }},
      {"SGD", [](const torch::nn::Module& m) { return make_sgd(m); }},
      {"SGD with momentum",
       [](const torch::nn::Module& m) { return make_sgd(m, {.momentum = 0.9, .weight_decay = 0.01}); }},
      {"Nesterov's", [](const torch::nn::Module& m) { return make_sgd(m, {.momentum = 0.9, .nesterov = true}); }},
      {"LARS", [](const torch::nn::Module& m) { return make_lars(m); }},
      {"LARS, clipped", [](const torch::nn::Module& m) { return make_lars(m, LarsOptions::solo_learn()); }}};
}

inline LearnerOptions cuda() {
  return {.device = torch::kCUDA, .progress = false};
}

inline LearnerOptions with_sgd(LearnerOptions options, double momentum = 0) {
  options.opt_func = [momentum](const torch::nn::Module& m) { return make_sgd(m, {.momentum = momentum}); };
  return options;
}

// Without biases, whose gradient before a norm or the loss is nothing but rounding: Adam makes steps of it.
class SmallEncoder : public EncoderImpl {
 public:
  explicit SmallEncoder(double dropout)
      : EncoderImpl({.name = "small", .n_in = 1, .num_features = 8}), dropout_(dropout) {
    conv_ = register_module("conv", Conv2d(torch::nn::Conv2dOptions(1, 8, 3).bias(false)));
    norm_ = register_module("norm", BatchNorm2d(8));
  }
  torch::Tensor forward(const torch::Tensor& x) override {
    const auto features = norm_->forward(conv_->forward(x)).relu().mean({2, 3});
    return dropout_ > 0 ? at::dropout(features, dropout_, is_training()) : features;
  }

 private:
  double dropout_;
  Conv2d conv_{nullptr};
  BatchNorm2d norm_{nullptr};
};

inline BarlowTwinsModel tiny_model(double dropout = 0) {
  torch::manual_seed(0);
  return create_barlow_twins_model(
      Encoder(std::make_shared<SmallEncoder>(dropout)),
      {.hidden_size = 16, .projection_size = 8, .nlayers = 2, .bias = false, .last_bias = false});
}

// Labels 0, 1, 2; images whose brightness is their label, nearly, and whose contrasts are all.
inline DataLoader bright_loader(int64_t count, const LoaderOptions& options) {
  const auto labels = torch::arange(count) % 3;
  const auto brightness = (labels.view({-1, 1, 1, 1}).to(torch::kDouble) + 0.5) / 3;
  const auto shift = 0.1 * hashed("shift", {count, 1, 1, 1}), contrast = 0.6 + hashed("contrast", {count, 1, 1, 1});
  const auto images = brightness + shift + contrast * hashed("noise", {count, 1, 12, 12});
  return DataLoader(tensor_dataset(images.to(torch::kFloat), labels), options);
}

inline DataLoaders
bright_data(int64_t count = 80, int64_t batch_size = 16, bool drop_last = true, int64_t workers = 0) {
  return DataLoaders(
      bright_loader(count, {.batch_size = batch_size, .shuffle = true, .drop_last = drop_last, .num_workers = workers}),
      bright_loader(12, {.batch_size = 12, .num_workers = 0}));
}

inline std::vector<Pipeline> tiny_views() {
  return get_barlow_twins_aug_pipelines(
      {.size = 10, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt});
}

// Without views: the halves of a batch take their place.
inline torch::Tensor loss_of_halves(const torch::Tensor& pred, const Batch&) {
  const auto z = pred.chunk(2);
  return barlow_twins_loss_terms(z[0], z[1], {.check_finite = false}).loss;
}

// A callback of functions.
struct Hook : Callback {
  using Function = std::function<void(Learner&)>;
  explicit Hook(Function before_it, Function after_it = {})
      : before(std::move(before_it)), after(std::move(after_it)) {}
  Function before, after; // the batch

  std::string name() const override {
    return "Hook";
  }
  int order() const override {
    return 20; // after the views are made
  }
  void before_batch(Learner& learn) override {
    if (before) {
      before(learn);
    }
  }
  void after_batch(Learner& learn) override {
    if (after) {
      after(learn);
    }
  }
};

inline Hook after_step(int64_t number, Hook::Function does) {
  return Hook({}, [number, does = std::move(does)](Learner& learn) {
    if (learn.training && learn.train_iter == number) {
      does(learn);
    }
  });
}

struct TinyRun {
  LearnerOptions options = cuda();
  DataLoaders dls = bright_data();
  bool views = false;
  double dropout = 0;
  std::function<void(Learner&)> prepare{};
  std::function<void(Learner&)> fit = [](Learner& learn) { learn.fit(2); };
};

struct Ended {
  std::vector<double> losses, valid, lrs;
  std::vector<torch::Tensor> tensors; // parameters and running statistics
  int64_t skipped = 0;
};

inline std::vector<torch::Tensor> copies(const torch::nn::Module& module) {
  std::vector<torch::Tensor> all;
  for (const auto& [name, tensor] : state_dict(module)) {
    all.push_back(tensor.detach().cpu().clone());
  }
  return all;
}

inline Ended end_of(const TinyRun& run) {
  Learner learn(run.dls, tiny_model(run.dropout), run.options);
  learn.loss_func = loss_of_halves;
  if (run.views) {
    learn.add(BarlowTwins(tiny_views()));
  }
  if (run.prepare) {
    run.prepare(learn);
  }
  run.fit(learn);
  Ended end{
      .losses = learn.recorder.raw_losses,
      .valid = {},
      .lrs = learn.recorder.lrs,
      .tensors = copies(*learn.model),
      .skipped = learn.skipped};
  for (const auto& line : learn.recorder.values) {
    end.valid.push_back(line.valid_loss.value_or(-1));
  }
  return end;
}

inline void expect_the_same(const Ended& a, const Ended& b) {
  EXPECT_FALSE(b.losses.empty());
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.valid, b.valid);
  EXPECT_EQ(a.skipped, b.skipped);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_TRUE(a.tensors[i].equal(b.tensors[i])) << i << ": " << largest_difference(a.tensors[i], b.tensors[i]);
  }
}

inline void expect_near(const Ended& a, const Ended& b, double tolerance) {
  ASSERT_EQ(a.losses.size(), b.losses.size());
  ASSERT_EQ(a.valid.size(), b.valid.size());
  EXPECT_FALSE(b.losses.empty());
  for (size_t i = 0; i < a.losses.size(); ++i) {
    EXPECT_NEAR(a.losses[i], b.losses[i], tolerance * b.losses[i]) << "step " << i;
  }
  for (size_t i = 0; i < a.valid.size(); ++i) {
    EXPECT_NEAR(a.valid[i], b.valid[i], tolerance * std::abs(b.valid[i])) << "epoch " << i;
  }
  EXPECT_EQ(a.skipped, b.skipped);
  expect_all_close(a.tensors, b.tensors, tolerance);
}

} // namespace barlow::testing
