// SPDX-License-Identifier: Apache-2.0
#include "pretrained.h"

#include <torch/torch.h>

#include <barlow/weights.h>

namespace barlow {
namespace {

using torch::Tensor;

// [O,3,k,k] -> [O,n_in,k,k]. Source: timm 1.0.31 adapt_input_conv; fastai 2.8.12 create_body.
Tensor adapt_channels(const Tensor& weight, int64_t n_in, bool fastai) {
  if (n_in == 1) {
    return weight.sum(1, /*keepdim=*/true);
  }
  if (!fastai) {
    const int64_t times = (n_in + 2) / 3;
    return weight.repeat({1, times, 1, 1}).narrow(1, 0, n_in) * (3. / static_cast<double>(n_in));
  }
  if (n_in == 2) {
    return weight.narrow(1, 0, 2) * 1.5;
  }
  return at::constant_pad_nd(weight, {0, 0, 0, 0, 0, n_in - 3});
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

} // namespace

void load_pretrained(EncoderImpl& encoder, const std::filesystem::path& path, bool fastai) {
  const auto& info = encoder.info();
  NamedTensors tensors;
  for (auto& [name, tensor] : load_safetensors(path)) {
    if (starts_with(name, info.classifier + ".")) {
      continue;
    }
    if (name == info.first_conv + ".weight" && info.n_in != 3 && tensor.dim() == 4 && tensor.size(1) == 3) {
      tensor = adapt_channels(tensor, info.n_in, fastai);
    }
    tensors.emplace_back(name, encoder.adapt_weight(name, tensor));
  }
  load_weights(encoder, tensors, path.string());
}

} // namespace barlow
