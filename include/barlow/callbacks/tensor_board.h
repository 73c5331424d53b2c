// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <barlow/augment/pipeline.h>
#include <barlow/callback.h>
#include <barlow/data.h>

namespace barlow {

class EventFile;

struct TensorBoardOptions {
  std::filesystem::path folder = "tensorboard"; ///< of the run: what `tensorboard --logdir` is given, or below it
  int64_t views = 8; ///< samples in the picture of views at the start of a fit; 0: none
  std::optional<DataLoader> embed{}; ///< images for the projector at the end of the fit
  std::optional<Pipeline> transform{}; ///< as EmbedOptions::transform
};

/// Event files that TensorBoard opens: train/loss, train/lr and what Learner::log was given at each step; the epoch's
/// losses, seconds and the accuracy of OnlineKnn; a picture of views; the encoder's features of some images for the
/// projector, with labels and thumbnails. A resumed fit replaces what was written after its checkpoint. Rank 0 writes.
/// Throws Error for options out of range or a library built without ISA-L, FileError, before any step, if the folder
/// cannot be written. Source of the format: TensorFlow 2.19, tensorboard/compat/proto, and its projector plugin.
class TensorBoard : public Callback {
 public:
  explicit TensorBoard(TensorBoardOptions options);
  std::string name() const override;
  int order() const override; ///< 65: after OnlineKnn
  void before_fit(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_epoch(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  void write_projector(Learner& learn) const;

  TensorBoardOptions options_;
  std::shared_ptr<EventFile> file_; // while a fit runs, in rank 0
  int64_t steps_before_ = 0, step_ = 0; // of earlier fits, and of all
};

} // namespace barlow
