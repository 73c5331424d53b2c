// SPDX-License-Identifier: Apache-2.0
// After pretraining: heads, fine-tuning, linear probes, the online classifier.
#include <barlow/classifier.h>

#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/classification.h>
#include <barlow/callbacks/online_linear.h>
#include <barlow/datasets.h>
#include <barlow/linear_probe.h>
#include <barlow/nn.h>

#include "support/oracle.h"
#include "support/ranks.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using torch::Tensor;

// Images whose brightness is their class.
std::shared_ptr<Dataset> bright_images(int64_t count, int64_t classes = 3) {
  const auto labels = torch::arange(count) % classes;
  const auto noise = hashed("noise", {count, 1, 4, 4}) * 0.1;
  const auto images = (labels.view({-1, 1, 1, 1}).to(torch::kDouble) + 0.5) / static_cast<double>(classes) + noise;
  return tensor_dataset(images.to(torch::kFloat), labels);
}

DataLoaders bright_data(int64_t batch_size = 6) {
  return DataLoaders(
      DataLoader(bright_images(30), {.batch_size = batch_size, .shuffle = true, .drop_last = true, .num_workers = 0}),
      DataLoader(bright_images(15), {.batch_size = batch_size, .num_workers = 0}));
}

std::vector<Tensor> copies(torch::nn::Module& module) {
  std::vector<Tensor> all;
  for (const auto& [name, tensor] : state_dict(module)) {
    all.push_back(tensor.clone());
  }
  return all;
}

void expect_equal(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(a[i].equal(b[i])) << i;
  }
}

std::vector<std::string> shapes(const torch::nn::Module& module) {
  std::vector<std::string> all;
  for (const auto& item : module.named_parameters()) {
    all.push_back(fmt::format("{} {}", item.key(), item.value().sizes().vec()));
  }
  return all;
}

// As Python prints create_cls_module(8, 3).
TEST(Head, IsTheDocumentedLibrarys) {
  auto head = create_cls_module(8, 3);
  EXPECT_EQ(head->size(), 7U);
  EXPECT_THAT(
      shapes(*head),
      ElementsAre(
          "0.weight [8]", "0.bias [8]", "2.weight [512, 8]", "4.weight [512]", "4.bias [512]", "6.weight [3, 512]"));
  EXPECT_EQ(head->ptr<torch::nn::DropoutImpl>(1)->options.p(), 0.25);
  EXPECT_EQ(head->ptr<torch::nn::DropoutImpl>(5)->options.p(), 0.5);
  EXPECT_THAT(
      shapes(*create_cls_module(8, 3, {.hidden = {}, .dropout = 0, .first_bn = false, .bn_final = true})),
      ElementsAre("0.weight [3, 8]", "0.bias [3]", "1.weight [3]", "1.bias [3]"));
  EXPECT_THAT(error_of([] { create_cls_module(8, 0); }), HasSubstr("must be at least 1, received 0"));
  EXPECT_THAT(error_of([] { create_cls_module(8, 3, {.dropout = 1}); }), HasSubstr("dropout must be in [0, 1)"));
}

TEST(FineTuning, LossIsTheCrossEntropyOfTheScores) {
  auto model = create_linear_model(small_model()->encoder, 3);
  torch::nn::init::normal_(model->projector->parameters()[0]);
  const auto loader = bright_data().train;
  const auto batch = *loader.epoch(0).next();
  const auto scores = model->forward(batch.x);
  const auto expected = -scores.log_softmax(1).gather(1, batch.y.unsqueeze(1)).mean();
  Learner learn(
      bright_data(),
      model,
      {.opt_func = [](const auto& m) { return make_sgd(m, {.lr = 1e-9}); }, .device = torch::kCPU, .progress = false});
  learn.add(Classification());
  learn.fit(1);
  EXPECT_NEAR(learn.recorder.raw_losses[0], expected.item<double>(), 1e-6);
}

TEST(FineTuning, TrainsTheHeadThenAllAtRatesByLayer) {
  torch::manual_seed(0);
  auto model = create_model(small_model()->encoder, 3, {.hidden = {16}, .dropout = 0});
  const FineTuneOptions options{.freeze_epochs = 2, .lr = 0.05, .lr_mult = 10};
  auto learner_options = fine_tune_options(options);
  learner_options.device = torch::kCPU;
  learner_options.progress = false;
  Learner learn(bright_data(), model, learner_options);
  auto& classification = learn.add(Classification());

  class Watch : public Callback {
   public:
    std::string name() const override {
      return "Watch";
    }
    void before_fit(Learner& l) override {
      frozen.push_back(!l.model->encoder->parameters()[0].requires_grad());
      start = copies(*l.model->encoder);
      highest.push_back(0);
    }
    void after_fit(Learner& l) override {
      const auto now = copies(*l.model->encoder);
      moved.push_back((now[0] - start[0]).abs().max().item<double>());
    }
    void after_step(Learner& l) override {
      ratio = l.opt->groups().back().lr / l.opt->groups().front().lr;
      highest.back() = std::max(highest.back(), l.opt->groups().back().lr);
    }
    std::vector<bool> frozen;
    std::vector<double> moved, highest;
    std::vector<Tensor> start;
    double ratio = 0;
  };
  auto& watch = learn.add(Watch());
  fine_tune(learn, 12, options);
  EXPECT_THAT(watch.frozen, ElementsAre(true, false));
  EXPECT_EQ(watch.moved[0], 0);
  EXPECT_GT(watch.moved[1], 0);
  EXPECT_NEAR(watch.ratio, 10, 1e-9);
  EXPECT_NEAR(watch.highest[0], 0.05, 0.005); // steps need not fall on the peak
  EXPECT_NEAR(watch.highest[1], 0.025, 0.0025);
  ASSERT_EQ(classification.accuracies().size(), 14U);
  EXPECT_GT(classification.accuracies().back(), 0.9);
  EXPECT_THAT(error_of([&] { fine_tune(learn, 0); }), HasSubstr("epochs must be at least 1"));
}

TEST(FineTuning, FrozenNormsMayStayInTraining) { // by hand
  torch::nn::Sequential net(torch::nn::Linear(2, 3), torch::nn::BatchNorm1d(3), torch::nn::Linear(3, 1));
  const auto trained = [&] {
    std::vector<bool> all;
    for (const auto& p : net->parameters()) { // weight and bias of each
      all.push_back(p.requires_grad());
    }
    return all;
  };
  freeze(*net, /*keep_norms=*/true);
  EXPECT_THAT(trained(), ElementsAre(false, false, true, true, false, false));
  freeze(*net);
  EXPECT_THAT(trained(), ::testing::Each(false));
  unfreeze(*net);
  EXPECT_THAT(trained(), ::testing::Each(true));
}

TEST(FineTuning, ASharesLabelsAreDrawnByClass) {
  const DataLoader loader(bright_images(31), {.batch_size = 64, .num_workers = 0});
  EXPECT_EQ(loader.largest_label(), 2);
  const auto tenth = loader.labelled_share(0.1);
  EXPECT_EQ(tenth.samples(), 4); // of 11, 10 and 10, rounded up
  EXPECT_EQ(tenth.options().batch_size, 4);
  const auto batch = *tenth.epoch(0).next();
  EXPECT_TRUE(std::get<0>(batch.y.sort()).equal(torch::tensor({0, 0, 1, 2})));
  EXPECT_EQ(loader.labelled_share(0.01).samples(), 3); // one of each
  EXPECT_TRUE(batch.x.equal(loader.labelled_share(0.1).epoch(0).next()->x));
  EXPECT_FALSE(batch.x.equal(loader.labelled_share(0.1, 7).epoch(0).next()->x));
  EXPECT_THAT(error_of([&] { loader.labelled_share(0); }), HasSubstr("share must be in (0, 1]"));
  EXPECT_THAT(error_of([] { small_data().train.labelled_share(1); }), HasSubstr("every sample needs a label"));
}

TEST(FineTuning, BadLabelsAreNamed) {
  const auto message = [](const DataLoaders& dls, int64_t n_out) {
    Learner learn(dls, create_linear_model(small_model()->encoder, n_out), quiet());
    learn.add(Classification());
    return error_of([&] { learn.fit(1); });
  };
  EXPECT_THAT(message(bright_data(), 2), HasSubstr("labels must be 0 to 1, for the model gives 2 scores"));
  EXPECT_THAT(
      message(DataLoaders(tensor_loader(torch::rand({8, 1, 4, 4}), {.batch_size = 4})), 2),
      HasSubstr("the samples need labels"));
}

TEST(LinearProbe, LearnsFromFrozenFeatures) {
  auto encoder = small_model()->encoder;
  const auto before = copies(*encoder);
  for (auto options : {LinearProbeOptions::paper(), LinearProbeOptions::solo_learn()}) {
    options.epochs = 60;
    options.lr = 20;
    options.device = torch::kCPU;
    options.progress = false;
    const auto found = linear_probe(encoder, bright_data(), options);
    EXPECT_GT(found.top1, 0.9);
    EXPECT_EQ(found.top5, 1);
  }
  expect_equal(copies(*encoder), before);
  EXPECT_TRUE(encoder->parameters()[0].requires_grad());
  EXPECT_TRUE(encoder->is_training());
  EXPECT_THAT(
      error_of([&] { linear_probe(encoder, DataLoaders(bright_data().train)); }),
      HasSubstr("there must be a validation set"));
  EXPECT_THAT(error_of([&] { linear_probe(encoder, small_data()); }), HasSubstr("at least 2 classes"));
}

// --- while training

struct OnlineRun {
  std::vector<Tensor> parameters;
  std::vector<double> accuracies;
};

OnlineRun pretrain(bool with_head, LearnerOptions options = quiet()) {
  auto model = small_model();
  torch::manual_seed(5);
  Learner learn(bright_data(), model, std::move(options));
  learn.add(BarlowTwins(small_pipelines()));
  OnlineRun run;
  if (with_head) {
    const auto& head = learn.add(OnlineLinear({.classes = 3}));
    learn.fit(20, 1e-3);
    run.accuracies = head.accuracies();
  } else {
    learn.fit(20, 1e-3);
  }
  run.parameters = copies(*model);
  return run;
}

TEST(OnlineLinear, LearnsAndChangesNothingOfTheTraining) {
  const auto with = pretrain(true), without = pretrain(false);
  expect_equal(with.parameters, without.parameters);
  ASSERT_EQ(with.accuracies.size(), 20U);
  EXPECT_GT(with.accuracies.back(), 0.8);

  auto parts = quiet(); // through the model twice
  parts.micro_batch = 4;
  EXPECT_EQ(pretrain(true, parts).accuracies.size(), 20U);
}

TEST(OnlineLinear, OutlivesABadBatch) {
  auto options = quiet();
  options.non_finite = NonFinite::Skip;
  Learner learn(bright_data(), small_model(), options);
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Poison({1}));
  const auto& head = learn.add(OnlineLinear({.classes = 3}));
  learn.fit(2, 1e-3);
  for (const auto& [name, tensor] : head.state()) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  }
}

// The head's gradient is softmax minus one hot: as autograd has it.
TEST(OnlineLinear, FirstStepIsThatOfAutograd) {
  auto model = small_model();
  Learner learn(bright_data(30), model, quiet());
  learn.add(BarlowTwins(small_pipelines()));
  Tensor features;
  auto& head = learn.add(OnlineLinear({.classes = 3, .lr = 0.5, .momentum = 0}));
  class Keep : public Callback {
   public:
    explicit Keep(Tensor& to) : to_(&to) {}
    std::string name() const override {
      return "Keep";
    }
    int order() const override {
      return 52; // wraps what OnlineLinear installed
    }
    void before_fit(Learner& l) override {
      l.model->on_features = [this, next = l.model->on_features](const Tensor& f) {
        if (!to_->defined()) {
          *to_ = f.detach().clone();
        }
        next(f);
      };
    }

   private:
    Tensor* to_;
  };
  learn.add(Keep(features));
  const auto y = learn.dls.train.epoch(0).next()->y.repeat({2});
  learn.fit(1);
  const auto weight = torch::zeros({3, 6}).requires_grad_(), bias = torch::zeros({3}).requires_grad_();
  torch::nn::functional::cross_entropy(torch::addmm(bias, features, weight.t()), y).backward();
  EXPECT_TRUE(close_each(head.state()[0].second, -0.5 * weight.grad(), 1e-4, 1e-6));
  EXPECT_TRUE(close_each(head.state()[1].second, -0.5 * bias.grad(), 1e-4, 1e-6));
}

TEST(OnlineLinear, BadInput) {
  EXPECT_THAT(error_of([] { OnlineLinear({.classes = 1}); }), HasSubstr("classes must be at least 2"));
  EXPECT_THAT(error_of([] { OnlineLinear({.classes = 3, .lr = -1}); }), HasSubstr("lr must be positive"));
}

} // namespace
} // namespace barlow
