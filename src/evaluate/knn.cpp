// SPDX-License-Identifier: Apache-2.0
#include <barlow/knn.h>

#include <algorithm>
#include <cmath>

#include <torch/torch.h>

#include "../check.h"
#include "shares.h"

namespace barlow {
namespace {

using torch::Tensor;

constexpr int64_t kBankRows = 4096, kQueryRows = 512; // at a time: a product of 8 MiB in float32
constexpr double kShortest = 1e-30; // length of a row that has no direction

void check_rows(const char* here, const char* name, const Tensor& x) {
  check(
      x.dim() == 2 && x.numel() > 0 && x.is_floating_point() && !x.is_meta(),
      here,
      "{} must be [rows, features], floating, with at least one row and feature, received {}",
      name,
      describe(x));
  check<NonFiniteError>(x.isfinite().all().item<bool>(), here, "{} must be finite", name);
}

void check_search(const char* here, const Tensor& query, const Tensor& bank, int64_t k) {
  check_rows(here, "the queries", query);
  check_rows(here, "the bank", bank);
  check(
      query.size(1) == bank.size(1) && query.scalar_type() == bank.scalar_type() && query.device() == bank.device(),
      here,
      "queries and bank must have the same features, type and device, received {} and {}",
      describe(query),
      describe(bank));
  check(k >= 1 && k <= bank.size(0), here, "k must be 1 to the bank's {} rows, received {}", bank.size(0), k);
}

// The k largest of the rows' values, falling, and what `index` says of them; the first of equal ones.
void keep_largest(Tensor& values, Tensor& index, int64_t k) {
  if (values.size(1) > k) {
    const auto [top, at] = values.topk(k, 1);
    index = index.gather(1, at);
    values = top;
  }
}

Tensor lengths(const Tensor& x) {
  return at::linalg_vector_norm(x, 2, {1}, /*keepdim=*/true).clamp_min(kShortest);
}

// Scores from the first k of the neighbours.
Tensor votes(const Tensor& similarity, const Tensor& labels, int64_t classes, int64_t k, double temperature) {
  const auto weights = (similarity.narrow(1, 0, k) / temperature).exp();
  return weights.new_zeros({weights.size(0), classes}).scatter_add_(1, labels.narrow(1, 0, k), weights);
}

void check_labels(const char* here, const char* name, const Tensor& labels, const Tensor& rows) {
  check(
      labels.sizes() == at::IntArrayRef{rows.size(0)} && labels.scalar_type() == torch::kLong && !labels.is_meta(),
      here,
      "there must be an int64 label for each of {}'s {} rows, received {}",
      name,
      rows.size(0),
      describe(labels));
}

void check_bank_labels(const char* here, const Tensor& labels, int64_t classes) {
  check(classes >= 2, here, "there must be at least 2 classes, received {}", classes);
  const auto least = labels.min().item<int64_t>(), most = labels.max().item<int64_t>();
  check(
      least >= 0 && most < classes,
      here,
      "the bank's labels must be 0 to {}, received {} to {}; leave unlabelled samples out",
      classes - 1,
      least,
      most);
}

} // namespace

std::pair<Tensor, Tensor> nearest(const Tensor& query, const Tensor& bank, int64_t k) {
  check_search("nearest", query, bank, k);
  const torch::NoGradGuard no_grad;
  const auto queries = query.split(kQueryRows);
  std::vector<Tensor> values(queries.size()), index(queries.size());
  for (int64_t first = 0; first < bank.size(0); first += kBankRows) {
    auto rows = bank.narrow(0, first, std::min(kBankRows, bank.size(0) - first));
    rows = (rows / lengths(rows)).t();
    const auto numbers = torch::arange(first, first + rows.size(1), torch::TensorOptions(bank.device()));
    for (size_t q = 0; q < queries.size(); ++q) {
      auto similarity = queries[q].mm(rows);
      auto at = numbers.expand_as(similarity);
      keep_largest(similarity, at, k);
      values[q] = first == 0 ? similarity : at::cat({values[q], similarity}, 1);
      index[q] = first == 0 ? at : at::cat({index[q], at}, 1);
      keep_largest(values[q], index[q], k);
    }
  }
  for (size_t q = 0; q < queries.size(); ++q) { // a bank of one part has not been put in order
    const auto [sorted, at] = (values[q] / lengths(queries[q])).sort(/*stable=*/true, 1, /*descending=*/true);
    values[q] = sorted;
    index[q] = index[q].gather(1, at);
  }
  return {at::cat(values), at::cat(index)};
}

Tensor knn_scores(
    const Tensor& query,
    const Tensor& bank,
    const Tensor& bank_labels,
    int64_t classes,
    int64_t k,
    double temperature) {
  constexpr auto here = "knn_scores";
  check_search(here, query, bank, k);
  check_labels(here, "the bank", bank_labels, bank);
  check_bank_labels(here, bank_labels, classes);
  check_temperature(here, temperature);
  const auto [similarity, at] = nearest(query, bank, k);
  return votes(similarity, bank_labels.index({at}), classes, k, temperature);
}

std::vector<KnnAccuracy>
knn_accuracy(const Embeddings& bank, const Embeddings& queries, const std::vector<int64_t>& ks, double temperature) {
  constexpr auto here = "knn_accuracy";
  check(bank.labels.defined() && queries.labels.defined(), here, "both sets need labels");
  check(!ks.empty(), here, "there must be at least one k");
  const auto most = *std::max_element(ks.begin(), ks.end());
  check_search(here, queries.features, bank.features, most);
  check(*std::min_element(ks.begin(), ks.end()) >= 1, here, "each k must be at least 1");
  check_labels(here, "the bank", bank.labels, bank.features);
  check_labels(here, "the query set", queries.labels, queries.features);
  const auto classes = bank.labels.max().item<int64_t>() + 1;
  check_bank_labels(here, bank.labels, classes);
  const auto highest = queries.labels.max().item<int64_t>(), lowest = queries.labels.min().item<int64_t>();
  check(
      lowest >= 0 && highest < classes,
      here,
      "the queries' labels must be among the bank's, 0 to {}, received {} to {}",
      classes - 1,
      lowest,
      highest);
  check_temperature(here, temperature);
  const auto [similarity, at] = nearest(queries.features, bank.features, most);
  const auto labels = bank.labels.index({at});
  std::vector<KnnAccuracy> all;
  all.reserve(ks.size());
  for (const auto k : ks) {
    const auto scores = votes(similarity, labels, classes, k, temperature);
    all.push_back({k, share_in_best(scores, queries.labels, 1), share_in_best(scores, queries.labels, 5)});
  }
  return all;
}

} // namespace barlow
