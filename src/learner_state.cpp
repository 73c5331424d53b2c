// SPDX-License-Identifier: Apache-2.0
// The state of a run, out of a Learner and into one.
#include <barlow/learner.h>

#include <algorithm>
#include <array>

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <barlow/nn.h>

#include "callbacks/numbers.h"
#include "check.h"
#include "file.h"
#include "generator.h"
#include "late_values.h"
#include "names.h"
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

std::string rank_suffix(int64_t rank) { // of the names of generators
  return rank == 0 ? "" : fmt::format(".{}", rank);
}

void append_generators_of_others(Checkpoint& all, const ProcessGroup& group) {
  const std::vector<int64_t> one_each(static_cast<size_t>(group.size()), 1);
  for (const auto& [name, generator] : part_of(all.tensors, "random.")) {
    const auto of_all = group.gather(generator.unsqueeze(0), one_each);
    for (int64_t rank = 1; rank < group.size(); ++rank) {
      all.tensors.emplace_back("random." + name + rank_suffix(rank), of_all[rank]);
    }
  }
}

// While batches accumulate each process has its rows' share: the file has the sum, which rank 0 goes on with.
void sum_gradients_of_all(Checkpoint& all, const ProcessGroup& group) {
  for (auto& [name, tensor] : all.tensors) {
    if (name.starts_with("gradient.")) {
      tensor = tensor.detach().clone();
      group.sum(tensor);
    }
  }
}

// Of what must be the same in all processes.
std::string checksum(const Checkpoint& all) {
  uint32_t sum = 0;
  for (const auto& [name, tensor] : all.tensors) {
    const bool statistics = name.find("running_") != std::string::npos;
    if (name == "position" || name.starts_with("optimizer.") || (name.starts_with("model.") && !statistics)) {
      const auto here = tensor.detach().cpu().contiguous();
      sum = crc32({static_cast<const char*>(here.const_data_ptr()), here.nbytes()}, sum);
    }
  }
  return fmt::format("{:08x}", sum);
}

// Rank 0 reads the file, the others need not have it; each looks at its checksum.
Checkpoint read_for_all(const ProcessGroup& group, const std::filesystem::path& file) {
  if (group.size() == 1) {
    return load_checkpoint(file);
  }
  std::string bytes, error;
  if (group.is_main()) {
    try {
      const auto read = read_file(file, "load_checkpoint");
      parse_checkpoint(read, file.string());
      bytes.assign(read.begin(), read.end());
    } catch (const std::exception& e) {
      error = e.what();
    }
  }
  error = group.broadcast(error);
  if (!error.empty()) {
    throw FileError(error);
  }
  bytes = group.broadcast(bytes);
  return parse_checkpoint({bytes.begin(), bytes.end()}, file.string());
}

} // namespace

std::map<std::string, std::string> Learner::identity() const {
  const auto& info = model->encoder->info();
  return {
      {"encoder", fmt::format("{}, n_in {}, {} features", info.name, info.n_in, info.num_features)},
      {"optimizer", opt ? opt->name() : ""},
      {"recipe", options.recipe},
      {"data", dls.train.description()},
      {"fit", fmt::format("{}, {} epochs", fit_kind_, n_epoch)},
      {"precision", word_of(options.precision)},
  };
}

// Before a fit: all processes are about to do the same, with rank 0's parameters.
void Learner::agree() const {
  const auto& group = options.process_group;
  if (group.size() == 1) {
    return;
  }
  std::string run;
  for (const auto& [key, value] : identity()) {
    run += fmt::format("{}: {}; ", key, value);
  }
  run += fmt::format(
      "validation: {}; device: {}; lr: {}; micro_batch: {}; skips non-finite steps: {}; synchronised batch norms: {}; "
      "callbacks:",
      dls.valid ? dls.valid->description() : "none",
      c10::DeviceTypeName(device.type(), /*lower_case=*/true),
      opt->groups().front().lr,
      options.micro_batch,
      options.non_finite == NonFinite::Skip,
      options.sync_batch_norm);
  for (const auto& listener : listeners_) {
    run += listener.callback->name() == "Progress" ? "" : " " + listener.callback->name();
  }
  run += "; parameters:";
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : state_dict(*model)) {
    run += fmt::format(" {} {}", name, describe(tensor));
    tensors.push_back(tensor);
  }
  group.require_equal("Learner::fit", "the run", run);
  group.broadcast(tensors);
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
  const auto& group = options.process_group;
  auto all = state();
  if (group.size() > 1) {
    group.require_equal("Learner::save", "the checksum of parameters, optimiser and position", checksum(all));
    sum_gradients_of_all(all, group);
    append_generators_of_others(all, group);
  }
  std::string error;
  if (group.is_main()) {
    try {
      save_checkpoint(file, all);
    } catch (const FileError& e) {
      error = e.what();
    }
  }
  error = group.broadcast(error);
  if (!error.empty()) {
    throw FileError(error);
  }
}

void Learner::load(const std::filesystem::path& file) {
  load(read_for_all(options.process_group, file));
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
  resume_ = read_for_all(options.process_group, file);
}

void Learner::continue_from(const Checkpoint& from) {
  constexpr auto here = "Learner::resume";
  const auto saved = part_of(from.tensors, "position");
  check<FileError>(
      saved.size() == 1 && saved[0].second.numel() == 6 && saved[0].second.scalar_type() == torch::kLong,
      here,
      "the checkpoint has no position");
  const auto* p = saved[0].second.const_data_ptr<int64_t>();
  const Position at{p[0], p[1], p[2], p[3], p[4], p[5]};
  check(at.in_fit == 1, here, "the checkpoint was saved between two fits; use Learner::load");
  compare(here, kOfTheRun, from.info, identity());
  check<FileError>(
      std::all_of(p, p + 6, [](int64_t count) { return count >= 0 && is_count(static_cast<double>(count)); }) &&
          at.epoch <= n_epoch,
      here,
      "the checkpoint has an impossible position: {}",
      fmt::join(p, p + 6, ", "));
  load(from);
  for (const auto& item : model->named_parameters()) {
    for (const auto& [name, gradient] : part_of(from.tensors, "gradient.")) {
      if (name == item.key()) { // the sum over all processes
        const auto sum = gradient.to(device);
        Tensor(item.value()).mutable_grad() = options.process_group.is_main() ? sum : torch::zeros_like(sum);
      }
    }
  }
  const auto suffix = rank_suffix(options.process_group.rank());
  for (const auto& [name, generator] : part_of(from.tensors, "random.")) {
    if (name == "cpu" + suffix) {
      set_generator_state(torch::kCPU, generator);
    } else if (name == "device" + suffix && !device.is_cpu()) { // else the run was on a GPU before
      set_generator_state(device, generator);
    }
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
