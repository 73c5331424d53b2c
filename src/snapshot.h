// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/learner.h>

namespace barlow {

/// Copies of what Learner::load takes: model, optimiser, scaler.
inline Checkpoint snapshot(Learner& learn) {
  auto now = learn.state();
  Checkpoint kept{.tensors = {}, .info = std::move(now.info)};
  for (const auto& [name, tensor] : now.tensors) {
    if (name.starts_with("model.") || name.starts_with("optimizer.") || name.starts_with("scaler.")) {
      kept.tensors.emplace_back(name, tensor.detach().clone());
    }
  }
  return kept;
}

} // namespace barlow
