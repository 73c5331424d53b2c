// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include <barlow/encoder.h>

namespace barlow {

inline constexpr int kOnnxOpset = 17; ///< of the files that export_onnx writes

struct OnnxOptions {
  int64_t size = 0; ///< pixels a side of the images; 0: the encoder's input_size
  std::map<std::string, std::string> metadata{}; ///< added to the file's name, mean and std
};

/// Writes an encoder as an ONNX file: input `images` [batch,n_in,size,size] float32 for any batch, output `features`
/// [batch,F], in evaluation mode; initialisers have the names of the parameters. The caller normalises, with the mean
/// and std of the metadata: those given, or those of the encoder's info, which published weights expect, if it has one
/// a channel.
///
/// The network is run on two batches and what it does is written down, so that encoders of your own need no code for
/// it; but a choice made by looking at pixels is fixed as it was made. Throws Error for an operator without a
/// counterpart (naming it), a network that does other things for other batch sizes, parameters that are not float32, or
/// more than 2 GB; FileError if the file cannot be written.
void export_onnx(Encoder encoder, const std::filesystem::path& file, const OnnxOptions& options = {});

} // namespace barlow
