// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <barlow/learner.h>
#include <barlow/model.h>

namespace barlow {

// What comes after pretraining: the encoder with a head that tells classes apart.
//
//     auto model = create_model(encoder, 10);
//     Learner learn(dls, model, fine_tune_options());
//     learn.add(Classification());
//     fine_tune(learn, 5);

struct ClassifierOptions {
  std::vector<int64_t> hidden{512}; ///< widths of the hidden layers; empty: one linear layer
  double dropout = 0.5; ///< before the last layer; before the others half of it
  bool first_bn = true, bn = true; ///< batch norm of the features, and of the hidden layers
  bool bn_final = false; ///< of the scores, momentum 0.01
};

/// Batch norm, dropout, linear, ReLU ... linear: [N,in_features] -> [N,n_out], numbered and initialised (by
/// create_model) as the documented library's; a linear layer after a batch norm has no bias. Throws Error unless every
/// size is positive and the dropout in [0, 1). Source: self_supervised 1.0.4 create_cls_module.
torch::nn::Sequential create_cls_module(int64_t in_features, int64_t n_out, const ClassifierOptions& options = {});

/// The encoder with such a head in the projector's place: scores [N,n_out].
BarlowTwinsModel create_model(Encoder encoder, int64_t n_out, const ClassifierOptions& options = {});

/// The encoder with one linear layer from zero: what a linear probe trains.
BarlowTwinsModel create_linear_model(Encoder encoder, int64_t n_out);

/// Parameters are trained no more (freeze), or again (unfreeze): before an optimiser is made, see Learner::fit.
/// fastai's freezing leaves batch norms free: `keep_norms`.
void freeze(torch::nn::Module& module, bool keep_norms = false);
void unfreeze(torch::nn::Module& module);

struct FineTuneOptions {
  int64_t freeze_epochs = 1; ///< of the head (and the batch norms) alone, first; 0: none
  double lr = 2e-3; ///< highest rate of the head; half of it once the encoder trains
  double lr_mult = 100; ///< the encoder's rate is the head's over this
  double pct_start = 0.3, div = 5; ///< of the second one-cycle
};

/// The optimiser that fine_tune wants: Adam over two layer groups, the encoder's rate a `lr_mult`-th of the head's.
LearnerOptions fine_tune_options(const FineTuneOptions& options = {});

/// Trains a pretrained encoder's head, then all of it, at rates that rise from layer group to layer group. Needs
/// Classification and fine_tune_options. Throws Error for options out of range. Source: fastai 2.8.12, fine_tune.
void fine_tune(Learner& learn, int64_t epochs, const FineTuneOptions& options = {});

} // namespace barlow
