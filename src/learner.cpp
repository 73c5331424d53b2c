// SPDX-License-Identifier: Apache-2.0
#include <barlow/learner.h>

#include <array>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <unordered_set>
#include <utility>

#include <torch/torch.h>

#include <barlow/batch_norm.h>
#include <barlow/callbacks/param_scheduler.h>
#include <barlow/callbacks/progress.h>

#include "batch_upload.h"
#include "callbacks/data_summary.h"
#include "check.h"
#include "device.h"
#include "graphed_step.h"
#include "late_values.h"
#include "memory.h"
#include "training_step.h"

namespace barlow {
namespace {

at::Device choose_device(const std::optional<at::Device>& asked, const ProcessGroup& group) {
  if (!asked || (asked->is_cuda() && !asked->has_index() && group.size() > 1)) {
    return group.device();
  }
  check_device(*asked, "Learner");
  return *asked;
}

at::Tensor to_unit_float(const at::Tensor& x) {
  return x.scalar_type() == torch::kByte ? x.to(torch::kFloat).div_(255) : x;
}

constexpr int64_t kLagOnDevices = 8; // steps

void divide(DataLoaders& dls, const ProcessGroup& group, const at::Device& device) {
  const auto batch_size = dls.train.options().batch_size;
  check(
      batch_size % group.size() == 0,
      "Learner",
      "batch_size is that of all processes together and must be a multiple of their number, received {} and {}; take "
      "{}",
      batch_size,
      group.size(),
      (batch_size / group.size() + 1) * group.size());
  const auto prepare = [&](DataLoader& loader) {
    if (group.size() > 1) {
      loader = loader.shard(group.shard());
    }
    loader.pin_memory(device.is_cuda());
  };
  prepare(dls.train);
  if (dls.valid) {
    prepare(*dls.valid);
  }
}

bool has_batch_norm(const torch::nn::Module& module) {
  const auto modules = module.modules();
  return std::any_of(modules.begin(), modules.end(), [](const auto& m) {
    return m->template as<torch::nn::BatchNorm1dImpl>() != nullptr ||
        m->template as<torch::nn::BatchNorm2dImpl>() != nullptr;
  });
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of several things that are all done.
class FirstError {
 public:
  template <class Body>
  void attempt(Body body) {
    try {
      body();
    } catch (...) {
      error_ = error_ ? error_ : std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

 private:
  std::exception_ptr error_;
};

bool passes_through(const std::exception& e) {
  return dynamic_cast<const Interrupted*>(&e) != nullptr || dynamic_cast<const ProcessGroupError*>(&e) != nullptr ||
      dynamic_cast<const CancelBatch*>(&e) != nullptr || dynamic_cast<const CancelTrain*>(&e) != nullptr ||
      dynamic_cast<const CancelValidate*>(&e) != nullptr || dynamic_cast<const CancelEpoch*>(&e) != nullptr ||
      dynamic_cast<const CancelFit*>(&e) != nullptr;
}

} // namespace

Learner::Learner(DataLoaders data, BarlowTwinsModel barlow_twins_model, LearnerOptions learner_options)
    : dls(std::move(data)),
      model(std::move(barlow_twins_model)),
      options(std::move(learner_options)),
      device(choose_device(options.device, options.process_group)),
      recorder(add(Recorder())) {
  check(!model.is_empty(), "Learner", "the model must not be an empty module");
  check(options.read_lag >= -1, "Learner", "read_lag must be -1 or a number of steps, received {}", options.read_lag);
  if (device.is_cpu() && options.keep_memory) {
    keep_freed_memory();
  }
  model->to(device);
  divide(dls, options.process_group, device);
  sync_batch_norm(*model, options.sync_batch_norm ? options.process_group : ProcessGroup());
  options.progress = options.progress && options.process_group.is_main();
  if (!options.process_group.is_main()) { // drop-out of its own
    torch::manual_seed(
        at::detail::getDefaultCPUGenerator().current_seed() + static_cast<uint64_t>(options.process_group.rank()));
  }
  const int64_t lag = options.read_lag >= 0 ? options.read_lag : device.is_cpu() ? 0 : kLagOnDevices;
  read_at_once_ = lag == 0;
  upload_ = std::make_unique<BatchUpload>(device);
  late_ = std::make_unique<LateValues>(device, lag);
  step_ = std::make_unique<TrainingStep>(model, device, options);
  if (options.cuda_graph) {
    check(
        device.is_cuda() && lag > 0 && options.micro_batch == 0 && options.process_group.size() == 1,
        "Learner",
        "cuda_graph needs a CUDA device, a read_lag of at least 1, no micro_batch and one process");
    graph_ = std::make_unique<GraphedStep>(device);
  }
  if (options.progress) {
    add(Progress());
  }
}

Learner::~Learner() = default;

void Learner::insert(std::shared_ptr<Callback> callback, EventSet events) {
  check(!fitting_, "Learner::add", "a callback cannot be added while a fit runs");
  callback->added(*this); // may refuse
  const auto after = std::upper_bound(
      listeners_.begin(), listeners_.end(), callback->order(), [](int order, const Listener& listener) {
        return order < listener.callback->order();
      });
  listeners_.insert(after, {std::move(callback), events});
}

void Learner::remove(const Callback* callback) {
  std::erase_if(listeners_, [&](const Listener& listener) { return listener.callback.get() == callback; });
}

template <class Body>
void Learner::with_callback(std::shared_ptr<Callback> callback, EventSet events, Body body) {
  const auto* added = callback.get();
  insert(std::move(callback), events);
  const std::unique_ptr<const Callback, std::function<void(const Callback*)>> remover(
      added, [this](const Callback* c) { remove(c); });
  body();
}

void Learner::call(Callback& callback, Event event) {
  try {
    switch (event) {
#define BARLOW_EVENT(name) \
  case Event::name:        \
    callback.name(*this);  \
    break;
      BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
    }
  } catch (const std::exception& e) {
    if (passes_through(e)) {
      throw;
    }
    const bool in_epoch = event > Event::before_fit && event < Event::after_cancel_fit;
    const auto message = fmt::format(
        "[{}::{}] failed{}: {}",
        callback.name(),
        event_name(event),
        in_epoch ? fmt::format(" in epoch {}, {} batch {}", epoch, training ? "training" : "validation", iter) : "",
        e.what());
    check<NonFiniteError>(dynamic_cast<const NonFiniteError*>(&e) == nullptr, "Learner", "{}", message);
    throw Error(message);
  }
}

// After a fit every callback takes away what it installed, whatever befalls the others.
void Learner::emit(Event event) {
  FirstError error;
  for (auto& listener : listeners_) {
    if ((listener.events >> static_cast<unsigned>(event) & 1) == 0) {
      continue;
    }
    error.attempt([&] { call(*listener.callback, event); });
    if (event != Event::after_fit) {
      error.rethrow();
    }
  }
  error.rethrow();
}

template <class Cancel, class Body>
void Learner::with_events(Event before, Event cancelled, Event after, Body body) {
  try {
    emit(before);
    body();
  } catch (const Cancel&) {
    emit(cancelled);
  }
  emit(after);
}

void Learner::check_before_fit(int64_t n, double rate) const {
  constexpr auto here = "Learner::fit";
  check(!fitting_, here, "a fit runs already");
  check(n >= 1, here, "n_epoch must be at least 1, received {}", n);
  check(std::isfinite(rate) && rate > 0, here, "lr must be finite and positive, received {}", rate);
  const auto batch_size = dls.train.options().batch_size;
  const auto rows_together = options.sync_batch_norm ? batch_size : batch_size / options.process_group.size();
  check(
      rows_together > 1 || !has_batch_norm(*model->projector),
      here,
      "a batch of 1 has no statistics for the projector's batch norms; use a batch_size of 2 or more, or "
      "ProjectorOptions::bn = false");
}

void Learner::make_optimizer() {
  if (!opt) {
    opt = options.opt_func ? options.opt_func(*model) : make_adam(*model);
    check(opt != nullptr, "Learner::fit", "opt_func returned no optimiser");
    frozen_.clear();
    for (const auto& p : model->parameters()) {
      if (!p.requires_grad()) {
        frozen_.push_back(p);
      }
    }
  }
}

// A parameter that was frozen when the optimiser was made would get gradients and never move.
void Learner::check_unfrozen() const {
  std::unordered_set<const at::TensorImpl*> known;
  for (const auto& group : opt->groups()) {
    for (const auto& p : group.params) {
      known.insert(p.unsafeGetTensorImpl());
    }
  }
  for (const auto& item : model->named_parameters()) {
    const auto& p = item.value();
    const bool was_frozen = std::any_of(frozen_.begin(), frozen_.end(), [&](const auto& f) { return f.is_same(p); });
    check(
        !was_frozen || !p.requires_grad() || known.count(p.unsafeGetTensorImpl()) > 0,
        "Learner::fit",
        "'{}' was frozen when the optimiser was made, which does not know it; make another: learn.opt.reset()",
        item.key());
  }
}

void Learner::fit(int64_t n, std::optional<double> lr) {
  const double rate = lr.value_or(options.lr);
  run(n, rate, fmt::format("fit at {}", rate));
}

void Learner::fit(int64_t n, const Schedule& lr, const Schedule& momentum) {
  check(lr != nullptr, "Learner::fit", "the schedule of the learning rate must not be empty");
  const auto last = std::max<int64_t>(n * dls.train.batches() - 1, 0);
  const std::array<double, 3> some{lr(0, last + 1), lr(last / 2, last + 1), lr(last, last + 1)};
  const auto kind = fmt::format("scheduled fit at {} ... {} ... {}", some[0], some[1], some[2]);
  with_callback(std::make_shared<ParamScheduler>(lr, momentum), overridden_events<ParamScheduler>(), [&] {
    run(n, *std::max_element(some.begin(), some.end()), kind);
  });
}

void Learner::fit_one_cycle(int64_t n, std::optional<double> lr_max, const OneCycleOptions& cycle) {
  fit(n, one_cycle(lr_max.value_or(options.lr), cycle), one_cycle_momentum(0.95, 0.85, cycle.pct_start));
}

void Learner::fit_flat_cos(int64_t n, std::optional<double> lr, const FlatCosineOptions& flat) {
  fit(n, flat_cosine(lr.value_or(options.lr), flat));
}

void Learner::run(int64_t n, double rate, std::string kind) {
  check_before_fit(n, rate);
  make_optimizer();
  check_unfrozen();
  opt->set_lr(rate);
  fit_kind_ = std::move(kind);
  n_epoch = n;
  epoch = iter = train_iter = next_batch_ = 0;
  late_->clear();
  opt->zero_grad();
  pred = loss = loss_grad = at::Tensor(); // the last fit's graph, which belongs to its stream
  step_->start_fit();
  if (graph_ != nullptr) { // what it repeats may be another since the last fit: parameters that train, callbacks
    graph_ = std::make_unique<GraphedStep>(device);
  }
  agree();
  fitting_ = in_epoch_ = true;
  FirstError error;
  error.attempt([&] {
    try {
      emit(Event::before_fit);
      run_fit();
    } catch (const CancelFit&) {
      emit(Event::after_cancel_fit);
    }
  });
  error.attempt([&] { emit(Event::after_fit); });
  fitting_ = false;
  resume_.reset();
  error.rethrow();
  if (!options.process_group.is_main()) { // which rank 0's Progress does not know
    std::cerr << bad_sample_report(dls);
  }
}

void Learner::run_fit() {
  check(loss_func != nullptr, "Learner::fit", "there is no loss function; learn.add(BarlowTwins(pipelines)) brings it");
  check_graph();
  if (resume_) {
    continue_from(*std::exchange(resume_, std::nullopt));
  }
  while (epoch < n_epoch) {
    try {
      emit(Event::before_epoch);
      run_epoch();
    } catch (const CancelEpoch&) {
      in_epoch_ = false;
      emit(Event::after_cancel_epoch);
    }
    emit(Event::after_epoch);
    ++epoch;
    ++total_epochs;
    next_batch_ = 0;
    in_epoch_ = true;
  }
}

// A replayed graph does what the device did, and calls nobody.
void Learner::check_graph() const {
  if (graph_ == nullptr) {
    return;
  }
  EventSet inside = 0;
  for (auto e = static_cast<unsigned>(Event::before_pred); e <= static_cast<unsigned>(Event::after_step); ++e) {
    inside |= EventSet{1} << e;
  }
  for (const auto& listener : listeners_) {
    check(
        (listener.events & inside) == 0 || listener.callback->capturable(),
        "Learner",
        "with cuda_graph no callback can act within the step, which {} does; leave one of them out",
        listener.callback->name());
  }
}

void Learner::run_epoch() {
  training = true;
  model->train();
  with_events<CancelTrain>(
      Event::before_train, Event::after_cancel_train, Event::after_train, [&] { run_batches(dls.train, next_batch_); });
  in_epoch_ = false;
  if (dls.valid) {
    training = false;
    model->eval();
    with_events<CancelValidate>(Event::before_validate, Event::after_cancel_validate, Event::after_validate, [&] {
      const torch::NoGradGuard no_grad;
      run_batches(*dls.valid, 0);
    });
  }
}

void Learner::run_batches(const DataLoader& loader, int64_t first) {
  n_iter = loader.batches();
  wait_seconds = 0;
  auto stream = loader.epoch(total_epochs, first);
  try {
    for (iter = first;; ++iter) {
      const auto start = std::chrono::steady_clock::now();
      auto next = stream.next();
      wait_seconds += seconds_since(start);
      if (!next) {
        break;
      }
      if (training) {
        next_batch_ = stream.position().batch;
      }
      one_batch(std::move(*next));
    }
  } catch (const std::exception& e) {
    if (passes_through(e) && dynamic_cast<const ProcessGroupError*>(&e) == nullptr) {
      read_values();
    }
    throw;
  }
  read_values();
}

void Learner::one_batch(Batch one) {
  batch = std::move(one);
  upload_->move(batch);
  rows = options.process_group.all_gather(batch.size());
  sum_gradients = true;
  inputs.clear();
  logged_.clear();
  loss = at::Tensor();
  check_input();
  if (training) {
    make_optimizer();
  }
  try {
    emit(Event::before_batch);
    run_batch();
  } catch (const CancelBatch&) {
    emit(Event::after_cancel_batch);
  }
  if (loss.defined()) { // the batch may have been cancelled before
    push_values();
  }
  report(/*all=*/false);
  if (training) {
    ++train_iter;
  }
  emit(Event::after_batch);
}

int64_t Learner::samples() const {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

void Learner::check_input() const {
  const auto& images = batch.views.empty() ? batch.x : batch.views[0];
  check(
      images.dim() == 4 && images.size(1) == model->encoder->n_in(),
      "Learner",
      "the images have {} channels but the encoder '{}' takes n_in = {}; make them agree",
      images.dim() == 4 ? images.size(1) : -1,
      model->encoder->info().name,
      model->encoder->n_in());
}

void Learner::run_batch() {
  if (inputs.empty()) {
    check(
        batch.x.defined(),
        "Learner",
        "the batch has views and no images, and no callback made an input of them; add BarlowTwins");
    inputs = {to_unit_float(batch.x)};
  }
  if (graph_ != nullptr && training) {
    graph_->run(*this, logged_, [&] { forward_and_step(); });
  } else {
    forward_and_step();
  }
}

void Learner::forward_and_step() {
  emit(Event::before_pred);
  pred = step_->embed(inputs, training);
  emit(Event::after_pred);
  emit(Event::before_loss);
  check(loss_func != nullptr, "Learner", "there is no loss function; learn.add(BarlowTwins(pipelines)) brings it");
  loss = loss_func(pred, batch);
  check(
      loss.numel() == 1 && loss.is_floating_point() && !loss.is_meta() && (!training || loss.requires_grad()),
      "Learner",
      "a loss must be one floating number, with a gradient for training, received {}",
      describe(loss));
  loss_grad = gradient_scale == 1 ? loss : loss * gradient_scale;
  emit(Event::after_loss);
  if (training) {
    step();
  }
}

void Learner::log(std::string name, at::Tensor value) {
  check(
      value.numel() == 1 && !value.is_meta(),
      "Learner::log",
      "'{}' must be one number, received {}",
      name,
      describe(value));
  logged_.emplace_back(std::move(name), std::move(value));
}

void Learner::push_values() {
  late_->push(
      {.training = training,
       .epoch = epoch,
       .iter = iter,
       .step = train_iter,
       .samples = samples(),
       .lr = opt ? opt->groups().front().lr : 0,
       .loss = 0,
       .logged = {}},
      loss,
      logged_);
}

void Learner::step() {
  if (read_at_once_ && !std::isfinite(loss.item<double>())) { // `report` counts it or makes it an error
    step_->restore_buffers(loss);
    throw CancelBatch();
  }
  emit(Event::before_backward);
  step_->backward(loss_grad, sum_gradients);
  if (!read_at_once_) {
    step_->restore_buffers(loss);
  }
  emit(Event::after_backward);
  const auto skip = step_->unscale(opt->grads(), loss, /*look_at_loss=*/!read_at_once_);
  emit(Event::before_step);
  opt->step(skip);
  emit(Event::after_step);
  step_->update_scale();
  opt->zero_grad();
}

void Learner::check_non_finite(const StepValues& of) const {
  check<NonFiniteError>(
      options.non_finite == NonFinite::Skip,
      "Learner",
      "the loss of epoch {}, batch {} is {}; lower the learning rate, look at the images, or set .non_finite = "
      "NonFinite::Skip",
      of.epoch,
      of.iter,
      of.loss);
}

void Learner::report(bool all) {
  while (auto next = late_->pop(all)) {
    values = std::move(*next);
    if (values.training && !std::isfinite(values.loss)) {
      check_non_finite(values);
      ++skipped;
    }
    emit(Event::after_read);
  }
}

void Learner::read_values() {
  report(/*all=*/true);
}

void Learner::print_loop(std::ostream& out) const {
  for (unsigned e = 0; e <= static_cast<unsigned>(Event::after_fit); ++e) {
    out << std::left << std::setw(22) << event_name(static_cast<Event>(e));
    for (const auto& listener : listeners_) {
      if ((listener.events >> e & 1) != 0) {
        out << ' ' << listener.callback->name();
      }
    }
    out << '\n';
  }
}

} // namespace barlow
