// SPDX-License-Identifier: Apache-2.0
// Neighbours, probes, embeddings and diagnostics, called as they must not be; and what only looks so.
#include <barlow/barlow.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/misuse.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using torch::Tensor;
namespace fs = std::filesystem;

const Tensor& rows() {
  static const Tensor all = torch::rand({4, 3});
  return all;
}

const Tensor& labels() {
  static const Tensor all = torch::arange(4) % 2;
  return all;
}

Embeddings of(const Tensor& features, const Tensor& y) {
  return {.features = features, .labels = y, .index = {}};
}

TEST(Misuse, Neighbours) {
  constexpr auto search = "nearest", scores = "knn_scores", name = "knn_accuracy";
  const auto &x = rows(), &y = labels();
  const BadTensors others{{"wider", torch::rand({4, 5})}, {"of float64", x.to(torch::kDouble)}};
  const auto bad = other_rows(x) + others;
  const auto bad_labels = other_labels(y) + BadTensors{{"below 0", y - 1}};
  const auto beyond = bad_labels + BadTensors{{"beyond the classes", y + 1}};
  refuses(search, other_rows(x), [](const Tensor& both) { nearest(both, both, 1); });
  refuses(search, bad, [&](const Tensor& bank) { nearest(x, bank, 1); });
  refuses(search, [&] { nearest(x, x, 0); });
  refuses(search, [&] { nearest(x, x, 5); });
  refuses(scores, bad, [&](const Tensor& query) { knn_scores(query, x, y, 2, 1); });
  refuses(scores, beyond, [&](const Tensor& of_bank) { knn_scores(x, x, of_bank, 2, 1); });
  refuses(scores, [&] { knn_scores(x, x, y * 0, 1, 1); });
  refuses(scores, [&] { knn_scores(x, x, y, 2, 5); });
  refuses(scores, {0, kNaN, kInfinity}, [&](double t) { knn_scores(x, x, y, 2, 1, t); });
  const auto all = of(x, y);
  refuses(name, other_rows(x), [&](const Tensor& both) { knn_accuracy(of(both, y), of(both, y), {1}); });
  refuses(name, bad, [&](const Tensor& queries) { knn_accuracy(all, of(queries, y), {1}); });
  refuses(name, bad_labels, [&](const Tensor& of_bank) { knn_accuracy(of(x, of_bank), all, {1}); });
  refuses(name, beyond, [&](const Tensor& of_queries) { knn_accuracy(all, of(x, of_queries), {1}); });
  for (const auto& ks : {std::vector<int64_t>{}, {1, 0}, {1, 5}}) {
    refuses(name, [&] { knn_accuracy(all, all, ks); });
  }
  refuses(name, {0, kNaN, kInfinity}, [&](double t) { knn_accuracy(all, all, {1}, t); });
}

TEST(Misuse, Logistic) {
  constexpr auto fit = "fit_logistic", scores = "LinearClassifier::scores", share = "accuracy";
  const auto &x = rows(), &y = labels();
  refuses(fit, other_rows(x) + BadTensors{{"of one row", x.narrow(0, 0, 1)}}, [&](const Tensor& features) {
    fit_logistic(of(features, y));
  });
  const BadTensors others{{"below 0", y - 1}, {"of one class", y * 0}};
  refuses(fit, other_labels(y) + others, [&](const Tensor& bad) { fit_logistic(of(x, bad)); });
  refuses(fit, {0, kNaN}, [&](double l2) { fit_logistic(of(x, y), {.l2 = l2}); });
  refuses(fit, [&] { fit_logistic(of(x, y), {.max_iterations = 0}); });
  refuses(fit, {0, kNaN}, [&](double t) { fit_logistic(of(x, y), {.tolerance = t}); });

  const auto good = fit_logistic(of(x, y));
  const BadTensors bad{
      {"undefined", {}},
      {"complex", x.to(torch::kComplexFloat)},
      {"of float64", x.to(torch::kDouble)},
      {"without data", x.to(torch::kMeta)},
      {"of one dimension", x[0]},
      {"wider", torch::rand({4, 5})}};
  refuses(scores, bad, [&](const Tensor& features) { good.scores(features); });
  refuses(scores, bad, [&](const Tensor& features) { accuracy(good, of(features, y)); });
  refuses(scores, [&] { LinearClassifier{}.scores(x); });
  refuses(share, other_labels(y), [&](const Tensor& wrong) { accuracy(good, of(x, wrong)); });
  refuses(share, [&] { accuracy(good, of(x.narrow(0, 0, 0), y.narrow(0, 0, 0))); });
  EXPECT_THAT(good.scores(x.narrow(0, 0, 0)).sizes(), ElementsAre(0, 2)); // which is no misuse
}

TEST(Misuse, LinearProbe) {
  constexpr auto name = "linear_probe";
  const auto set = tensor_dataset(torch::rand({4, 1, 4, 4}), labels());
  const DataLoader loader(set, {.batch_size = 2, .num_workers = 0});
  const DataLoaders dls(loader, loader);
  const auto probe = [&](LinearProbeOptions options) {
    options.device = options.device.value_or(torch::kCPU);
    options.progress = false;
    linear_probe(linear_encoder(), dls, options);
  };
  refuses(name, [&] { linear_probe(nullptr, dls); });
  refuses(name, [&] { linear_probe(linear_encoder(), DataLoaders(loader)); });
  refuses(name, [] { linear_probe(linear_encoder(), small_data()); }); // without labels
  refuses(name, [&] { probe({.epochs = 0}); });
  refuses(name, {0, kNaN}, [&](double lr) { probe({.lr = lr}); });
  refuses("Optimizer", [&] { probe({.momentum = 1}); });
  refuses("Optimizer", [&] { probe({.weight_decay = kNaN}); });
  refuses("step_decay", [&] { probe({.milestones = {60}}); }); // in epochs
  refuses("Learner", [&] { probe({.device = torch::kMeta}); });
}

TEST(Misuse, Embeddings) {
  constexpr auto name = "embed", save = "save_embeddings";
  const auto loader = small_data().train;
  const auto with = [&](const EmbedOptions& options) { embed(linear_encoder(), loader, options); };
  const DataLoader unreadable(
      std::make_shared<Made>([](int64_t) { return Sample{Tensor()}; }),
      {.batch_size = 2, .num_workers = 0, .max_bad = 1});
  const DataLoader uneven(
      std::make_shared<Made>([](int64_t i) { return Sample{torch::rand({1, 4, 4 + i})}; }),
      {.batch_size = 1, .num_workers = 0});
  refuses(name, [&] { embed(Encoder(nullptr), loader); });
  refuses(name, [&] { embed(BarlowTwinsModel(nullptr), loader); });
  refuses(name, [] { embed(linear_encoder(), tensor_loader(torch::rand({2, 3, 4, 4}), {.num_workers = 0})); });
  refuses(name, [&] { embed(linear_encoder(), loader.with_views(small_pipelines())); });
  refuses(name, [&] { embed_pixels(loader.with_views(small_pipelines())); });
  refuses(name, [&] { embed(linear_encoder(), unreadable); });
  refuses(name, [&] { embed_pixels(unreadable); });
  refuses(name, [&] { embed_pixels(uneven); });
  refuses(name, [&] { with({.device = torch::kMeta}); });
  if (!torch::cuda::is_available()) {
    refuses(name, [&] { with({.device = torch::kCUDA}); });
  }
  refuses("normalize", [&] { with({.transform = Pipeline({std::make_shared<Normalize>(kImagenetStats)})}); });
  refuses_broken_encoders(name, [](const Encoder& encoder) {
    embed(encoder, tensor_loader(torch::rand({3, 1, 2, 2}), {.num_workers = 0}));
  });

  const auto& x = rows();
  const auto file = paths().root.path() / "features.safetensors";
  const BadTensors bad{
      {"undefined", {}},
      {"complex", x.to(torch::kComplexFloat)},
      {"without data", x.to(torch::kMeta)},
      {"of one dimension", x[0]}};
  refuses(save, bad, [&](const Tensor& features) { save_embeddings(file, of(features, {})); });
  refuses(save, [&] { save_embeddings("features.csv", of(x, {})); });
  refuses(save, [&] { save_embeddings(file, of(x, labels().narrow(0, 0, 3))); });
  refuses_to_write(save, [&](const fs::path& path) { save_embeddings(path, of(x, {})); });
}

TEST(Misuse, Diagnostics) {
  const auto& z = rows();
  const auto bad = other_rows(z) + BadTensors{{"of one row", z.narrow(0, 0, 1)}, {"infinite", z / 0}};
  refuses("rank_me", bad, [](const Tensor& x) { rank_me(x); });
  refuses("diagnose", bad, [](const Tensor& x) { diagnose(x, x); });
  refuses("diagnose", bad + BadTensors{{"of other features", torch::rand({4, 2})}}, [&](const Tensor& x) {
    diagnose(z, x);
  });
}

} // namespace
} // namespace barlow
