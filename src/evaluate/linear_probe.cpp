// SPDX-License-Identifier: Apache-2.0
#include <barlow/linear_probe.h>

#include <cmath>

#include <torch/torch.h>

#include <barlow/callbacks/classification.h>
#include <barlow/classifier.h>
#include <barlow/learner.h>

#include "../check.h"
#include "../evaluating.h"
#include "shares.h"

namespace barlow {
namespace {

using torch::Tensor;
namespace functional = torch::nn::functional;

constexpr auto kHere = "fit_logistic";

bool are_labels(const Tensor& labels, int64_t rows) {
  return labels.sizes() == at::IntArrayRef{rows} && labels.scalar_type() == torch::kLong && !labels.is_meta();
}

void check_input(const Embeddings& train, const LogisticOptions& options) {
  const auto& x = train.features;
  check(
      x.dim() == 2 && x.size(0) >= 2 && x.size(1) >= 1 && x.is_floating_point() && !x.is_meta(),
      kHere,
      "features must be [N,F], floating, N at least 2, F at least 1, received {}",
      describe(x));
  check<NonFiniteError>(x.isfinite().all().item<bool>(), kHere, "features must be finite");
  check(
      are_labels(train.labels, x.size(0)) && train.labels.min().item<int64_t>() >= 0,
      kHere,
      "every sample needs a label of 0 or more, int64, received {}; leave unlabelled samples out",
      describe(train.labels));
  check(train.labels.max().item<int64_t>() >= 1, kHere, "there must be at least 2 classes");
  check(
      std::isfinite(options.l2) && options.l2 > 0 && options.max_iterations >= 1 && options.tolerance > 0,
      kHere,
      "l2, max_iterations and tolerance must be positive, received {}, {} and {}",
      options.l2,
      options.max_iterations,
      options.tolerance);
}

Schedule rate(const LinearProbeOptions& options, int64_t batch_size) {
  constexpr double kReferenceBatch = 256;
  const double lr = options.lr * static_cast<double>(batch_size) / kReferenceBatch;
  auto of_epochs = options.milestones.empty() ? warmup_cosine(lr, {}) : step_decay(lr, options.milestones);
  return by_epoch(std::move(of_epochs), options.epochs);
}

// Whether each parameter wants a gradient, as it was, afterwards.
class WantedGradients {
 public:
  explicit WantedGradients(const torch::nn::Module& module) {
    for (auto& p : module.parameters()) {
      wanted_.emplace_back(p, p.requires_grad());
    }
  }
  ~WantedGradients() {
    for (auto& [parameter, wanted] : wanted_) {
      parameter.requires_grad_(wanted);
    }
  }
  WantedGradients(const WantedGradients&) = delete;
  WantedGradients& operator=(const WantedGradients&) = delete;

 private:
  std::vector<std::pair<Tensor, bool>> wanted_;
};

} // namespace

Tensor LinearClassifier::scores(const Tensor& features) const {
  check(
      features.dim() == 2 && weight.dim() == 2 && features.size(1) == weight.size(1) &&
          features.scalar_type() == weight.scalar_type() && features.device() == weight.device(),
      "LinearClassifier::scores",
      "features must be [N,F] for a weight [classes,F] of their type and device, received {} for {}",
      describe(features),
      describe(weight));
  return at::addmm(bias, (features - mean) / std, weight.t());
}

LinearClassifier fit_logistic(const Embeddings& train, const LogisticOptions& options) {
  check_input(train, options);
  const auto mean = train.features.mean(0), spread = train.features.std(0, /*unbiased=*/false);
  const auto std = at::where(spread > 0, spread, at::ones_like(spread));
  const auto x = (train.features - mean) / std;
  const auto classes = train.labels.max().item<int64_t>() + 1;
  const torch::AutoGradMode with_grad(true);
  const auto weight = torch::zeros({classes, x.size(1)}, x.options()).requires_grad_();
  const auto bias = torch::zeros({classes}, x.options()).requires_grad_();
  torch::optim::LBFGS optimizer(
      {weight, bias},
      torch::optim::LBFGSOptions(1)
          .max_iter(options.max_iterations)
          .tolerance_grad(options.tolerance)
          .tolerance_change(0)
          .line_search_fn("strong_wolfe"));
  optimizer.step([&] {
    optimizer.zero_grad();
    const auto loss = functional::cross_entropy(at::addmm(bias, x, weight.t()), train.labels) +
        weight.square().sum() * (options.l2 / 2);
    loss.backward();
    return loss;
  });
  return {weight.detach(), bias.detach(), mean, std};
}

LinearAccuracy linear_probe(Encoder encoder, const DataLoaders& dls, const LinearProbeOptions& options) {
  constexpr auto here = "linear_probe";
  check(!encoder.is_empty(), here, "encoder must not be empty");
  check(dls.valid.has_value(), here, "there must be a validation set to measure on");
  check(
      options.epochs >= 1 && std::isfinite(options.lr) && options.lr > 0,
      here,
      "epochs and lr must be positive, received {} and {}",
      options.epochs,
      options.lr);
  int64_t classes = 0;
  for (const auto& loader : {dls.train, *dls.valid}) {
    classes = std::max(classes, loader.largest_label() + 1);
  }
  check(classes >= 2, here, "there must be at least 2 classes, received labels for {}", classes);

  const Evaluating as_it_was(*encoder);
  const WantedGradients wanted(*encoder);
  auto model = create_linear_model(encoder, classes);
  freeze(*encoder);
  Learner learn(
      dls,
      model,
      {.opt_func =
           [&](const torch::nn::Module& module) {
             return make_sgd(
                 module, {.lr = options.lr, .momentum = options.momentum, .weight_decay = options.weight_decay});
           },
       .device = options.device,
       .progress = options.progress});
  learn.add(Classification({.augment = options.augment, .transform = options.transform, .frozen_encoder = true}));
  learn.fit(options.epochs, rate(options, dls.train.options().batch_size));

  const auto scores = embed(model, *dls.valid, {.device = learn.device, .transform = options.transform});
  return {share_in_best(scores.features, scores.labels, 1), share_in_best(scores.features, scores.labels, 5)};
}

LinearAccuracy accuracy(const LinearClassifier& classifier, const Embeddings& samples) {
  const auto scores = classifier.scores(samples.features);
  check(
      scores.size(0) >= 1 && are_labels(samples.labels, scores.size(0)),
      "accuracy",
      "every sample needs an int64 label, received {} for {} samples",
      describe(samples.labels),
      scores.size(0));
  return {share_in_best(scores, samples.labels, 1), share_in_best(scores, samples.labels, 5)};
}

} // namespace barlow
