// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include <barlow/encoder.h>

namespace barlow {

/// Loads an encoder's published weights from a file (load_tensors), alone or as the part of a checkpoint whose names
/// they have after a common beginning. As load_weights, but a classifier's tensors are left out, a first convolution
/// for 3 channels is adapted to n_in, and a ResNet takes the names of its parts or their places. All or nothing; throws
/// NonFiniteError for NaN or infinity.
///
/// The adaptation is timm's, or fastai's for its networks: for one channel the sum over the three; for n_in channels
/// timm repeats the three and scales by 3 / n_in, fastai keeps the first two times 1.5 or the three and zeros.
void load_pretrained(EncoderImpl& encoder, const std::filesystem::path& path, bool fastai);

inline constexpr auto kWeightsFolder = "BARLOW_WEIGHTS"; ///< environment variable

/// The file of an encoder's weights in the folder that kWeightsFolder names: NAME.safetensors, .pth or .pt. Throws
/// FileError that says where to get one.
std::filesystem::path find_pretrained(const std::string& name);

} // namespace barlow
