// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/view.h>

#include "../check.h"

namespace barlow {

at::Tensor make_view(const Pipeline& pipeline, const Batch& batch, size_t number) {
  constexpr auto here = "make_view";
  ViewKeys keys{
      .seed = batch.seed,
      .epoch = batch.epoch,
      .view = static_cast<int64_t>(number),
      .index = batch.index,
      .first = batch.first};
  const bool cropped = !batch.views.empty();
  check(
      !cropped || number < batch.views.size(), here, "the batch has {} views, received {}", batch.views.size(), number);
  const auto& images = cropped ? batch.views[number] : batch.x;
  const auto skip = cropped ? pipeline.leading_crop() : 0;
  if (!batch.index.empty()) {
    return pipeline(images, keys, skip);
  }
  check(images.defined() && images.dim() == 4, here, "images must be [N,C,H,W], received {}", describe(images));
  auto shape = images.sizes().vec(); // a process without rows: one of zeros tells what size a view is
  shape[0] = 1;
  keys.index = {0};
  return pipeline(images.new_zeros(shape), keys, skip).narrow(0, 0, 0);
}

} // namespace barlow
