// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/callback.h>
#include <barlow/callbacks/recorder.h>
#include <barlow/checkpoint.h>
#include <barlow/data.h>
#include <barlow/distributed.h>
#include <barlow/error.h>
#include <barlow/lr_find.h>
#include <barlow/model.h>
#include <barlow/optim.h>
#include <barlow/schedule.h>

namespace barlow {

/// What to do with a training step whose loss is NaN or infinite.
enum class NonFinite {
  Error, ///< throw NonFiniteError
  Skip, ///< leave the parameters and running statistics alone, count it in Learner::skipped, go on
};

/// Arithmetic of the forward pass. Parameters, optimiser and loss are float32 whatever it is.
enum class Precision {
  Float32,
  BFloat16, ///< autocast; on CPUs without instructions for it many times slower than Float32
  Float16, ///< autocast, the loss scaled so that small gradients do not vanish
};

struct LearnerOptions {
  double lr = 1e-3; ///< used by fit unless told otherwise
  std::function<std::unique_ptr<Optimizer>(const torch::nn::Module&)>
      opt_func{}; ///< empty: Adam with fastai's defaults. A fit sets its rate, times each group's lr_mult
  std::optional<at::Device> device{}; ///< nullopt: CUDA if there is one, else CPU
  NonFinite non_finite = NonFinite::Error;
  bool progress = true; ///< a bar on a terminal, and the table of epochs
  Precision precision = Precision::Float32;

  /// Images that go through the model at once; 0: all. The loss and its gradient are those of the whole batch: the
  /// embeddings are computed first without a graph, then again part by part with their share of the gradient, which
  /// costs a second forward pass. Only batch norm sees the parts: its statistics are of `micro_batch` images.
  int64_t micro_batch = 0;

  /// On CUDA, captures the training step after three steps and replays it. Needs one process, batches of one shape
  /// (drop_last), a read_lag of at least 1, no micro_batch, a constant momentum, and callbacks that say
  /// Callback::capturable for what they do inside the step.
  bool cuda_graph = false;

  /// On the CPU, memory that a step frees is kept for the next one (mallopt, for the whole process) and not given back
  /// to the system between them.
  bool keep_memory = true;

  int64_t read_lag = -1; ///< steps after which the losses are read from the device; -1: 0 on the CPU, 8 on CUDA
  ProcessGroup process_group{}; ///< who trains together; rank 0 alone prints and writes
  bool sync_batch_norm = true; ///< statistics of all processes, as one would have them; needs barlow's batch norms
  std::string recipe{}; ///< name and hash of the recipe, kept in checkpoints: see recipe_id
};

/// What is known of a step when its values have been read.
struct StepValues {
  bool training = true;
  int64_t epoch = 0, iter = 0, step = 0; ///< as the Learner's epoch, iter and train_iter then
  int64_t samples = 0; ///< of all processes
  double lr = 0; ///< of the first group
  double loss = 0; ///< may be NaN or infinite, see NonFinite::Skip
  std::vector<std::pair<std::string, double>> logged; ///< see Learner::log
};

class BatchUpload;
class GraphedStep;
class LateValues;
class TrainingStep;

/// Trains a model with callbacks, as fastai's Learner. It stays where it was made: callbacks may point to it.
///
/// With a process group, each process works on its rows of every batch and has rank 0's parameters: the loss, its
/// gradient and the batch norms' statistics are those of one process with all rows. Every process makes the same calls.
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
  /// Moves the model to the device. Throws Error for an empty model, a device that is not there, options out of range
  /// or that do not go together, a batch_size that the processes cannot share, or torch's own batch norms among
  /// several.
  Learner(DataLoaders data, BarlowTwinsModel barlow_twins_model, LearnerOptions learner_options = {});
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;
  ~Learner();

  /// Takes a callback into the loop; the reference stays valid as long as the Learner. Throws Error while a fit runs.
  template <class C>
  C& add(C callback) {
    auto owned = std::make_shared<C>(std::move(callback));
    C& added = *owned;
    insert(std::move(owned), overridden_events<C>());
    return added;
  }

  /// The first callback of this type, or null.
  template <class C>
  C* find() {
    for (auto& listener : listeners_) {
      if (auto* found = dynamic_cast<C*>(listener.callback.get())) {
        return found;
      }
    }
    return nullptr;
  }

  /// As find; throws Error if there is none.
  template <class C>
  C& get() {
    if (auto* found = find<C>()) {
      return *found;
    }
    throw Error(std::string("[Learner::get] there is no callback of type ") + typeid(C).name() + "; add it first");
  }

  /// Trains for n_epoch epochs, validating after each if there is a validation set. The optimiser's state goes on from
  /// an earlier fit. Throws Error for n_epoch < 1, a bad rate, no loss function (add BarlowTwins), or a batch of one
  /// sample for a model with batch norms, or a parameter that was frozen until the optimiser was made.
  void fit(int64_t n_epoch, std::optional<double> lr = std::nullopt);

  /// The same with a learning rate, and perhaps a momentum, of each step.
  void fit(int64_t n_epoch, const Schedule& lr, const Schedule& momentum = {});

  /// Smith's policy, with fastai's defaults. `lr_max`: nullopt: options.lr.
  void fit_one_cycle(int64_t n_epoch, std::optional<double> lr_max = std::nullopt, const OneCycleOptions& cycle = {});

  /// A constant rate, then a cosine, with fastai's defaults. `lr`: nullopt: options.lr.
  void fit_flat_cos(int64_t n_epoch, std::optional<double> lr = std::nullopt, const FlatCosineOptions& flat = {});

  /// Trains some steps with rising rates and takes them back: model, optimiser and counts are as before. See lr_find.h.
  LrFindResult lr_find(const LrFindOptions& find = {});

  /// One batch through the loop: a step of training or, if `training` is false, of validation.
  void one_batch(Batch one);

  int64_t samples() const; ///< of the batch, in all processes

  /// A scalar tensor to be read with the loss of this step, for logs and StepValues.
  void log(std::string name, at::Tensor value);

  /// Reads the values that are still on the device.
  void read_values();

  /// The loop with the callbacks that listen to each event.
  void print_loop(std::ostream& out) const;

  /// The state of the run at the end of a step: model, optimiser, scaler, random state, position, callbacks. The
  /// tensors are the run's own, not copies. See checkpoint.h for the file.
  Checkpoint state();
  void save(const std::filesystem::path& file); ///< by rank 0; throws FileError in every process

  /// Takes model, optimiser and scaler of a checkpoint; the next fit is a new one. All or nothing: throws FileError for
  /// a broken file, Error for one of another encoder or optimiser.
  void load(const std::filesystem::path& file);
  void load(const Checkpoint& from);

  /// Makes the next fit, or the present one in before_fit, go on where the checkpoint's fit was: the same call of fit
  /// ends with the parameters and the log that an undisturbed run has, on the CPU to the bit. Throws FileError for a
  /// broken file; fit throws Error if it is of another encoder, optimiser, data set, recipe, precision, rate or number
  /// of epochs, or was saved between two fits (see load).
  void resume(const std::filesystem::path& file);

  // The state of the loop, for callbacks to read and, where it makes sense, to change.
  DataLoaders dls;
  BarlowTwinsModel model;
  LearnerOptions options;
  at::Device device;
  std::unique_ptr<Optimizer> opt;
  Recorder& recorder;
  std::function<at::Tensor(const at::Tensor& pred, const Batch& batch)> loss_func; ///< a scalar with a gradient
  bool sum_gradients = true; ///< of this step over the processes; who accumulates takes it away but for the last one
  double gradient_scale = 1; ///< factor of every gradient; the loss is shown without it

  int64_t epoch = 0, n_epoch = 0; ///< of the present fit
  int64_t iter = 0, n_iter = 0; ///< batch of the epoch's training or validation
  int64_t train_iter = 0; ///< training steps of the present fit, so far
  int64_t total_epochs = 0; ///< epochs of all fits, so far: keys the random numbers
  int64_t skipped = 0; ///< steps left out for a non-finite loss
  bool training = false;
  double wait_seconds = 0; ///< waiting for data, in this epoch's training or validation

  Batch batch; ///< as the loader gave it, on the device: this process' rows
  std::vector<int64_t> rows; ///< of the batch that each process has, by rank
  /// What the model gets, each tensor in a forward pass of its own: of before_batch's making, or else batch.x in 0..1.
  std::vector<at::Tensor> inputs;
  at::Tensor pred; ///< embeddings of the inputs, one below the other
  at::Tensor loss;
  at::Tensor loss_grad; ///< what backward starts from: `loss`, which after_loss may scale
  StepValues values; ///< of the step that after_read tells of

 private:
  void insert(std::shared_ptr<Callback> callback, EventSet events);
  void remove(const Callback* callback);
  void call(Callback& callback, Event event);
  void emit(Event event);
  void run(int64_t n, double rate, std::string kind);
  void run_fit();
  void run_epoch();
  void run_batches(const DataLoader& loader, int64_t first);
  void run_batch();
  void forward_and_step();
  void step();
  void push_values();
  void check_non_finite(const StepValues& of) const;
  void report(bool all);
  struct Position { // of the next step
    int64_t in_fit = 0, epoch = 0, batch = 0, steps = 0, total_epochs = 0, skipped = 0;
  };
  Position position() const;
  void continue_from(const Checkpoint& from);
  std::map<std::string, std::string> identity() const;
  void agree() const;
  void check_input() const;
  void check_before_fit(int64_t n, double rate) const;
  void check_graph() const;
  void check_unfrozen() const;
  void make_optimizer();
  template <class Body>
  void with_callback(std::shared_ptr<Callback> callback, EventSet events, Body body);

  template <class Cancel, class Body>
  void with_events(Event before, Event cancelled, Event after, Body body);

  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<BatchUpload> upload_;
  std::unique_ptr<LateValues> late_;
  std::unique_ptr<GraphedStep> graph_;
  std::vector<std::pair<std::string, at::Tensor>> logged_; // of the present step
  std::string fit_kind_; // in words, to compare with a checkpoint's
  std::vector<at::Tensor> frozen_; // parameters, when the optimiser was made
  bool in_epoch_ = false; // training batches of the epoch are left
  int64_t next_batch_ = 0; // the first of them
  bool read_at_once_ = true;
  std::optional<Checkpoint> resume_; // what the next fit begins with
};

} // namespace barlow
