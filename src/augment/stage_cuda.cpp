// SPDX-License-Identifier: Apache-2.0
#include "stage.h"

namespace barlow {

bool cuda_can_run(const at::Tensor&, const Stage&) {
  return false;
}

at::Tensor run_on_cuda(const at::Tensor& x, const Stage& stage) {
  return run_reference(x, stage);
}

} // namespace barlow
