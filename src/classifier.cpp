// SPDX-License-Identifier: Apache-2.0
#include <barlow/classifier.h>

#include <cmath>

#include <torch/torch.h>

#include <barlow/batch_norm.h>

#include "check.h"
#include "init_linears.h"

namespace barlow {

namespace nn = torch::nn;

namespace {

void check_lr_mult(const char* name, double lr_mult) {
  check(std::isfinite(lr_mult) && lr_mult > 0, name, "lr_mult must be positive, received {}", lr_mult);
}

bool is_norm(const nn::Module& module) {
  return module.as<nn::BatchNorm1dImpl>() != nullptr || module.as<nn::BatchNorm2dImpl>() != nullptr;
}

} // namespace

nn::Sequential create_cls_module(int64_t in_features, int64_t n_out, const ClassifierOptions& options) {
  constexpr auto here = "create_cls_module";
  std::vector<int64_t> widths{in_features};
  widths.insert(widths.end(), options.hidden.begin(), options.hidden.end());
  widths.push_back(n_out);
  for (const auto width : widths) {
    check(width >= 1, here, "in_features, hidden sizes and n_out must be at least 1, received {}", width);
  }
  check(options.dropout >= 0 && options.dropout < 1, here, "dropout must be in [0, 1), received {}", options.dropout);

  nn::Sequential head;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    const bool last = i + 2 == widths.size(), bn = i == 0 ? options.first_bn : options.bn;
    const double dropout = last ? options.dropout : options.dropout / 2;
    if (bn) {
      head->push_back(BatchNorm1d(widths[i]));
    }
    if (dropout > 0) {
      head->push_back(nn::Dropout(dropout));
    }
    head->push_back(nn::Linear(nn::LinearOptions(widths[i], widths[i + 1]).bias(!bn)));
    if (!last) {
      head->push_back(nn::ReLU(nn::ReLUOptions(true)));
    }
  }
  if (options.bn_final) {
    constexpr double kMomentum = 0.01;
    head->push_back(BatchNorm1d(nn::BatchNorm1dOptions(n_out).momentum(kMomentum)));
  }
  return head;
}

BarlowTwinsModel create_model(Encoder encoder, int64_t n_out, const ClassifierOptions& options) {
  check(!encoder.is_empty(), "create_model", "the encoder must not be an empty module");
  auto head = create_cls_module(encoder->num_features(), n_out, options);
  init_linears(*head);
  return BarlowTwinsModel(std::move(encoder), std::move(head));
}

BarlowTwinsModel create_linear_model(Encoder encoder, int64_t n_out) {
  check(!encoder.is_empty(), "create_linear_model", "the encoder must not be an empty module");
  check(n_out >= 1, "create_linear_model", "n_out must be at least 1, received {}", n_out);
  nn::Linear linear(encoder->num_features(), n_out);
  nn::init::zeros_(linear->weight);
  nn::init::zeros_(linear->bias);
  return BarlowTwinsModel(std::move(encoder), nn::Sequential(linear));
}

void freeze(nn::Module& module, bool keep_norms) {
  module.apply([&](nn::Module& part) {
    for (auto& p : part.parameters(/*recurse=*/false)) {
      p.requires_grad_(keep_norms && is_norm(part));
    }
  });
}

void unfreeze(nn::Module& module) {
  for (auto& p : module.parameters()) {
    p.requires_grad_(true);
  }
}

LearnerOptions fine_tune_options(const FineTuneOptions& options) {
  check_lr_mult("fine_tune_options", options.lr_mult);
  LearnerOptions learner;
  learner.lr = options.lr;
  learner.opt_func = [options](const nn::Module& module) -> std::unique_ptr<Optimizer> {
    std::vector<ParamGroup> groups;
    for (const auto& part : module.named_children()) { // encoder, head; frozen parameters have no gradient
      const AdamOptions adam;
      for (auto& group : param_groups(*part.value(), adam.lr, adam.wd)) {
        group.lr_mult *= part.key() == "encoder" ? 1 / options.lr_mult : 1;
        groups.push_back(std::move(group));
      }
    }
    return std::make_unique<Adam>(std::move(groups));
  };
  return learner;
}

void fine_tune(Learner& learn, int64_t epochs, const FineTuneOptions& options) {
  constexpr auto here = "fine_tune";
  check(
      options.freeze_epochs >= 0 && epochs >= 1,
      here,
      "epochs must be at least 1 and freeze_epochs not negative, received {} and {}",
      epochs,
      options.freeze_epochs);
  check_lr_mult(here, options.lr_mult);
  check(
      learn.options.opt_func != nullptr, here, "the Learner must be made with fine_tune_options, received one without");
  auto& encoder = *learn.model->encoder;
  unfreeze(encoder);
  if (learn.opt == nullptr) { // over all parameters; those that are frozen have no gradient
    learn.opt = learn.options.opt_func(*learn.model);
  }
  if (options.freeze_epochs > 0) {
    constexpr double kPctStart = 0.99;
    freeze(encoder, /*keep_norms=*/true);
    learn.fit_one_cycle(options.freeze_epochs, options.lr, {.pct_start = kPctStart});
  }
  unfreeze(encoder);
  learn.fit_one_cycle(epochs, options.lr / 2, {.div = options.div, .pct_start = options.pct_start});
}

} // namespace barlow
