// SPDX-License-Identifier: Apache-2.0
// Stages by the kernels of stage_kernels.cu, where the library was built with a CUDA compiler. Pixels of float and
// half, the first crop from uint8 too; the rest (mirrors, noise, equalising, erasing, many channels) is ATen's.
#include "stage.h"

#ifdef BARLOW_HAS_CUDA

#include <cuda_fp16.h>

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>

#include "stage_by_pixels.h"
#include "stage_kernels.h"

namespace barlow {
namespace {

using torch::Tensor;

struct Launch {
  template <class F>
  static void each_pixel(const F& f, const Tensor& to) {
    launch_each_pixel(f, size(to, 0), size(to, 2), size(to, 3), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  template <class F>
  static void means(const F& f, const Tensor& means, int which, const Tensor& x) {
    const auto stream = c10::cuda::getCurrentCUDAStream();
    launch_means(f, means.mutable_data_ptr<float>(), which, size(x, 0), size(x, 2), size(x, 3), stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  static int size(const Tensor& x, int64_t dimension) {
    return static_cast<int>(x.size(dimension));
  }
};

} // namespace

bool cuda_can_run(const at::Tensor& x, const Stage& stage) {
  const auto type = x.scalar_type();
  const bool crop = std::holds_alternative<CropStage>(stage);
  const bool known = crop || std::holds_alternative<WarpStage>(stage) || std::holds_alternative<BlurStage>(stage) ||
      (std::holds_alternative<ColorStage>(stage) && x.size(1) <= pixels::kMostChannels);
  return x.is_cuda() && known && (type == torch::kFloat || type == torch::kHalf || (crop && type == torch::kByte));
}

at::Tensor run_on_cuda(const at::Tensor& x, const Stage& stage) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto dense = x.contiguous();
  return std::visit(
      [&](const auto& s) {
        return x.scalar_type() == torch::kHalf ? pixels::run<__half, Launch>(s, dense)
                                               : pixels::run<float, Launch>(s, dense);
      },
      stage);
}

} // namespace barlow

#else

namespace barlow {

bool cuda_can_run(const at::Tensor&, const Stage&) {
  return false;
}

at::Tensor run_on_cuda(const at::Tensor& x, const Stage& stage) {
  return run_reference(x, stage);
}

} // namespace barlow

#endif
