// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <ATen/core/Tensor.h>

#include "../descriptor.h"

namespace barlow {

/// A file of TensorBoard's events: records of TFRecord that hold Event messages. What is written reaches the operating
/// system at once; if it cannot be written, on a full disk say, that is told once and the run goes on without it.
class EventFile {
 public:
  /// A new file in the folder, with a name that no other has. Throws FileError if it cannot be made.
  explicit EventFile(const std::filesystem::path& folder);

  void scalar(const std::string& tag, double value, int64_t step);
  void picture(const std::string& tag, const at::Tensor& image, int64_t step); ///< uint8 [C,H,W]
  void restart(int64_t step); ///< events of this step and later ones in other files of the folder no longer count

  const std::filesystem::path& path() const {
    return path_;
  }

 private:
  void event(int64_t step, int tag, const std::string& message);
  void record(const std::string& bytes);

  std::filesystem::path path_;
  Descriptor out_;
  int64_t size_ = 0; // of the whole records
  bool told_ = false;
};

} // namespace barlow
