// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

namespace barlow {

/// Share of the rows whose label has one of the `count` best scores [N,classes].
inline double share_in_best(const at::Tensor& scores, const at::Tensor& labels, int64_t count) {
  const auto best = std::get<1>(scores.topk(std::min(count, scores.size(1)), 1));
  return best.eq(labels.unsqueeze(1)).any(1).to(torch::kDouble).mean().item<double>();
}

} // namespace barlow
