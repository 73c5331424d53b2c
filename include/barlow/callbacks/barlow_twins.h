// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/augment/pipeline.h>
#include <barlow/callback.h>
#include <barlow/data.h>

namespace barlow {

/// How the two views go through the model, which batch norm notices.
enum class ViewOrder {
  Concatenated, ///< in one pass: statistics of both views together, as the documented library
  Separate, ///< one after the other: statistics of each view, as the paper's program
};

struct BarlowTwinsOptions {
  double lmb = 0.005; ///< weight of the off-diagonal part, lambda
  double eps = 0; ///< added to each variance, as LossOptions::eps
  bool unbiased = false; ///< as LossOptions::unbiased
  double loss_scale = 1; ///< factor of the loss: solo-learn's 0.1
  /// The gradient is divided by this. The published runs had 1/W of the true one at W processes: with an optimiser that
  /// adapts its steps, their rates of biases and their weight decay were chosen for that. 1: the true gradient.
  int64_t reference_world_size = 1;
  ViewOrder view_order = ViewOrder::Concatenated;
  bool print_augs = false; ///< print the pipelines
  std::vector<Pipeline> small_views{}; ///< multi-crop: further views, all of one size; see get_multi_crop_aug_pipelines
};

/// Self-supervision by redundancy reduction: replaces each batch [N,C,H,W] by its two views, [2N,C,S,S] or two of
/// [N,C,S,S], in training and validation, and the loss by barlow_twins_loss of the halves. Labels are never looked at.
/// Images from files are cropped and mirrored by the loader's workers (DataLoader::with_views), the rest is done to the
/// batch on its device. With small views, these go through the model after the two large ones, and the loss is the mean
/// over the pairs of a large view and another one. It logs on_diagonal and off_diagonal, and says at the start what
/// loss to expect. Source: Zbontar et al., 2021; self_supervised 1.0.4.
class BarlowTwins : public Callback {
 public:
  /// Throws Error unless there are two pipelines, these and the small ones with split_idx 0.
  explicit BarlowTwins(std::vector<Pipeline> aug_pipelines, const BarlowTwinsOptions& options = {});

  std::string name() const override;
  int order() const override;
  void added(Learner& learn) override;
  void before_fit(Learner& learn) override;
  void before_batch(Learner& learn) override;
  void after_fit(Learner& learn) override;

  /// A picture of n samples of the next training batch, a row each, its two views side by side: uint8 [C,H,W], also
  /// written to `file` as PNG unless that is empty. Throws Error unless 1 <= n <= batch size, or before Learner::add.
  at::Tensor show(int64_t n = 1, const std::filesystem::path& file = "views.png") const;

  /// The loader as a fit uses it: with images from files cropped where they are decoded.
  DataLoader with_views(const DataLoader& loader) const;

  /// View `number` of a batch of with_views' or of images on the model's device: [N,C,S,S].
  at::Tensor view(size_t number, const Batch& batch) const;

 private:
  std::vector<Pipeline> all_pipelines() const;
  std::string describe_options() const;
  void use_views(Learner& learn);
  std::vector<at::Tensor> inputs(const Batch& batch) const; // a tensor for each pass through the model
  at::Tensor loss(const at::Tensor& pred) const; // of embeddings [(2 + small views) N,D]

  std::vector<Pipeline> pipelines_;
  BarlowTwinsOptions options_;
  Learner* learn_ = nullptr;
  std::optional<std::function<at::Tensor(const at::Tensor&, const Batch&)>>
      replaced_loss_; // these two while a fit runs
  std::optional<DataLoaders> replaced_loaders_;
};

} // namespace barlow
