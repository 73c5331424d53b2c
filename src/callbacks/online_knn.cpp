// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/online_knn.h>

#include <cmath>
#include <cstdio>
#include <utility>

#include <barlow/knn.h>
#include <barlow/learner.h>

#include "../check.h"
#include "../evaluate/shares.h"
#include "numbers.h"

namespace barlow {

OnlineKnn::OnlineKnn(DataLoader bank, DataLoader queries, OnlineKnnOptions options)
    : bank_(std::move(bank)), queries_(std::move(queries)), options_(std::move(options)) {
  check(options_.every_epochs >= 1, name(), "every_epochs must be at least 1, received {}", options_.every_epochs);
  check(
      options_.k >= 1 && options_.k <= bank_.samples(),
      name(),
      "k must be 1 to the bank's {} samples, received {}",
      bank_.samples(),
      options_.k);
  check_temperature(name(), options_.temperature);
}

std::string OnlineKnn::name() const {
  return "OnlineKnn";
}

int OnlineKnn::order() const {
  return 62;
}

void OnlineKnn::after_epoch(Learner& learn) {
  if ((learn.total_epochs + 1) % options_.every_epochs != 0 || !learn.options.process_group.is_main()) {
    return;
  }
  const EmbedOptions how{.device = learn.device, .transform = options_.transform};
  const auto bank = embed(learn.model->encoder, bank_, how), queries = embed(learn.model->encoder, queries_, how);
  const auto accuracy = knn_accuracy(bank, queries, {options_.k}, options_.temperature)[0].top1;
  history_.emplace_back(learn.total_epochs + 1, accuracy);
  if (learn.options.progress) {
    fmt::print("        kNN accuracy {:.4f} (k {})\n", accuracy, options_.k);
    std::fflush(stdout);
  }
}

NamedTensors OnlineKnn::state() const {
  std::vector<double> flat;
  flat.reserve(2 * history_.size());
  for (const auto& [epoch, accuracy] : history_) {
    flat.insert(flat.end(), {static_cast<double>(epoch), accuracy});
  }
  return {numbers("history", flat)};
}

void OnlineKnn::load_state(const NamedTensors& state) {
  history_.clear();
  const auto flat = numbers_of<double>(state, "history");
  for (size_t i = 0; i + 2 <= flat.size(); i += 2) {
    history_.emplace_back(count_of(flat[i]), flat[i + 1]);
  }
}

} // namespace barlow
