// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/random.h>

namespace barlow {

/// One step of a pipeline. What is random in it is drawn first, then applied, so that a draw can be looked at and
/// replayed.
class Transform {
 public:
  virtual ~Transform() = default;

  virtual std::string name() const = 0; ///< as a pipeline prints it

  /// Where it goes in a pipeline: ascending, equal ones as given. The documented library's values.
  virtual int order() const {
    return 0;
  }

  /// One draw for the whole batch, keyed by its first sample, instead of one a sample.
  virtual bool same_on_batch() const {
    return false;
  }

  /// True if apply calls nothing but functions of transforms.h and looks at nothing of x but its sizes and type: then a
  /// pipeline runs it in one go with its neighbours, image by image.
  virtual bool fusable() const {
    return false;
  }

  /// One sample's parameters for an image of height x width pixels; a transform without randomness draws none.
  virtual std::vector<double> draw(KeyedRandom& random, int64_t height, int64_t width) const;

  /// Images [N,C,H,W], floating, transformed by what was drawn for each of the N samples. Must not change x.
  virtual at::Tensor apply(const at::Tensor& x, const std::vector<std::vector<double>>& drawn) const = 0;

  /// Undoes what would spoil a picture, such as a normalisation; by default nothing.
  virtual at::Tensor decode(const at::Tensor& x) const;
};

using TransformPtr = std::shared_ptr<const Transform>;

/// Transforms in a row, sorted by their order; makes one view of a batch.
class Pipeline {
 public:
  /// drawn[t][n]: the parameters that transform t drew for sample n.
  using Drawn = std::vector<std::vector<std::vector<double>>>;

  /// split_idx as in the documented library: 0 for training transforms, which is what BarlowTwins asks for.
  /// Throws Error for an empty pointer.
  explicit Pipeline(std::vector<TransformPtr> transforms, int split_idx = 0);

  /// These pipelines one after the other, without sorting across them.
  static Pipeline compose(const std::vector<Pipeline>& pipelines);

  /// A view of x [N,C,H,W], floating or uint8 (read as x / 255), any device: floating. The same keys give the same view
  /// of a sample, whatever else is in the batch and whatever the number of threads.
  /// `skip` transforms at the beginning are left out, for a batch that has been through them.
  /// Throws Error for another shape or type, an empty batch, a number of keys other than N; on the CPU
  /// NonFiniteError for NaN.
  at::Tensor operator()(const at::Tensor& x, const ViewKeys& keys, size_t skip = 0) const;

  /// The same, returning also what was drawn.
  std::pair<at::Tensor, Drawn> apply_and_draw(const at::Tensor& x, const ViewKeys& keys, size_t skip = 0) const;

  /// How many transforms at the beginning make a crop and its mirroring, what DataLoader::with_views does where images
  /// are decoded: 2 for RandomResizedCrop and RandomHorizontalFlip, 1 for the first alone, else 0.
  size_t leading_crop() const;

  /// The view that these parameters give. Throws Error unless there is one entry a transform and sample.
  at::Tensor replay(const at::Tensor& x, const Drawn& drawn) const;

  /// The transforms' decode, last first: a view as a picture.
  at::Tensor decode(at::Tensor x) const;

  int split_idx() const {
    return split_idx_;
  }
  const std::vector<TransformPtr>& transforms() const {
    return transforms_;
  }

 private:
  /// drawn[t] by `draw`(transform t, height, width), then everything applied.
  template <class Draw>
  at::Tensor run(const at::Tensor& x, size_t skip, const Draw& draw) const;

  std::vector<TransformPtr> transforms_;
  int split_idx_;
};

/// `Pipeline: RandomResizedCrop -> RandomHorizontalFlip`
std::ostream& operator<<(std::ostream& out, const Pipeline& pipeline);

} // namespace barlow
