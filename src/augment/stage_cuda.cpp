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
  static void each_pixel(const F& f, int samples, int height, int width) {
    launch_each_pixel(f, samples, height, width, c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  template <class F>
  static void means(const F& f, const Tensor& means, int which, const Tensor& x) {
    const auto stream = c10::cuda::getCurrentCUDAStream();
    const int pixels = pixels::extent(x, 2) * pixels::extent(x, 3);
    const auto parts = torch::empty({x.size(0), kPartsOfMean}, x.options().dtype(torch::kDouble));
    launch_means(
        f,
        parts.mutable_data_ptr<double>(),
        means.mutable_data_ptr<float>(),
        which,
        pixels::extent(x, 0),
        pixels,
        stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
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

at::Tensor run_on_cuda(const at::Tensor& x, const Stage& stage, bool ours) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto dense = x.contiguous();
  return std::visit(
      [&](const auto& s) {
        return x.scalar_type() == torch::kHalf ? pixels::run<__half, Launch>(s, dense, ours)
                                               : pixels::run<float, Launch>(s, dense, ours);
      },
      stage);
}

} // namespace barlow

#else

namespace barlow {

bool cuda_can_run(const at::Tensor&, const Stage&) {
  return false;
}

at::Tensor run_on_cuda(const at::Tensor& x, const Stage& stage, bool /*ours*/) {
  return run_reference(x, stage);
}

} // namespace barlow

#endif
