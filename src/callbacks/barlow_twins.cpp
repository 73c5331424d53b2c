// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/barlow_twins.h>

#include <iostream>

#include <torch/torch.h>

#include <barlow/learner.h>
#include <barlow/loss.h>
#include <barlow/picture.h>

#include "../check.h"

namespace barlow {
namespace {

ViewKeys keys_of(const Batch& batch, int64_t view) {
  return {.seed = batch.seed, .epoch = batch.epoch, .view = view, .index = batch.index};
}

// A first loss far from this tells of a mistake; a large one alone does not.
void print_expected_loss(const Learner& learn, double lmb) {
  const auto parameters = learn.model->projector->parameters();
  if (parameters.empty()) {
    return;
  }
  const int64_t n = learn.dls.train.options().batch_size;
  const int64_t d = parameters.back().size(0); // weight [D,...] or bias [D] of the last layer
  std::cout << fmt::format(
                   "BarlowTwins: uncorrelated embeddings have a loss of about {:.0f} (D {}, N {}, lambda {})",
                   expected_initial_loss(n, d, lmb),
                   d,
                   n,
                   lmb)
            << std::endl;
}

} // namespace

BarlowTwins::BarlowTwins(std::vector<Pipeline> aug_pipelines, const BarlowTwinsOptions& options)
    : pipelines_(std::move(aug_pipelines)), options_(options) {
  check(
      pipelines_.size() == 2,
      "BarlowTwins",
      "there must be two augmentation pipelines, received {}; see get_barlow_twins_aug_pipelines",
      pipelines_.size());
  auto all = pipelines_;
  all.insert(all.end(), options_.small_views.begin(), options_.small_views.end());
  for (const auto& pipeline : all) {
    check(
        pipeline.split_idx() == 0,
        "BarlowTwins",
        "each Pipeline needs split_idx 0, received {}; make it with Pipeline(transforms, 0)",
        pipeline.split_idx());
    if (options_.print_augs) {
      std::cout << pipeline << std::endl;
    }
  }
}

std::string BarlowTwins::name() const {
  return "BarlowTwins";
}

int BarlowTwins::order() const {
  return 9;
}

void BarlowTwins::added(Learner& learn) {
  learn_ = &learn;
}

void BarlowTwins::before_fit(Learner& learn) {
  if (learn.options.progress) {
    print_expected_loss(learn, options_.lmb);
  }
  replaced_loss_ = learn.loss_func;
  learn.loss_func = [this](const at::Tensor& pred, const Batch&) { return loss(pred); };
}

at::Tensor BarlowTwins::loss(const at::Tensor& pred) const {
  const auto z = pred.chunk(2 + static_cast<int64_t>(options_.small_views.size()));
  // The Learner reads the loss anyway and decides what a non-finite one means.
  const LossOptions loss_options{.lmb = options_.lmb, .eps = options_.eps, .check_finite = false};
  auto sum = barlow_twins_loss_terms(z[0], z[1], loss_options);
  double pairs = 1;
  for (size_t large = 0; large < 2; ++large) {
    for (size_t small = 2; small < z.size(); ++small) {
      const auto terms = barlow_twins_loss_terms(z[large], z[small], loss_options);
      sum = {sum.loss + terms.loss, sum.on_diagonal + terms.on_diagonal, sum.off_diagonal + terms.off_diagonal};
      ++pairs;
    }
  }
  learn_->step_values.emplace_back("on_diagonal", sum.on_diagonal.item<double>() / pairs);
  learn_->step_values.emplace_back("off_diagonal", sum.off_diagonal.item<double>() / pairs);
  return pairs == 1 ? sum.loss : sum.loss / pairs;
}

void BarlowTwins::after_fit(Learner& learn) {
  if (replaced_loss_) { // not if another callback failed before this one's before_fit
    learn.loss_func = std::move(*replaced_loss_);
    replaced_loss_.reset();
  }
}

at::Tensor BarlowTwins::views(const at::Tensor& x, const Batch& batch) const {
  return at::cat({pipelines_[0](x, keys_of(batch, 0)), pipelines_[1](x, keys_of(batch, 1))});
}

void BarlowTwins::before_batch(Learner& learn) {
  if (!learn.training && learn.batch.size() < 2) {
    throw CancelBatch(); // a last validation batch of one sample has no statistics
  }
  try {
    learn.input = views(learn.batch.x, learn.batch);
  } catch (const NonFiniteError&) { // an image with NaN: the loss would be
    if (!learn.training || learn.options.non_finite == NonFinite::Error) {
      throw;
    }
    ++learn.skipped;
    throw CancelBatch();
  }
}

void BarlowTwins::after_pred(Learner& learn) {
  if (options_.small_views.empty()) {
    return;
  }
  std::vector<at::Tensor> small;
  for (const auto& pipeline : options_.small_views) {
    const auto view = static_cast<int64_t>(2 + small.size());
    small.push_back(pipeline(learn.batch.x, keys_of(learn.batch, view)));
  }
  learn.pred = at::cat({learn.pred, learn.model->forward(at::cat(small))});
}

at::Tensor BarlowTwins::show(int64_t n, const std::filesystem::path& file) const {
  constexpr auto here = "BarlowTwins::show";
  check(learn_ != nullptr, here, "the callback belongs to no Learner; call learn.add(...) first");
  auto batch = learn_->dls.train.epoch(learn_->total_epochs).next().value();
  check(n >= 1 && n <= batch.size(), here, "n must be 1 to {}, the batch size, received {}", batch.size(), n);
  const auto x = batch.x.is_floating_point() ? batch.x : batch.x.to(torch::kFloat).div(255);
  const auto both = views(x, batch).chunk(2);
  std::vector<at::Tensor> tiles;
  for (int64_t i = 0; i < n; ++i) {
    for (size_t view = 0; view < 2; ++view) {
      tiles.push_back(pipelines_[view].decode(both[view].narrow(0, i, 1)).squeeze(0));
    }
  }
  auto picture = image_grid(tiles, 2);
  if (!file.empty()) {
    write_png(file, picture);
  }
  return picture;
}

} // namespace barlow
