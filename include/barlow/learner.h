// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <typeinfo>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/callback.h>
#include <barlow/callbacks/recorder.h>
#include <barlow/data.h>
#include <barlow/error.h>
#include <barlow/model.h>
#include <barlow/optim.h>

namespace barlow {

/// What to do with a training step whose loss is NaN or infinite.
enum class NonFinite {
  Error, ///< throw NonFiniteError
  Skip, ///< leave the parameters alone, count it in Learner::skipped, go on
};

struct LearnerOptions {
  double lr = 1e-3; ///< used by fit unless told otherwise
  std::function<std::unique_ptr<Optimizer>(const torch::nn::Module&)>
      opt_func{}; ///< empty: Adam with fastai's defaults
  std::optional<at::Device> device{}; ///< nullopt: CUDA if there is one, else CPU
  NonFinite non_finite = NonFinite::Error;
  bool progress = true; ///< a bar on a terminal, and the table of epochs
};

/// Trains a model with callbacks, as fastai's Learner. It stays where it was made: callbacks may point to it.
///
///     Learner learn(data, model);
///     learn.add(BarlowTwins(pipelines));
///     learn.fit(10);
class Learner {
  struct Listener {
    std::shared_ptr<Callback> callback;
    EventSet events;
  };
  std::vector<Listener> listeners_; // ascending order; these two come first, for `recorder` is one of them
  bool fitting_ = false;

 public:
  /// Throws Error for an empty model or a device that is not there. Moves the model to the device.
  Learner(DataLoaders data, BarlowTwinsModel barlow_twins_model, LearnerOptions learner_options = {});
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;
  ~Learner();

  /// Takes a callback into the loop; the reference stays valid as long as the Learner.
  template <class C>
  C& add(C callback) {
    auto owned = std::make_shared<C>(std::move(callback));
    C& added = *owned;
    insert(std::move(owned), overridden_events<C>());
    return added;
  }

  /// The callback of this type. Throws Error if there is none.
  template <class C>
  C& get() {
    for (auto& listener : listeners_) {
      if (auto* found = dynamic_cast<C*>(listener.callback.get())) {
        return *found;
      }
    }
    throw Error(std::string("[Learner::get] there is no callback of type ") + typeid(C).name() + "; add it first");
  }

  /// Trains for n_epoch epochs, validating after each if there is a validation set. The optimiser's state goes on from
  /// an earlier fit. Throws Error for n_epoch < 1, a bad rate, or no loss function (add BarlowTwins).
  void fit(int64_t n_epoch, std::optional<double> lr = std::nullopt);

  /// One batch through the loop: a step of training or, if `training` is false, of validation.
  void one_batch(Batch one);

  /// The loop with the callbacks that listen to each event.
  void print_loop(std::ostream& out) const;

  // The state of the loop, for callbacks to read and, where it makes sense, to change.
  DataLoaders dls;
  BarlowTwinsModel model;
  LearnerOptions options;
  at::Device device;
  std::unique_ptr<Optimizer> opt;
  Recorder& recorder;
  std::function<at::Tensor(const at::Tensor& pred, const Batch& batch)> loss_func; ///< a scalar with a gradient

  int64_t epoch = 0, n_epoch = 0; ///< of the present fit
  int64_t iter = 0, n_iter = 0; ///< batch of the epoch's training or validation
  int64_t train_iter = 0; ///< training steps of the present fit, so far
  int64_t total_epochs = 0; ///< epochs of all fits, so far: keys the random numbers
  int64_t skipped = 0; ///< steps left out for a non-finite loss
  bool training = false;
  double wait_seconds = 0; ///< waiting for data, in this epoch's training or validation

  Batch batch; ///< as the loader gave it, on the device
  at::Tensor input; ///< what the model gets: of before_batch's making, or else batch.x in 0..1
  at::Tensor pred, loss;
  double loss_value = 0;
  std::vector<std::pair<std::string, double>> step_values; ///< what callbacks want logged of this step

 private:
  void insert(std::shared_ptr<Callback> callback, EventSet events);
  void emit(Event event);
  void run_fit();
  void run_epoch();
  void run_batches(const DataLoader& loader);
  void run_batch();
  void step();
  void check_input() const;

  template <class Cancel, class Body>
  void with_events(Event before, Event cancelled, Event after, Body body);
};

} // namespace barlow
