// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/barlow_twins.h>

#include <cmath>
#include <iostream>
#include <sstream>

#include <torch/torch.h>

#include <barlow/augment/view.h>
#include <barlow/learner.h>
#include <barlow/loss.h>
#include <barlow/picture.h>

#include "../check.h"

namespace barlow {
namespace {

// A first loss far from this tells of a mistake; a large one alone does not.
void print_expected_loss(const Learner& learn, const BarlowTwinsOptions& options) {
  const auto parameters = learn.model->projector->parameters();
  if (parameters.empty()) {
    return;
  }
  const int64_t n = learn.dls.train.options().batch_size;
  const int64_t d = parameters.back().size(0); // weight [D,...] or bias [D] of the last layer
  std::cout << fmt::format(
                   "BarlowTwins: uncorrelated embeddings have a loss of about {:.0f} (D {}, N {}, lambda {})",
                   options.loss_scale * expected_initial_loss(n, d, options.lmb),
                   d,
                   n,
                   options.lmb)
            << std::endl;
}

} // namespace

BarlowTwins::BarlowTwins(std::vector<Pipeline> aug_pipelines, const BarlowTwinsOptions& options)
    : pipelines_(std::move(aug_pipelines)), options_(options) {
  check(
      std::isfinite(options.loss_scale) && options.loss_scale > 0,
      "BarlowTwins",
      "loss_scale must be finite and positive, received {}",
      options.loss_scale);
  check(
      std::isfinite(options.lmb) && options.lmb >= 0 && std::isfinite(options.eps) && options.eps >= 0,
      "BarlowTwins",
      "lmb and eps must be finite and not negative, received {} and {}",
      options.lmb,
      options.eps);
  check(
      options.reference_world_size >= 1,
      "BarlowTwins",
      "reference_world_size must be at least 1, received {}",
      options.reference_world_size);
  check(
      pipelines_.size() == 2,
      "BarlowTwins",
      "there must be two augmentation pipelines, received {}; see get_barlow_twins_aug_pipelines",
      pipelines_.size());
  for (const auto& pipeline : all_pipelines()) {
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
  const auto batch_size = learn.dls.train.options().batch_size;
  check(batch_size >= 2, "BarlowTwins", "a batch needs at least 2 samples, received batch_size {}", batch_size);
  if (learn.options.progress) {
    print_expected_loss(learn, options_);
  }
  learn.options.process_group.require_equal("BarlowTwins", "the options", describe_options());
  use_views(learn);
  replaced_loss_ = learn.loss_func;
  learn.loss_func = [this](const at::Tensor& pred, const Batch&) { return loss(pred); };
  learn.gradient_scale /= static_cast<double>(options_.reference_world_size);
}

at::Tensor BarlowTwins::loss(const at::Tensor& pred) const {
  const auto z = pred.chunk(2 + static_cast<int64_t>(options_.small_views.size()));
  // The Learner reads the loss anyway and decides what a non-finite one means.
  const LossOptions loss_options{
      .lmb = options_.lmb,
      .eps = options_.eps,
      .unbiased = options_.unbiased,
      .process_group = learn_->options.process_group,
      .rows = learn_->options.process_group.size() > 1 ? learn_->rows : std::vector<int64_t>{},
      .check_finite = false};
  auto sum = barlow_twins_loss_terms(z[0], z[1], loss_options);
  double pairs = 1;
  for (size_t large = 0; large < 2; ++large) {
    for (size_t small = 2; small < z.size(); ++small) {
      const auto terms = barlow_twins_loss_terms(z[large], z[small], loss_options);
      sum = {sum.loss + terms.loss, sum.on_diagonal + terms.on_diagonal, sum.off_diagonal + terms.off_diagonal};
      ++pairs;
    }
  }
  learn_->log("on_diagonal", sum.on_diagonal / pairs);
  learn_->log("off_diagonal", sum.off_diagonal / pairs);
  const double scale = options_.loss_scale / pairs;
  return scale == 1 ? sum.loss : sum.loss * scale;
}

std::string BarlowTwins::describe_options() const {
  std::ostringstream pipelines;
  for (const auto& pipeline : all_pipelines()) {
    pipelines << pipeline << "; ";
  }
  return fmt::format(
      "lmb {}, eps {}, unbiased {}, loss_scale {}, reference_world_size {}, {} views, {}",
      options_.lmb,
      options_.eps,
      options_.unbiased,
      options_.loss_scale,
      options_.reference_world_size,
      options_.view_order == ViewOrder::Concatenated ? "concatenated" : "separate",
      pipelines.str());
}

std::vector<Pipeline> BarlowTwins::all_pipelines() const {
  auto all = pipelines_;
  all.insert(all.end(), options_.small_views.begin(), options_.small_views.end());
  return all;
}

DataLoader BarlowTwins::with_views(const DataLoader& loader) const {
  const auto pipelines = all_pipelines();
  return loader.can_crop(pipelines) ? loader.with_views(pipelines) : loader;
}

void BarlowTwins::use_views(Learner& learn) {
  replaced_loaders_ = learn.dls;
  learn.dls.train = with_views(learn.dls.train);
  if (learn.dls.valid) {
    learn.dls.valid = with_views(*learn.dls.valid);
  }
}

void BarlowTwins::after_fit(Learner& learn) {
  if (replaced_loaders_) {
    learn.dls = std::move(*replaced_loaders_);
    replaced_loaders_.reset();
  }
  if (replaced_loss_) { // not if another callback failed before this one's before_fit
    learn.loss_func = std::move(*replaced_loss_);
    replaced_loss_.reset();
    learn.gradient_scale *= static_cast<double>(options_.reference_world_size);
  }
}

at::Tensor BarlowTwins::view(size_t number, const Batch& batch) const {
  const auto count = 2 + options_.small_views.size();
  check(number < count, "BarlowTwins::view", "number must be 0 to {}, received {}", count - 1, number);
  return make_view(number < 2 ? pipelines_[number] : options_.small_views[number - 2], batch, number);
}

std::vector<at::Tensor> BarlowTwins::inputs(const Batch& batch) const {
  std::vector<at::Tensor> passes{view(0, batch), view(1, batch)};
  if (options_.view_order == ViewOrder::Concatenated) {
    passes = {at::cat(passes)};
  }
  std::vector<at::Tensor> small;
  small.reserve(options_.small_views.size());
  for (size_t i = 0; i < options_.small_views.size(); ++i) {
    small.push_back(view(2 + i, batch));
  }
  if (!small.empty()) {
    passes.push_back(at::cat(small));
  }
  return passes;
}

void BarlowTwins::before_batch(Learner& learn) {
  if (learn.samples() < 2 && (!learn.training || learn.dls.train.options().batch_size > 1)) {
    throw CancelBatch(); // one sample, the last for validation or the only good one, has no statistics
  }
  if (!learn.training || learn.options.non_finite == NonFinite::Error) {
    learn.inputs = inputs(learn.batch);
    return;
  }
  bool good = true;
  try {
    learn.inputs = inputs(learn.batch);
  } catch (const NonFiniteError&) { // an image with NaN: the loss would be
    good = false;
  }
  if (!learn.options.process_group.all(good)) {
    ++learn.skipped;
    throw CancelBatch();
  }
}

at::Tensor BarlowTwins::show(int64_t n, const std::filesystem::path& file) const {
  constexpr auto here = "BarlowTwins::show";
  check(learn_ != nullptr, here, "the callback belongs to no Learner; call learn.add(...) first");
  const auto batch_size = learn_->dls.train.options().batch_size;
  check(n >= 1 && n <= batch_size, here, "n must be 1 to {}, the batch size, received {}", batch_size, n);
  auto stream = with_views(learn_->dls.train).epoch(learn_->total_epochs);
  Batch batch;
  while (batch.size() == 0) { // this process may have no image of the first one that can be read
    auto next = stream.next();
    check(next.has_value(), here, "there is no image to show");
    batch = std::move(*next);
  }
  const auto rows = std::min(n, batch.size());
  const std::vector<at::Tensor> both{view(0, batch), view(1, batch)};
  std::vector<at::Tensor> tiles;
  for (int64_t i = 0; i < rows; ++i) {
    for (size_t v = 0; v < 2; ++v) {
      tiles.push_back(pipelines_[v].decode(both[v].narrow(0, i, 1)).squeeze(0));
    }
  }
  auto picture = image_grid(tiles, 2);
  if (!file.empty()) {
    write_png(file, picture);
  }
  return picture;
}

} // namespace barlow
