// SPDX-License-Identifier: Apache-2.0
#include <barlow/learner.h>

#include <chrono>
#include <cmath>
#include <iomanip>
#include <limits>

#include <torch/torch.h>

#include <barlow/callbacks/progress.h>

#include "check.h"

namespace barlow {
namespace {

at::Device choose_device(const std::optional<at::Device>& asked) {
  if (!asked) {
    return torch::cuda::is_available() ? torch::kCUDA : torch::kCPU;
  }
  check(
      !asked->is_cuda() || torch::cuda::is_available(),
      "Learner",
      "there is no device '{}' here; use the CPU",
      asked->str());
  return *asked;
}

at::Tensor to_unit_float(const at::Tensor& x) {
  return x.scalar_type() == torch::kByte ? x.to(torch::kFloat).div_(255) : x;
}

// Page-locked batches are copied while the device still works on the last one.
void move_to(Batch& batch, const at::Device& device) {
  const auto move = [&](at::Tensor& x) {
    if (x.defined()) {
      x = x.to(device, /*non_blocking=*/true);
    }
  };
  move(batch.x);
  std::for_each(batch.views.begin(), batch.views.end(), move);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool is_cancellation(const std::exception& e) {
  return dynamic_cast<const CancelBatch*>(&e) != nullptr || dynamic_cast<const CancelTrain*>(&e) != nullptr ||
      dynamic_cast<const CancelValidate*>(&e) != nullptr || dynamic_cast<const CancelEpoch*>(&e) != nullptr ||
      dynamic_cast<const CancelFit*>(&e) != nullptr;
}

} // namespace

Learner::Learner(DataLoaders data, BarlowTwinsModel barlow_twins_model, LearnerOptions learner_options)
    : dls(std::move(data)),
      model(std::move(barlow_twins_model)),
      options(std::move(learner_options)),
      device(choose_device(options.device)),
      recorder(add(Recorder())) {
  check(!model.is_empty(), "Learner", "the model must not be an empty module");
  model->to(device);
  dls.train.pin_memory(device.is_cuda());
  if (dls.valid) {
    dls.valid->pin_memory(device.is_cuda());
  }
  if (options.progress) {
    add(Progress());
  }
}

Learner::~Learner() = default;

void Learner::insert(std::shared_ptr<Callback> callback, EventSet events) {
  check(!fitting_, "Learner::add", "a callback cannot be added while a fit runs");
  const auto after = std::upper_bound(
      listeners_.begin(), listeners_.end(), callback->order(), [](int order, const Listener& listener) {
        return order < listener.callback->order();
      });
  auto& added = *callback;
  listeners_.insert(after, {std::move(callback), events});
  added.added(*this);
}

void Learner::emit(Event event) {
  for (auto& listener : listeners_) {
    if ((listener.events >> static_cast<unsigned>(event) & 1) == 0) {
      continue;
    }
    try {
      switch (event) {
#define BARLOW_EVENT(name)          \
  case Event::name:                 \
    listener.callback->name(*this); \
    break;
        BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
      }
    } catch (const std::exception& e) {
      if (is_cancellation(e)) {
        throw;
      }
      const bool in_epoch = event > Event::before_fit && event < Event::after_cancel_fit;
      const auto message = fmt::format(
          "[{}::{}] failed{}: {}",
          listener.callback->name(),
          event_name(event),
          in_epoch ? fmt::format(" in epoch {}, {} batch {}", epoch, training ? "training" : "validation", iter) : "",
          e.what());
      check<NonFiniteError>(dynamic_cast<const NonFiniteError*>(&e) == nullptr, "Learner", "{}", message);
      throw Error(message);
    }
  }
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

void Learner::fit(int64_t n, std::optional<double> lr) {
  constexpr auto here = "Learner::fit";
  check(!fitting_, here, "a fit runs already");
  check(n >= 1, here, "n_epoch must be at least 1, received {}", n);
  const double rate = lr.value_or(options.lr);
  check(std::isfinite(rate) && rate > 0, here, "lr must be finite and positive, received {}", rate);
  if (!opt) {
    opt = options.opt_func ? options.opt_func(*model) : make_adam(*model);
    check(opt != nullptr, here, "opt_func returned no optimiser");
  }
  opt->set_lr(rate);
  n_epoch = n;
  epoch = iter = train_iter = 0;
  fitting_ = true;
  try {
    with_events<CancelFit>(Event::before_fit, Event::after_cancel_fit, Event::after_fit, [&] { run_fit(); });
  } catch (...) {
    try {
      emit(Event::after_fit); // what callbacks installed goes; the first error is the one to report
    } catch (...) { // NOLINT(bugprone-empty-catch)
    }
    fitting_ = false;
    throw;
  }
  fitting_ = false;
}

void Learner::run_fit() {
  check(loss_func != nullptr, "Learner::fit", "there is no loss function; learn.add(BarlowTwins(pipelines)) brings it");
  for (epoch = 0; epoch < n_epoch; ++epoch) {
    with_events<CancelEpoch>(Event::before_epoch, Event::after_cancel_epoch, Event::after_epoch, [&] { run_epoch(); });
    ++total_epochs;
  }
}

void Learner::run_epoch() {
  training = true;
  model->train();
  with_events<CancelTrain>(
      Event::before_train, Event::after_cancel_train, Event::after_train, [&] { run_batches(dls.train); });
  if (dls.valid) {
    training = false;
    model->eval();
    with_events<CancelValidate>(Event::before_validate, Event::after_cancel_validate, Event::after_validate, [&] {
      const torch::NoGradGuard no_grad;
      run_batches(*dls.valid);
    });
  }
}

void Learner::run_batches(const DataLoader& loader) {
  n_iter = loader.batches();
  wait_seconds = 0;
  auto stream = loader.epoch(total_epochs);
  for (iter = 0;; ++iter) {
    const auto start = std::chrono::steady_clock::now();
    auto next = stream.next();
    wait_seconds += seconds_since(start);
    if (!next) {
      return;
    }
    one_batch(std::move(*next));
  }
}

void Learner::one_batch(Batch one) {
  batch = std::move(one);
  move_to(batch, device);
  input = at::Tensor();
  check_input();
  step_values.clear();
  loss_value = std::numeric_limits<double>::quiet_NaN(); // until there is one: a batch may be cancelled before
  with_events<CancelBatch>(Event::before_batch, Event::after_cancel_batch, Event::after_batch, [&] { run_batch(); });
  if (training) {
    ++train_iter;
  }
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
  if (!input.defined()) {
    check(
        batch.x.defined(),
        "Learner",
        "the batch has views and no images, and no callback made an input of them; add BarlowTwins");
    input = to_unit_float(batch.x);
  }
  emit(Event::before_pred);
  pred = model->forward(input);
  emit(Event::after_pred);
  emit(Event::before_loss);
  loss = loss_func(pred, batch);
  loss_value = loss.item<double>();
  emit(Event::after_loss);
  if (training) {
    step();
  }
}

void Learner::step() {
  if (!std::isfinite(loss_value)) {
    check<NonFiniteError>(
        options.non_finite == NonFinite::Skip,
        "Learner",
        "the loss of epoch {}, batch {} is {}; lower the learning rate, look at the images, or set .non_finite = "
        "NonFinite::Skip",
        epoch,
        iter,
        loss_value);
    ++skipped;
    throw CancelBatch();
  }
  opt->zero_grad();
  emit(Event::before_backward);
  loss.backward();
  emit(Event::after_backward);
  emit(Event::before_step);
  opt->step();
  emit(Event::after_step);
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
