// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <barlow/weights.h>

namespace barlow {

/// The state of a run. As a file it is safetensors: tensors and strings, nothing that is executed; Python reads it with
/// safetensors.safe_open. Names of tensors begin with what they belong to:
///
///     model.*       parameters and buffers, as state_dict names them
///     optimizer.*   GROUP.PARAMETER.WHAT
///     scaler.*      of float16's loss
///     gradient.*    of the parameters, while batches accumulate
///     random.*      state of torch's generators: random.cpu, random.device; of other processes with .RANK
///     position      int64 [6]: 1 within a fit, 0 between two; epoch; next batch of the epoch; steps; epochs of all
///     fits
///                   so far; skipped steps
///     callback.NAME.*, a second one of the name callback.NAME-2.*
///
/// `info` has format = "barlow.checkpoint", version = "1", checksum (CRC-32 of the file with eight zeros in its place),
/// and in words the encoder, optimiser, recipe, data, fit and precision that a resumed run must have too.
struct Checkpoint {
  NamedTensors tensors;
  std::map<std::string, std::string> info;
};

/// Writes the file under a temporary name, brings it to the disk and renames it: whatever happens, the path holds the
/// old file or the whole new one. Throws FileError if it cannot be written.
void save_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint);

/// Throws FileError for a file that is missing, truncated, damaged (its checksum tells) or of a later version.
Checkpoint load_checkpoint(const std::filesystem::path& file);

/// The same from a file's bytes; `name` is what errors call them.
Checkpoint parse_checkpoint(std::vector<char> bytes, const std::string& name);

} // namespace barlow
