// SPDX-License-Identifier: Apache-2.0
// What the encoder families share.
#pragma once

#include <torch/torch.h>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

struct ConvOptions {
  int64_t stride = 1;
  int64_t padding = -1; // -1: "same" for odd kernels, (k - 1) / 2
  int64_t groups = 1;
  bool bias = false;
};

inline Conv2d conv(int64_t in, int64_t out, int64_t kernel, const ConvOptions& o = {}) {
  return Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel)
          .stride(o.stride)
          .padding(o.padding < 0 ? (kernel - 1) / 2 : o.padding)
          .groups(o.groups)
          .bias(o.bias));
}

/// Which half of CatAvgMax comes first.
enum class CatOrder { AvgMax /* timm */, MaxAvg /* fastai */ };

/// Features per channel of a pooled map: 2 for CatAvgMax, else 1.
int64_t pooled_width(PoolingType type);

/// [N,F,H,W] -> [N, F * pooled_width]
torch::Tensor global_pool(const torch::Tensor& x, PoolingType type, CatOrder order);

/// torch::nn::init with the Module classes of this library in it: every convolution's weight, normal with
/// std = sqrt(2 / fan_out), as timm.
void init_convolutions_fan_out(torch::nn::Module& module);

} // namespace barlow
