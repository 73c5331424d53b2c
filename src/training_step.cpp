// SPDX-License-Identifier: Apache-2.0
#include "training_step.h"

#include <iostream>

#include <ATen/cpu/Utils.h>
#include <torch/torch.h>

#include "autocast.h"
#include "check.h"
#include "generator.h"

namespace barlow {
namespace {

using torch::Tensor;

std::optional<at::ScalarType> autocast_type(Precision precision) {
  switch (precision) {
    case Precision::Float32:
      return std::nullopt;
    case Precision::BFloat16:
      return torch::kBFloat16;
    case Precision::Float16:
      return torch::kHalf;
  }
  return std::nullopt;
}

bool cpu_has_bfloat16() {
  const auto able = at::cpu::get_cpu_capabilities();
  return std::any_of(able.begin(), able.end(), [](const auto& item) {
    return item.first.find("bf16") != std::string::npos && item.second.isBool() && item.second.toBool();
  });
}

void warn_if_slow(Precision precision, const at::Device& device) {
  if (device.is_cpu() && precision == Precision::BFloat16 && !cpu_has_bfloat16()) {
    std::cerr << "Learner: this processor has no bfloat16 instructions; Precision::Float32 is several times faster\n";
  }
}

int64_t rows(const std::vector<Tensor>& inputs) {
  int64_t n = 0;
  for (const auto& x : inputs) {
    n += x.size(0);
  }
  return n;
}

Tensor join(const std::vector<Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

} // namespace

TrainingStep::TrainingStep(BarlowTwinsModel model, const at::Device& device, const LearnerOptions& options)
    : model_(std::move(model)),
      device_(device),
      autocast_(autocast_type(options.precision)),
      micro_batch_(options.micro_batch),
      keeps_buffers_(options.non_finite == NonFinite::Skip),
      group_(options.process_group),
      buffers_(model_->buffers()) {
  check(micro_batch_ >= 0, "Learner", "micro_batch must not be negative, received {}", micro_batch_);
  warn_if_slow(options.precision, device);
  if (options.precision == Precision::Float16) {
    constexpr double kFirstScale = 65536; // torch.amp.GradScaler's
    scale_ = torch::full({}, kFirstScale, torch::TensorOptions(device).dtype(torch::kFloat));
    growth_ = torch::zeros({}, torch::TensorOptions(device).dtype(torch::kInt));
  }
  found_inf_ = torch::zeros({}, torch::TensorOptions(device).dtype(torch::kFloat));
  start_fit();
}

void TrainingStep::start_fit() {
  parameters_ = model_->parameters();
  gradients_ = std::make_unique<GradientSum>(group_, parameters_);
}

Tensor TrainingStep::forward(const Tensor& x) {
  const Autocast scope(device_.type(), autocast_);
  return model_->forward(x);
}

void TrainingStep::keep_buffers(std::vector<Tensor>& kept) const {
  const torch::NoGradGuard no_grad;
  if (kept.empty()) {
    for (const auto& b : buffers_) {
      kept.push_back(b.clone());
    }
    return;
  }
  for (size_t i = 0; i < buffers_.size(); ++i) {
    kept[i].copy_(buffers_[i]);
  }
}

void TrainingStep::restore_buffers(const Tensor& loss) {
  if (kept_.empty()) {
    return;
  }
  const torch::NoGradGuard no_grad;
  const auto good = loss.detach().isfinite();
  for (size_t i = 0; i < kept_.size(); ++i) {
    buffers_[i].copy_(at::where(good, buffers_[i], kept_[i]));
  }
}

Tensor TrainingStep::embed(const std::vector<Tensor>& inputs, bool training) {
  if (training && keeps_buffers_) {
    keep_buffers(kept_);
  }
  parts_.clear();
  if (micro_batch_ > 0 && group_.any(rows(inputs) > micro_batch_)) {
    return embed_in_parts(inputs, training);
  }
  std::vector<Tensor> z;
  z.reserve(inputs.size());
  for (const auto& x : inputs) {
    z.push_back(forward(x));
  }
  return join(z);
}

// As many parts in every process, some perhaps without rows: batch norms exchange their statistics in each.
std::vector<Tensor> TrainingStep::split(const Tensor& input) const {
  auto parts = input.size(0) > 0 ? input.split(micro_batch_) : std::vector<Tensor>();
  const auto counts = group_.all_gather(static_cast<int64_t>(parts.size()));
  parts.resize(static_cast<size_t>(*std::max_element(counts.begin(), counts.end())), input.narrow(0, 0, 0));
  return parts;
}

Tensor TrainingStep::embed_in_parts(const std::vector<Tensor>& inputs, bool training) {
  std::vector<Tensor> z;
  {
    const torch::NoGradGuard no_grad;
    for (const auto& input : inputs) {
      for (const auto& x : split(input)) {
        parts_.push_back({x, generator_state(device_)});
        z.push_back(forward(x));
      }
    }
  }
  embeddings_ = at::cat(z);
  if (training) {
    embeddings_.requires_grad_();
    keep_buffers(after_first_pass_);
  }
  return embeddings_;
}

void TrainingStep::backward(const Tensor& loss, bool sum) {
  accumulates_ =
      std::any_of(parameters_.begin(), parameters_.end(), [](const Tensor& p) { return p.grad().defined(); });
  const auto scaled = scale_.defined() ? loss * scale_ : loss;
  const bool whole = parts_.empty();
  const auto backward = [&] {
    scaled.backward();
    if (!whole) {
      backward_in_parts();
    }
  };
  sum ? gradients_->run(scaled, whole, backward) : backward();
}

// The second pass sees the same random numbers and leaves the running statistics as the first one left them.
void TrainingStep::backward_in_parts() {
  const KeepGenerator keep(device_);
  int64_t row = 0;
  for (const auto& part : parts_) {
    set_generator_state(device_, part.generator);
    const auto n = part.x.size(0);
    const auto z = forward(part.x);
    z.backward(embeddings_.grad().narrow(0, row, n));
    row += n;
  }
  parts_.clear();
  embeddings_ = Tensor();
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    buffers_[i].copy_(after_first_pass_[i]);
  }
}

Tensor TrainingStep::unscale(const std::vector<Tensor>& grads, const Tensor& loss, bool look_at_loss) {
  if (!scale_.defined() && !look_at_loss) {
    return {};
  }
  const torch::NoGradGuard no_grad;
  found_inf_.zero_();
  if ((scale_.defined() || accumulates_) && !grads.empty()) { // also of batches whose loss is not this one
    const auto scale = scale_.defined() ? scale_ : torch::ones_like(found_inf_);
    at::_amp_foreach_non_finite_check_and_unscale_(
        grads, found_inf_, scale.to(torch::kDouble).reciprocal().to(torch::kFloat));
  }
  if (look_at_loss) {
    at::maximum_out(found_inf_, found_inf_, loss.detach().isfinite().logical_not().to(torch::kFloat));
  }
  return found_inf_;
}

void TrainingStep::update_scale() {
  if (scale_.defined()) { // torch.amp.GradScaler's: doubled after 2000 good steps, halved after a bad one
    at::_amp_update_scale_(scale_, growth_, found_inf_, 2, 0.5, 2000);
  }
}

NamedTensors TrainingStep::state() const {
  return scale_.defined() ? NamedTensors{{"scale", scale_}, {"growth", growth_}} : NamedTensors{};
}

void TrainingStep::load_state(const NamedTensors& state) {
  for (const auto& [name, value] : state) {
    if (scale_.defined()) {
      (name == "scale" ? scale_ : growth_).copy_(value);
    }
  }
}

} // namespace barlow
