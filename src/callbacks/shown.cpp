// SPDX-License-Identifier: Apache-2.0
#include "shown.h"

#include <algorithm>

#include <torch/torch.h>

namespace barlow {

using torch::Tensor;

Tensor spread(int64_t n, int64_t count) {
  count = std::min(n, count);
  return at::floor_divide(torch::arange(count) * n, count);
}

namespace {

// Of the loader's samples those at some places of its order [M], as tiles [M,C,S,S], C 1 or 3.
Tensor tiles_of(const DataLoader& loader, const Tensor& places) {
  constexpr int64_t kSide = 64;
  std::vector<Tensor> tiles;
  int64_t begin = 0;
  auto stream = loader.epoch(0);
  for (auto batch = stream.next(); batch; batch = stream.next()) {
    const int64_t end = begin + batch->size();
    const auto here = places.masked_select(places.ge(begin).logical_and(places.lt(end))) - begin;
    auto x = batch->x.to(torch::kCPU).index_select(0, here);
    x = x.scalar_type() == torch::kByte ? x.to(torch::kFloat).div_(255) : x.to(torch::kFloat);
    if (x.size(1) != 1 && x.size(1) != 3) {
      x = x.mean(1, /*keepdim=*/true);
    }
    const int64_t side = std::min({kSide, x.size(2), x.size(3)});
    tiles.push_back(torch::adaptive_avg_pool2d(x, {side, side}));
    begin = end;
  }
  return at::cat(tiles);
}

} // namespace

Shown::Shown(const Embeddings& all, const DataLoader& loader, int64_t most) {
  const auto places = spread(all.features.size(0), most);
  features = all.features.index_select(0, places);
  labels = all.labels.defined() ? all.labels.index_select(0, places) : Tensor();
  tiles = tiles_of(loader, places);
}

} // namespace barlow
