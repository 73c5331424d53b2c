// SPDX-License-Identifier: Apache-2.0
#include "late_values.h"

#include <utility>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

namespace barlow {

using torch::Tensor;

void LateValues::push(StepValues step, const Tensor& loss, const std::vector<std::pair<std::string, Tensor>>& logged) {
  std::vector<Tensor> scalars{loss.detach().to(torch::kDouble).reshape({})};
  for (const auto& [name, value] : logged) {
    step.logged.emplace_back(name, 0);
    scalars.push_back(value.detach().to(device_, torch::kDouble).reshape({}));
  }
  auto numbers = at::stack(scalars);
  std::optional<c10::Event> arrived;
  if (!device_.is_cpu()) {
    auto host = torch::empty(numbers.sizes(), torch::TensorOptions(torch::kDouble).pinned_memory(true));
    host.copy_(numbers, /*non_blocking=*/true);
    numbers = std::move(host);
    arrived.emplace(device_.type());
    arrived->record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  }
  pending_.push_back({std::move(step), std::move(numbers), std::move(arrived)});
}

std::optional<StepValues> LateValues::pop(bool all) {
  if (pending_.empty() || (!all && static_cast<int64_t>(pending_.size()) <= lag_)) {
    return std::nullopt;
  }
  auto oldest = std::move(pending_.front());
  pending_.pop_front();
  if (oldest.arrived) {
    oldest.arrived->synchronize();
  }
  const auto* numbers = oldest.numbers.const_data_ptr<double>();
  oldest.step.loss = *numbers;
  for (auto& [name, value] : oldest.step.logged) {
    value = *++numbers;
  }
  return std::move(oldest.step);
}

} // namespace barlow
