// SPDX-License-Identifier: Apache-2.0
// Embeddings, nearest neighbours and diagnostics: lightly's oracle, exhaustive search, numbers worked by hand.
#include <barlow/knn.h>

#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/online_knn.h>
#include <barlow/diagnostics.h>
#include <barlow/learner.h>
#include <barlow/linear_probe.h>
#include <barlow/nn.h>
#include <barlow/weights.h>

#include "support/in_memory.h"
#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

// --- kNN

TEST(Knn, ScoresAreLightlys) {
  const auto oracle = load_oracle("core/eval");
  const auto& config = oracle.info["config"];
  const auto bank = oracle.at("bank"), query = oracle.at("query"), labels = oracle.at("bank_label");
  for (const int64_t k : config["k"]) {
    const auto key = "k" + std::to_string(k);
    for (const auto type : {torch::kDouble, torch::kFloat}) {
      // Rows of any length.
      const auto lengths = torch::linspace(0.5, 3, bank.size(0), torch::kDouble).unsqueeze(1);
      const auto scores = knn_scores(
          (query * 7).to(type), (bank * lengths).to(type), labels, config["classes"], k, config["temperature"]);
      EXPECT_TRUE(close_to_scale(scores, oracle.at(key + "/scores"), type == torch::kDouble ? 1e-10 : 1e-4)) << key;
      EXPECT_TRUE(scores.argmax(1).equal(oracle.at(key + "/top1"))) << key;
    }
    const Embeddings of_bank{.features = bank, .labels = labels, .index = {}};
    const Embeddings of_query{.features = query, .labels = oracle.at("query_label"), .index = {}};
    EXPECT_NEAR(knn_accuracy(of_bank, of_query, {k})[0].top1, oracle.info["accuracy"][key], 1e-12);
  }
}

TEST(Knn, NeighboursAreThoseOfAnExhaustiveSearch) {
  torch::manual_seed(0);
  const auto bank = torch::randn({9000, 8}, torch::kDouble), query = torch::randn({600, 8}, torch::kDouble);
  const auto all = at::cosine_similarity(query.unsqueeze(1), bank.unsqueeze(0), 2);
  const auto [expected, at] = all.topk(7, 1);
  const auto [similarity, index] = nearest(query, bank, 7);
  EXPECT_TRUE(close_each(similarity, expected, 1e-12));
  EXPECT_TRUE(index.equal(at));
}

TEST(Knn, SweepTakesTheNearestOfOneSearch) {
  const Embeddings bank{
      .features = torch::tensor({{1., 0.}, {1., .1}, {1., .2}, {0., 1.}, {.1, 1.}}),
      .labels = torch::tensor({0, 1, 1, 2, 2}, torch::kLong),
      .index = {}};
  const Embeddings queries{
      .features = torch::tensor({{1., 0.}, {0., 1.}}), .labels = torch::tensor({0, 2}, torch::kLong), .index = {}};
  const auto sweep = knn_accuracy(bank, queries, {1, 3});
  EXPECT_EQ(sweep[0].top1, 1); // itself
  EXPECT_EQ(sweep[1].top1, 0.5); // two of class 1 outvote it
  EXPECT_EQ(sweep[1].top5, 1);
}

TEST(Knn, BadInput) {
  const auto rows = torch::rand({4, 3});
  const auto labels = torch::tensor({0, 1, 0, 1}, torch::kLong);
  EXPECT_THAT(error_of([&] { nearest(rows, rows, 5); }), HasSubstr("k must be 1 to the bank's 4 rows, received 5"));
  EXPECT_THAT(error_of([&] { nearest(rows, torch::rand({4, 2}), 1); }), HasSubstr("the same features"));
  EXPECT_THAT(error_of([&] { nearest(torch::rand({0, 3}), rows, 1); }), HasSubstr("at least one row"));
  EXPECT_THROW(nearest(rows / 0, rows, 1), NonFiniteError);
  EXPECT_THAT(error_of([&] { knn_scores(rows, rows, labels, 1, 1); }), HasSubstr("at least 2 classes"));
  EXPECT_THAT(error_of([&] { knn_scores(rows, rows, labels - 1, 2, 1); }), HasSubstr("leave unlabelled samples out"));
  EXPECT_THAT(error_of([&] { knn_scores(rows, rows, labels, 2, 1, 0); }), HasSubstr("temperature"));
  const Embeddings labelled{.features = rows, .labels = labels, .index = {}};
  const Embeddings none{.features = rows, .labels = {}, .index = {}};
  const Embeddings other{.features = rows, .labels = labels + 1, .index = {}};
  EXPECT_THAT(error_of([&] { knn_accuracy(labelled, none, {1}); }), HasSubstr("both sets need labels"));
  EXPECT_THAT(error_of([&] { knn_accuracy(labelled, other, {1}); }), HasSubstr("must be among the bank's"));
}

// --- linear probe

TEST(LinearProbe, ReachesTheOptimum) {
  torch::manual_seed(0);
  const auto x = torch::randn({300, 6}, torch::kDouble) * 3 + 1;
  const auto labels =
      (x.select(1, 0) + x.select(1, 1) + 3 * torch::randn({300}, torch::kDouble)).gt(2).to(torch::kLong) +
      x.select(1, 2).gt(2).to(torch::kLong);
  const Embeddings train{.features = x, .labels = labels, .index = {}};
  const auto fitted = fit_logistic(train, {.l2 = 0.01, .max_iterations = 500, .tolerance = 1e-9});
  // Of a convex objective: no gradient is the optimum. By hand: (softmax - one hot)' x / N + l2 w.
  const auto z = (x - x.mean(0)) / x.std(0, false);
  EXPECT_TRUE(close_each(fitted.scores(x), z.mm(fitted.weight.t()) + fitted.bias, 0, 1e-12));
  const auto residual = fitted.scores(x).softmax(1) - torch::one_hot(labels, 3);
  const auto gradient = residual.t().mm(z) / 300 + 0.01 * fitted.weight;
  EXPECT_LT(gradient.abs().max().item<double>(), 1e-8);
  EXPECT_LT(residual.mean(0).abs().max().item<double>(), 1e-8);
  EXPECT_GT(accuracy(fitted, train).top1, 0.6);
  EXPECT_EQ(accuracy(fitted, train).top5, 1);
}

TEST(LinearProbe, BadInput) {
  const auto x = torch::rand({4, 3});
  const auto fit = [&](const Tensor& features, const Tensor& labels, const LogisticOptions& options = {}) {
    return error_of([&] { fit_logistic({.features = features, .labels = labels, .index = {}}, options); });
  };
  EXPECT_THAT(fit(x, {}), HasSubstr("every sample needs a label"));
  EXPECT_THAT(fit(x, torch::zeros({4}, torch::kLong)), HasSubstr("at least 2 classes"));
  EXPECT_THAT(fit(x, torch::arange(-1, 3)), HasSubstr("leave unlabelled samples out"));
  EXPECT_THAT(fit(x, torch::arange(4), {.l2 = 0}), HasSubstr("must be positive"));
  EXPECT_THROW(fit_logistic({.features = x / 0, .labels = torch::arange(4), .index = {}}), NonFiniteError);
}

// --- embeddings

class Labelled : public TensorDataset {
 public:
  using TensorDataset::TensorDataset;
  Sample get(int64_t index) const override {
    auto sample = TensorDataset::get(index);
    sample.label = index % 2;
    return sample;
  }
};

DataLoader labelled_loader(int64_t count, int64_t batch_size = 4) {
  const auto images = (hashed("images", {count, 1, 4, 4}) + 0.5).to(torch::kFloat);
  return DataLoader(std::make_shared<Labelled>(images), {.batch_size = batch_size, .num_workers = 1});
}

TEST(Embed, GivesFeaturesOfEverySampleInEvaluationMode) {
  auto model = small_model();
  model->train();
  const auto of_encoder = embed(model->encoder, labelled_loader(10), {.device = torch::kCPU});
  const auto of_model = embed(model, labelled_loader(10), {.device = torch::kCPU});
  EXPECT_TRUE(model->is_training());
  EXPECT_TRUE(model->encoder->is_training());
  model->eval();
  const torch::NoGradGuard no_grad;
  const auto x = (hashed("images", {10, 1, 4, 4}) + 0.5).to(torch::kFloat);
  EXPECT_TRUE(close_each(of_encoder.features, model->encoder->forward(x), 0, 1e-6));
  EXPECT_TRUE(close_each(of_model.features, model->forward(x), 0, 1e-6));
  EXPECT_TRUE(of_encoder.labels.equal(torch::arange(10) % 2));
  EXPECT_EQ(of_encoder.index[9], 9);
  EXPECT_TRUE(embed_pixels(labelled_loader(10), {.device = torch::kCPU}).features.equal(x.flatten(1)));
}

TEST(Embed, WritesNumPyAndSafetensors) {
  const auto folder = std::filesystem::temp_directory_path();
  const auto npy = folder / "barlow_embed_test.npy", safe = folder / "barlow_embed_test.safetensors";
  const Embeddings e{
      .features = torch::tensor({{1.F, 2.F}, {3.F, 4.F}}), .labels = torch::tensor({5, 6}), .index = {7, 8}};
  save_embeddings(npy, e);
  std::ifstream in(npy, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  ASSERT_EQ(bytes.size(), 128U + 16U); // the header's length is a multiple of 64
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_THAT(bytes, HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"));
  EXPECT_EQ(bytes[127], '\n');
  float last = 0;
  std::memcpy(&last, bytes.data() + bytes.size() - 4, 4);
  EXPECT_EQ(last, 4);
  save_embeddings(safe, e);
  const auto tensors = load_safetensors(safe);
  EXPECT_EQ(tensors.size(), 3U);
  EXPECT_THAT(error_of([&] { save_embeddings(folder / "x.csv", e); }), HasSubstr("must end in .npy or .safetensors"));
  std::filesystem::remove(npy);
  std::filesystem::remove(safe);
}

// --- online

std::vector<Tensor> trained_parameters(bool with_knn) {
  auto model = small_model();
  torch::manual_seed(5);
  Learner learn(small_data(12, 5, 4), model, quiet());
  learn.add(BarlowTwins(small_pipelines()));
  if (with_knn) {
    auto& knn = learn.add(OnlineKnn(labelled_loader(10), labelled_loader(6), {.every_epochs = 2, .k = 1}));
    learn.fit(4);
    EXPECT_EQ(knn.history().size(), 2U);
    EXPECT_EQ(knn.history()[0].first, 2);
    EXPECT_EQ(knn.history()[1].first, 4);
    EXPECT_EQ(knn.history()[0].second, 1); // the queries are in the bank
  } else {
    learn.fit(4);
  }
  std::vector<Tensor> all;
  for (const auto& [name, tensor] : state_dict(*model)) {
    all.push_back(tensor.clone());
  }
  return all;
}

TEST(OnlineKnn, ChangesNothingOfTheTraining) {
  const auto with = trained_parameters(true), without = trained_parameters(false);
  ASSERT_EQ(with.size(), without.size());
  for (size_t i = 0; i < with.size(); ++i) {
    EXPECT_TRUE(with[i].equal(without[i])) << i;
  }
}

// --- diagnostics

TEST(Diagnostics, OfSpreadCollapsedAndRepeatedFeatures) {
  torch::manual_seed(0);
  const auto z = torch::randn({512, 16}, torch::kDouble);
  const auto good = diagnose(z, z);
  EXPECT_NEAR(good.rank, 16, 0.3);
  EXPECT_NEAR(good.std, 0.25, 0.01); // 1 / sqrt(16)
  EXPECT_NEAR(good.mean_diagonal, 1, 1e-12);
  EXPECT_NEAR(good.rms_off_diagonal, 1 / std::sqrt(512.), 0.01);
  EXPECT_EQ(good.dead_units, 0);
  EXPECT_EQ(good.warning, "");

  const auto one_way = torch::ones({512, 16}, torch::kDouble) + 1e-3 * z;
  EXPECT_THAT(diagnose(one_way, one_way).warning, HasSubstr("collapsed"));

  const auto repeated = z.narrow(1, 0, 1).expand({512, 16}).contiguous();
  const auto d = diagnose(repeated, repeated);
  EXPECT_NEAR(d.rank, 1, 0.01);
  EXPECT_NEAR(d.rms_off_diagonal, 1, 1e-9);
  EXPECT_THAT(d.warning, HasSubstr("features repeat each other"));

  auto dead = z.clone();
  dead.narrow(1, 0, 10).fill_(3);
  EXPECT_EQ(diagnose(dead, dead).dead_units, 10);
  EXPECT_THAT(diagnose(dead, dead).warning, HasSubstr("10 of 16 features have no spread"));
}

TEST(Diagnostics, RankByHand) {
  // Singular values 3 and 1: shares 3/4, 1/4.
  const auto z = torch::tensor({{3., 0.}, {0., 1.}}, torch::kDouble);
  EXPECT_NEAR(rank_me(z), std::exp(-.75 * std::log(.75) - .25 * std::log(.25)), 1e-5);
  EXPECT_EQ(rank_me(torch::zeros({3, 2})), 1);
  EXPECT_THROW(rank_me(torch::full({3, 2}, std::nan(""))), NonFiniteError);
  EXPECT_THAT(error_of([] { diagnose(torch::rand({3, 2}), torch::rand({3, 4})); }), HasSubstr("one shape"));
}

} // namespace
} // namespace barlow
