// SPDX-License-Identifier: Apache-2.0
#include <barlow/lr_find.h>

#include <algorithm>
#include <cmath>

#include <torch/torch.h>

#include <barlow/callbacks/param_scheduler.h>
#include <barlow/learner.h>
#include <barlow/picture.h>
#include <barlow/smoothing.h>

#include "check.h"
#include "generator.h"
#include "snapshot.h"

namespace barlow {
namespace {

constexpr size_t kLastSteps = 5; // left out: there the loss has gone up

// Collects smoothed losses and ends the fit in time.
class LrFinder : public Callback {
 public:
  explicit LrFinder(const LrFindOptions& options) : options_(options) {}
  std::string name() const override {
    return "LrFinder";
  }
  void after_read(Learner& learn) override {
    if (!std::isfinite(learn.values.loss)) {
      throw CancelFit();
    }
    losses.push_back(average_.add(learn.values.loss));
    lrs.push_back(learn.values.lr);
    best_ = losses.size() == 1 ? losses[0] : std::min(best_, losses.back());
    const bool diverged = options_.stop_div && losses.back() > 4 * best_;
    if (diverged || static_cast<int64_t>(losses.size()) >= options_.num_it) {
      throw CancelFit();
    }
  }
  void before_validate(Learner&) override {
    throw CancelValidate();
  }

  std::vector<double> lrs, losses;

 private:
  LrFindOptions options_;
  Smoothing average_;
  double best_ = 0;
};

// The middle of the longest falling subsequence of the losses, as fastai finds it.
size_t valley(const std::vector<double>& losses) {
  std::vector<int64_t> length(losses.size(), 1); // of the longest one that ends there
  int64_t start = 0;
  size_t end = 0;
  for (size_t i = 1; i < losses.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (losses[i] < losses[j]) {
        length[i] = std::max(length[i], length[j] + 1);
      }
    }
    if (length[end] < length[i]) {
      end = i;
      start = static_cast<int64_t>(end) - length[end];
    }
  }
  const double third = static_cast<double>(static_cast<int64_t>(end) - start) / 3;
  const auto at = start + static_cast<int64_t>(third) + static_cast<int64_t>(third / 2);
  return static_cast<size_t>(std::max<int64_t>(at, 0));
}

size_t steepest(const std::vector<double>& lrs, const std::vector<double>& losses) {
  const auto slope = [&](size_t i) { return (losses[i + 1] - losses[i]) / (std::log(lrs[i + 1]) - std::log(lrs[i])); };
  size_t best = 0;
  for (size_t i = 1; i + 1 < losses.size(); ++i) {
    best = slope(i) < slope(best) ? i : best;
  }
  return best;
}

void check_options(const LrFindOptions& o) {
  constexpr auto here = "Learner::lr_find";
  check(
      std::isfinite(o.end_lr) && o.start_lr > 0 && o.start_lr < o.end_lr,
      here,
      "0 < start_lr < end_lr must hold, received {} and {}",
      o.start_lr,
      o.end_lr);
  check(o.num_it >= 10, here, "num_it must be at least 10 steps, received {}", o.num_it);
}

} // namespace

LrFindResult suggest_rates(std::vector<double> lrs, std::vector<double> losses) {
  check(
      lrs.size() == losses.size() && losses.size() >= 3,
      "suggest_rates",
      "there must be a rate for each of at least 3 losses, received {} and {}",
      lrs.size(),
      losses.size());
  LrFindResult result;
  result.valley = lrs[valley(losses)];
  result.steepest = lrs[steepest(lrs, losses)];
  result.minimum = lrs[static_cast<size_t>(std::min_element(losses.begin(), losses.end()) - losses.begin())] / 10;
  result.lrs = std::move(lrs);
  result.losses = std::move(losses);
  return result;
}

LrFindResult Learner::lr_find(const LrFindOptions& find) {
  check_options(find);
  check(!fitting_, "Learner::lr_find", "a fit runs already");
  const KeepGenerator keep_generator(device);
  const auto before = snapshot(*this);
  const auto epochs_before = total_epochs, skipped_before = skipped;
  const auto all = listeners_;
  constexpr int kRecords = 50; // callbacks from here on record, save and judge: nothing for them here
  std::erase_if(listeners_, [](const Listener& l) { return l.callback->order() >= kRecords; });
  const auto finder = std::make_shared<LrFinder>(find);
  const Schedule rises = [&](int64_t step, int64_t) {
    const double at = static_cast<double>(step) / static_cast<double>(find.num_it);
    return find.start_lr * std::pow(find.end_lr / find.start_lr, at);
  };
  const auto put_back = [&] {
    listeners_ = all;
    total_epochs = epochs_before;
    skipped = skipped_before;
    load(before);
  };
  try {
    insert(finder, overridden_events<LrFinder>());
    fit(find.num_it / std::max<int64_t>(dls.train.batches(), 1) + 1, rises);
  } catch (const NonFiniteError&) { // NOLINT(bugprone-empty-catch): the rate has become too high, as it should
  } catch (...) {
    put_back();
    throw;
  }
  put_back();
  const auto first = static_cast<std::ptrdiff_t>(finder->losses.size() > 2 * kLastSteps ? find.num_it / 10 : 0);
  const auto last = static_cast<std::ptrdiff_t>(finder->losses.size() - std::min(kLastSteps, finder->losses.size()));
  check(
      last - first >= 3,
      "Learner::lr_find",
      "the loss rose within {} steps; use a smaller start_lr than {}",
      finder->losses.size(),
      find.start_lr);
  auto result = suggest_rates(
      {finder->lrs.begin() + first, finder->lrs.begin() + last},
      {finder->losses.begin() + first, finder->losses.begin() + last});
  if (!find.plot.empty()) {
    std::vector<double> log10;
    log10.reserve(result.lrs.size());
    for (const double lr : result.lrs) {
      log10.push_back(std::log10(lr));
    }
    plot_curves(find.plot, {{"loss", result.losses, log10}}, "log10 of the learning rate", "loss");
  }
  return result;
}

} // namespace barlow
