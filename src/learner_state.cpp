// SPDX-License-Identifier: Apache-2.0
// The state of a run, out of a Learner and into one.
#include <barlow/learner.h>

#include <array>

#include <torch/torch.h>

#include <barlow/nn.h>

#include "check.h"
#include "generator.h"
#include "late_values.h"
#include "training_step.h"

namespace barlow {
namespace {

using torch::Tensor;

void append(NamedTensors& all, const std::string& prefix, const NamedTensors& part) {
  for (const auto& [name, tensor] : part) {
    all.emplace_back(prefix + name, tensor);
  }
}

NamedTensors part_of(const NamedTensors& all, const std::string& prefix) {
  NamedTensors part;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) {
      part.emplace_back(name.substr(prefix.size()), tensor);
    }
  }
  return part;
}

NamedTensors gradients(const torch::nn::Module& module) { // there are some while batches accumulate
  NamedTensors all;
  for (const auto& item : module.named_parameters()) {
    if (item.value().grad().defined()) {
      all.emplace_back(item.key(), item.value().grad());
    }
  }
  return all;
}

std::string callback_prefix(const Callback& callback, std::map<std::string, int>& seen) {
  const int number = seen[callback.name()]++;
  return fmt::format("callback.{}{}.", callback.name(), number == 0 ? "" : fmt::format("-{}", number + 1));
}

// What must be the same for the state to fit, and what for the run to be the same.
constexpr std::array<const char*, 2> kOfTheModel{"encoder", "optimizer"};
constexpr std::array<const char*, 4> kOfTheRun{"recipe", "data", "fit", "precision"};

template <size_t n>
void compare(
    const char* here,
    const std::array<const char*, n>& keys,
    const std::map<std::string, std::string>& theirs,
    const std::map<std::string, std::string>& ours) {
  for (const auto* key : keys) {
    const auto found = theirs.find(key);
    const auto their = found == theirs.end() ? std::string() : found->second;
    check(
        their == ours.at(key),
        here,
        "the checkpoint is of another run: its {} is '{}', this one's '{}'; make them agree, or start a new run",
        key,
        their,
        ours.at(key));
  }
}

} // namespace

std::map<std::string, std::string> Learner::identity() const {
  const auto& info = model->encoder->info();
  constexpr std::array<const char*, 3> kPrecision{"float32", "bfloat16", "float16"};
  return {
      {"encoder", fmt::format("{}, n_in {}, {} features", info.name, info.n_in, info.num_features)},
      {"optimizer", opt ? opt->name() : ""},
      {"recipe", options.recipe},
      {"data", dls.train.description()},
      {"fit", fmt::format("{}, {} epochs", fit_kind_, n_epoch)},
      {"precision", kPrecision.at(static_cast<size_t>(options.precision))},
  };
}

Learner::Position Learner::position() const {
  if (!fitting_) {
    return {.total_epochs = total_epochs, .skipped = skipped};
  }
  if (in_epoch_) {
    return {1, epoch, next_batch_, train_iter, total_epochs, skipped};
  }
  return {1, epoch + 1, 0, train_iter, total_epochs + 1, skipped}; // validation is not done again
}

Checkpoint Learner::state() {
  make_optimizer();
  read_values();
  Checkpoint all{.tensors = {}, .info = identity()};
  append(all.tensors, "model.", state_dict(*model));
  append(all.tensors, "optimizer.", opt->state());
  append(all.tensors, "gradient.", gradients(*model));
  append(all.tensors, "scaler.", step_->state());
  all.tensors.emplace_back("random.cpu", generator_state(torch::kCPU));
  if (!device.is_cpu()) {
    all.tensors.emplace_back("random.device", generator_state(device));
  }
  const auto p = position();
  all.tensors.emplace_back(
      "position", torch::tensor({p.in_fit, p.epoch, p.batch, p.steps, p.total_epochs, p.skipped}, torch::kLong));
  std::map<std::string, int> seen;
  for (const auto& listener : listeners_) {
    append(all.tensors, callback_prefix(*listener.callback, seen), listener.callback->state());
  }
  return all;
}

void Learner::save(const std::filesystem::path& file) {
  save_checkpoint(file, state());
}

void Learner::load(const std::filesystem::path& file) {
  load(load_checkpoint(file));
}

void Learner::load(const Checkpoint& from) {
  make_optimizer();
  compare("Learner::load", kOfTheModel, from.info, identity());
  const auto weights = part_of(from.tensors, "model.");
  check_weights(*model, weights, "the checkpoint");
  opt->load_state(part_of(from.tensors, "optimizer."));
  load_weights(*model, weights, "the checkpoint");
  step_->load_state(part_of(from.tensors, "scaler."));
}

void Learner::resume(const std::filesystem::path& file) {
  resume_ = load_checkpoint(file);
}

void Learner::continue_from(const Checkpoint& from) {
  constexpr auto here = "Learner::resume";
  const auto saved = part_of(from.tensors, "position");
  check<FileError>(saved.size() == 1 && saved[0].second.numel() == 6, here, "the checkpoint has no position");
  const auto* p = saved[0].second.const_data_ptr<int64_t>();
  const Position at{p[0], p[1], p[2], p[3], p[4], p[5]};
  check(at.in_fit == 1, here, "the checkpoint was saved between two fits; use Learner::load");
  compare(here, kOfTheRun, from.info, identity());
  load(from);
  for (const auto& item : model->named_parameters()) {
    for (const auto& [name, gradient] : part_of(from.tensors, "gradient.")) {
      if (name == item.key()) {
        Tensor(item.value()).mutable_grad() = gradient.to(device);
      }
    }
  }
  for (const auto& [name, generator] : part_of(from.tensors, "random.")) {
    set_generator_state(name == "cpu" ? torch::Device(torch::kCPU) : device, generator);
  }
  std::map<std::string, int> seen;
  for (const auto& listener : listeners_) {
    listener.callback->load_state(part_of(from.tensors, callback_prefix(*listener.callback, seen)));
  }
  epoch = at.epoch;
  next_batch_ = at.batch;
  train_iter = at.steps;
  total_epochs = at.total_epochs;
  skipped = at.skipped;
}

} // namespace barlow
