// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>

#include <barlow/error.h>
#include <barlow/weights.h>

namespace barlow {

class Learner;

// The events of a fit, in fastai's order and one more, after_read: the values of a step are on the host, where
// Learner::values has them. On the CPU that is before the batch's after_batch, on CUDA some steps later.
// before_pred, before_loss, before_step may be cancelled with the batch.
#define BARLOW_EVENTS(X)   \
  X(before_fit)            \
  X(before_epoch)          \
  X(before_train)          \
  X(before_batch)          \
  X(before_pred)           \
  X(after_pred)            \
  X(before_loss)           \
  X(after_loss)            \
  X(before_backward)       \
  X(after_backward)        \
  X(before_step)           \
  X(after_step)            \
  X(after_cancel_batch)    \
  X(after_read)            \
  X(after_batch)           \
  X(after_cancel_train)    \
  X(after_train)           \
  X(before_validate)       \
  X(after_cancel_validate) \
  X(after_validate)        \
  X(after_cancel_epoch)    \
  X(after_epoch)           \
  X(after_cancel_fit)      \
  X(after_fit)

enum class Event {
#define BARLOW_EVENT(name) name,
  BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
};

const char* event_name(Event event);

/// Something that takes part in a fit: derive, override the events of interest, give it to Learner::add.
/// What a callback installs in before_fit it takes away in after_fit, which also runs when a fit ends by an error.
class Callback {
 public:
  virtual ~Callback() = default;

  virtual std::string name() const = 0;

  /// Ascending; equal ones in the order of adding. fastai's: BarlowTwins 9, Recorder 50, Progress 60.
  virtual int order() const {
    return 0;
  }

  /// Called once, by Learner::add.
  virtual void added(Learner&) {}

  /// What a continued run needs of this callback, numbers as tensors. load_state gets it back after before_fit.
  virtual NamedTensors state() const {
    return {};
  }
  virtual void load_state(const NamedTensors&) {}

  /// Whether its events from before_pred to after_step do nothing but work on the device, which a captured CUDA graph
  /// can repeat; see LearnerOptions::cuda_graph.
  virtual bool capturable() const {
    return false;
  }

#define BARLOW_EVENT(name) \
  virtual void name(Learner&) {}
  BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
};

/// Thrown by a callback to leave a part of the loop; the loop goes on after it.
struct CancelBatch : std::exception {};
struct CancelTrain : std::exception {};
struct CancelValidate : std::exception {};
struct CancelEpoch : std::exception {};
struct CancelFit : std::exception {};

/// Thrown out of fit when a signal ended it after its state was saved; see Checkpoints.
class Interrupted : public Error {
 public:
  Interrupted(int signal_number, const std::string& text) : Error(text), signal(signal_number) {}
  int signal;
};

/// The status that a program ends with when it was interrupted and can be started again: EX_TEMPFAIL of sysexits.h.
constexpr int kExitInterrupted = 75;

/// The events that a callback type overrides, one bit each; the loop calls only these.
using EventSet = uint32_t;

template <class C>
constexpr EventSet overridden_events() {
  EventSet events = 0;
#define BARLOW_EVENT(name)                                                           \
  if constexpr (!std::is_same_v<decltype(&C::name), void (Callback::*)(Learner&)>) { \
    events |= EventSet{1} << static_cast<unsigned>(Event::name);                     \
  }
  BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
  return events;
}

} // namespace barlow
