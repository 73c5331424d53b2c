// SPDX-License-Identifier: Apache-2.0
// Encoders, models, loss and layers, called as they must not be; and what only looks so.
#include <barlow/barlow.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include "support/misuse.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using torch::Tensor;
namespace nn = torch::nn;

Tensor encode(Encoder encoder, const Tensor& x) {
  const torch::NoGradGuard no_grad;
  return encoder->forward(x);
}

BadTensors other_images(const Tensor& good) {
  return other_kinds(good) + other_shapes(good) + BadTensors{{"of float64", good.to(torch::kDouble)}};
}

TEST(Misuse, CreateEncoder) {
  constexpr auto create = "create_encoder", add = "register_encoder";
  for (const auto* name : {"", ":", ".pt", "timm:", "fastai:", "resnet5", "fastai:resnet5", "other:resnet18"}) {
    refuses(create, [=] { create_encoder(name); });
  }
  refuses(create, [] { create_encoder(kSmallVit, {.n_in = 0}); });
  refuses(create, [] { create_encoder(kSmallVit, {.weights = "file"}); });
  refuses(create, [] { create_encoder(kSmallVit, {.drop_rate = kNaN}); });
  refuses(create, [] { create_encoder(kSmallVit, {.drop_path_rate = 1}); });
  refuses(create, [] { create_encoder("densenet121", {.drop_path_rate = 0.1}); });
  refuses(create, [] { create_encoder(kSmallVit, {.pool_type = PoolingType::CatAvgMax}); });
  refuses(create, [] { create_encoder(kSmallVit, {.stem = StemType::Small}); });
  refuses("Encoder::checkpoint", [] { create_encoder(kSmallVit, {.checkpoint_nchunks = -1}); });
  refuses(create, [] { create_encoder(paths().missing.string() + ".pt"); });

  const auto none = [](const std::string&, const EncoderOptions&) { return Encoder(nullptr); };
  refuses(add, [&] { register_encoder("", none); });
  refuses(add, [] { register_encoder("misuse_no_builder", nullptr); });
  refuses(add, [&] { register_encoder("resnet18", none); });
  if (list_encoders("misuse_nothing").empty()) {
    register_encoder("misuse_nothing", none);
  }
  refuses(create, [] { create_encoder("misuse_nothing"); });
  refuses(create, [] { free_encoder({}, /*n_in=*/0); });
  refuses("EncoderImpl", [] { free_encoder({}, 1, /*num_features=*/0); });
}

TEST(Misuse, Encoders) {
  constexpr auto forward = "Encoder::forward";
  const auto images = torch::rand({2, 1, 32, 32}), colour = torch::rand({2, 3, 32, 32});
  refuses(forward, other_images(images) + BadTensors{{"of three channels", colour}}, [](const Tensor& x) {
    encode(xresnet18(), x);
  });
  refuses(forward, [] { encode(small_vit(), torch::rand({1, 1, 24, 24})); }); // patches of 16 pixels

  torch::jit::Module module("Net");
  module.register_parameter("weight", torch::rand({8, 3, 3, 3}), /*is_buffer=*/false);
  module.define("def forward(self, x):\n  return torch.conv2d(x, self.weight, None, [2, 2]).mean([2, 3])\n");
  const auto script = (paths().root.path() / "net.pt").string();
  module.save(script);
  refuses("create_encoder", [&] { create_encoder(script, {.pretrained = true}); });
  refuses("create_encoder", [&] { create_encoder(script, {.n_in = 1}); });
  const auto imported = create_encoder(script);
  refuses(forward, other_images(colour) + BadTensors{{"of one channel", images}}, [&](const Tensor& x) {
    encode(imported, x);
  });
}

TEST(Misuse, Models) {
  constexpr auto mlp = "create_mlp_module", model = "BarlowTwinsModel", head = "create_cls_module";
  refuses(mlp, [] { create_mlp_module(0); });
  refuses(mlp, [] { create_mlp_module(4, {.hidden_size = 0}); });
  refuses(mlp, [] { create_mlp_module(4, {.projection_size = -1}); });
  refuses(mlp, [] { create_mlp_module(4, {.nlayers = 0}); });
  refuses("create_barlow_twins_model", [] { create_barlow_twins_model(nullptr); });
  refuses(model, [] { BarlowTwinsModel(Encoder(nullptr), nn::Sequential(nn::Linear(4, 2))); });
  refuses(model, [] { BarlowTwinsModel(linear_encoder(), nn::Sequential(nullptr)); });
  refuses(model, [] { BarlowTwinsModel(linear_encoder(), nn::Sequential()); });
  refuses(head, [] { create_cls_module(0, 3); });
  refuses(head, [] { create_cls_module(4, 0); });
  refuses(head, [] { create_cls_module(4, 3, {.hidden = {8, 0}}); });
  refuses(head, {1, kNaN}, [](double p) { create_cls_module(4, 3, {.dropout = p}); });
  refuses(head, [] { create_model(linear_encoder(), 0); });
  refuses("create_model", [] { create_model(nullptr, 3); });
  refuses("create_linear_model", [] { create_linear_model(nullptr, 3); });
  refuses("create_linear_model", [] { create_linear_model(linear_encoder(), 0); });
  refuses("fine_tune_options", {0, kNaN}, [](double mult) { fine_tune_options({.lr_mult = mult}); });

  auto linear = create_linear_model(xresnet18(), 2);
  refuses("Encoder::forward", other_images(torch::rand({2, 1, 32, 32})), [&](const Tensor& x) { linear->forward(x); });
  refuses_broken_encoders(
      model, [](const Encoder& encoder) { create_linear_model(encoder, 2)->forward(torch::rand({3, 1, 2, 2})); });
}

TEST(Misuse, Loss) {
  constexpr auto loss = "barlow_twins_loss", expected = "expected_initial_loss";
  const auto z = torch::rand({4, 3});
  const auto with = [&](const LossOptions& options) { barlow_twins_loss_terms(z, z, options); };
  refuses(loss, other_rows(z) + BadTensors{{"of one row", z.narrow(0, 0, 1)}}, [](const Tensor& x) {
    barlow_twins_loss(x, x);
  });
  const BadTensors others{
      {"of more rows", torch::rand({5, 3})}, {"of float64", z.to(torch::kDouble)}, {"wider", z.t()}};
  refuses(loss, other_rows(z) + others, [&](const Tensor& x) { barlow_twins_loss(z, x); });
  refuses(loss, [&] { barlow_twins_loss(z / 0, z); });
  refuses(loss, {-1, kNaN, kInfinity}, [&](double lmb) { barlow_twins_loss(z, z, lmb); });
  refuses(loss, {-1, kNaN, kInfinity}, [&](double eps) { with({.eps = eps}); });
  refuses(loss, [&] { with({.rows = {3}}); });
  refuses(loss, [&] { with({.rows = {4, 4}}); });
  refuses(loss, [&] {
    const auto x = z.clone().requires_grad_();
    torch::autograd::grad({barlow_twins_loss(x, z)}, {x}, {}, true, /*create_graph=*/true);
  });
  refuses(expected, [] { expected_initial_loss(0, 8); });
  refuses(expected, [] { expected_initial_loss(8, 0); });
  refuses(expected, [] { expected_initial_loss(8, 8, kNaN); });
}

TEST(Misuse, SynchronisedNorms) {
  constexpr auto norm = "BatchNorm";
  const auto x = torch::rand({4, 3});
  const BatchNormTensors good{
      .weight = torch::ones({3}),
      .bias = torch::zeros({3}),
      .running_mean = torch::zeros({3}),
      .running_var = torch::ones({3}),
      .num_batches_tracked = torch::zeros({}, torch::kLong)};
  const auto run = [](const Tensor& rows, const BatchNormTensors& t, std::optional<double> momentum = 0.1) {
    synced_batch_norm(ProcessGroup(), rows, t, nn::BatchNormOptions(3).momentum(momentum));
  };
  const BadTensors others{
      {"of one dimension", x[0]},
      {"of other features", torch::rand({4, 2})},
      {"of float64", x.to(torch::kDouble)},
      {"of one row", x.narrow(0, 0, 1)}};
  refuses(norm, other_kinds(x) + others, [&](const Tensor& rows) { run(rows, good); });
  for (auto which : {&BatchNormTensors::weight, &BatchNormTensors::bias, &BatchNormTensors::running_mean}) {
    auto t = good;
    t.*which = torch::ones({2});
    refuses(norm, [&] { run(x, t); });
  }
  auto t = good;
  t.num_batches_tracked.reset();
  refuses(norm, [&] { run(x, t, /*momentum=*/std::nullopt); });
  t = good;
  t.running_var.reset();
  refuses(norm, [&] { run(x, t); });
}

TEST(Misuse, Convolutions) {
  constexpr auto conv = "conv2d";
  const auto x = torch::rand({2, 3, 8, 8}), w = torch::rand({4, 3, 3, 3}), b = torch::rand({4});
  refuses(conv, other_images(x), [&](const Tensor& bad) { barlow::conv2d(bad, w); });
  const BadTensors weights{
      {"of other channels", torch::rand({4, 2, 3, 3})}, {"of 9 pixels a side", torch::rand({4, 3, 9, 9})}};
  refuses(conv, other_images(w) + weights, [&](const Tensor& bad) { barlow::conv2d(x, bad); });
  const BadTensors biases{
      {"of other channels", torch::rand({3})},
      {"of two dimensions", torch::rand({4, 1})},
      {"of int64", b.to(torch::kLong)},
      {"without data", b.to(torch::kMeta)}};
  refuses(conv, biases, [&](const Tensor& bad) { barlow::conv2d(x, w, bad); });
  using Numbers = std::vector<int64_t>;
  for (const auto& bad : {Numbers{}, Numbers{1, 1, 1}, Numbers{-1}}) {
    refuses(conv, [&] { barlow::conv2d(x, w, b, bad); });
    refuses(conv, [&] { barlow::conv2d(x, w, b, 1, bad); });
    refuses(conv, [&] { barlow::conv2d(x, w, b, 1, 0, bad); });
  }
  refuses(conv, [&] { barlow::conv2d(x, w, b, Numbers{0}); });
  refuses(conv, [&] { barlow::conv2d(x, w, b, 1, 0, Numbers{0}); });
  refuses(conv, [&] { barlow::conv2d(x, w, b, 1, 0, 1, /*groups=*/0); });
  refuses(conv, [&] { barlow::conv2d(x, w, b, 1, 0, 1, /*groups=*/2); });
  refuses("Conv2d", [&] { Conv2d(nn::Conv2dOptions(3, 4, 3).padding(torch::kSame))->forward(x); });
  refuses("Conv2d", [&] { Conv2d(nn::Conv2dOptions(3, 4, 3).padding(1).padding_mode(torch::kReflect))->forward(x); });
}

TEST(Misuse, Checkpointing) {
  constexpr auto run = "checkpoint_sequential";
  const Segment same{"same", [](const Tensor& x) { return x * 1; }}, empty{"empty", nullptr};
  const auto x = torch::rand({2, 3});
  refuses(run, [&] { checkpoint_sequential({}, 2, x, {}); });
  refuses(run, [&] { checkpoint_sequential({same}, 0, x, {}); });
  refuses(run, [&] { checkpoint_sequential({same, empty}, 2, x, {}); });
  refuses(run, [&] { checkpoint_sequential({same, same}, 2, x, {Tensor()}); });
  refuses(run, {{"undefined", {}}, {"without data", x.to(torch::kMeta)}}, [&](const Tensor& bad) {
    checkpoint_sequential({same, same}, 2, bad, {});
  });
}

TEST(LooksLikeMisuse, NetworksOfNoImages) {
  const torch::NoGradGuard no_grad;
  const auto none = torch::rand({0, 1, 32, 32});
  EXPECT_THAT(encode(xresnet18(), none).sizes(), ElementsAre(0, 512));
  EXPECT_THAT(create_linear_model(xresnet18(), 2)->forward(none).sizes(), ElementsAre(0, 2));
  EXPECT_THAT(barlow::conv2d(none, torch::rand({4, 1, 3, 3}), {}, 1, 1).sizes(), ElementsAre(0, 4, 32, 32));
  EXPECT_THAT(BatchNorm1d(3)->forward(torch::rand({0, 3})).sizes(), ElementsAre(0, 3));
}

} // namespace
} // namespace barlow
