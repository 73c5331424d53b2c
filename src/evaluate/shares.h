// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include <torch/torch.h>

#include "../check.h"

namespace barlow {

/// Share of the rows whose label has one of the `count` best scores [N,classes].
inline double share_in_best(const at::Tensor& scores, const at::Tensor& labels, int64_t count) {
  const auto best = std::get<1>(scores.topk(std::min(count, scores.size(1)), 1));
  return best.eq(labels.unsqueeze(1)).any(1).to(torch::kDouble).mean().item<double>();
}

/// Of a vote's weights exp(similarity / temperature), which have to fit float32.
inline void check_temperature(const std::string& here, double temperature) {
  check(
      temperature >= 0.0125 && std::isfinite(temperature),
      here,
      "temperature must be at least 0.0125, received {}",
      temperature);
}

} // namespace barlow
