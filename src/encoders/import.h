// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <barlow/encoder.h>

namespace barlow {

/// Whether create_encoder takes the name for a TorchScript file: it ends in .pt.
bool is_script_file(const std::string& name);

/// A TorchScript module from [N,n_in,H,W] to [N,F], with its parameters and buffers under their own names. F is found
/// by running it once on zeros of the size that the file tells (extra file "barlow.json": n_in, input_size), else 224.
/// Throws FileError for a file that is missing or holds no such module.
Encoder import_encoder(const std::string& path, const EncoderOptions& options);

} // namespace barlow
