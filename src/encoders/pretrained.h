// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include <barlow/encoder.h>

namespace barlow {

/// Loads an encoder's published weights from a safetensors file: as load_weights, but a classifier's tensors are left
/// out and a first convolution for 3 channels is adapted to n_in. All or nothing.
///
/// The adaptation is timm's, or fastai's for its networks: for one channel the sum over the three; for n_in channels
/// timm repeats the three and scales by 3 / n_in, fastai keeps the first two times 1.5 or the three and zeros.
void load_pretrained(EncoderImpl& encoder, const std::filesystem::path& path, bool fastai);

} // namespace barlow
