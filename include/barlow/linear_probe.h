// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/embed.h>

namespace barlow {

/// Classes from features: scores = (features - mean) / std * weight' + bias.
struct LinearClassifier {
  at::Tensor weight, bias; ///< [classes,F], [classes]
  at::Tensor mean, std; ///< [F] of the features it was fitted to

  at::Tensor scores(const at::Tensor& features) const; ///< [N,F] -> [N,classes]
};

struct LogisticOptions {
  double l2 = 1e-3; ///< of the objective: mean cross-entropy + l2 / 2 * |weight|^2
  int64_t max_iterations = 200; ///< of L-BFGS
  double tolerance = 1e-5; ///< largest gradient of the objective that counts as none
};

/// Multinomial logistic regression on features standardised by their own mean and spread, by L-BFGS: the optimum is
/// one, so there is no rate and no number of steps to choose. What a linear probe says of frozen features, in seconds.
/// Throws Error for labels that are missing or of one class, options out of range, NonFiniteError for NaN or infinity.
LinearClassifier fit_logistic(const Embeddings& train, const LogisticOptions& options = {});

/// How a linear layer is trained on the features of a frozen encoder.
struct LinearProbeOptions {
  int64_t epochs = 100;
  double lr = 0.3; ///< of batches of 256; scaled with the loader's batch size
  double momentum = 0.9, weight_decay = 1e-6;
  std::vector<double> milestones{}; ///< shares of the epochs after which the rate is a tenth; empty: a cosine to 0
  std::optional<Pipeline> augment{}; ///< of training images: crops and flips; nullopt: `transform`
  std::optional<Pipeline> transform{}; ///< of the others
  std::optional<at::Device> device{}; ///< nullopt: CUDA if there is one, else CPU
  bool progress = true;

  /// The paper's for ImageNet: what these defaults are.
  static LinearProbeOptions paper() {
    return {};
  }
  /// solo-learn's: rates that fall at 60 and 80 of 100 epochs, no weight decay.
  static LinearProbeOptions solo_learn() {
    LinearProbeOptions options;
    options.weight_decay = 0;
    options.milestones = {0.6, 0.8};
    return options;
  }
};

struct LinearAccuracy {
  double top1 = 0, top5 = 0; ///< shares of the samples whose label has the best score, or one of the five best
};

/// Trains a linear layer on the encoder's features with SGD and gives its accuracy on the validation set: the number
/// that papers report. The encoder is as before, to the bit. Throws Error for data without labels or validation set, or
/// whose training set is a StreamDataset.
/// Source: Zbontar et al., 2021; facebookresearch/barlowtwins evaluate.py; solo-learn.
LinearAccuracy linear_probe(Encoder encoder, const DataLoaders& dls, const LinearProbeOptions& options = {});

/// Of the classifier's scores for labelled samples. Throws Error if they have no labels.
LinearAccuracy accuracy(const LinearClassifier& classifier, const Embeddings& samples);

} // namespace barlow
