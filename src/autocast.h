// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

namespace barlow {

/// Autocast of a device in this scope: to a type, or off. Casts of weights are kept to the scope's end.
class Autocast {
 public:
  Autocast(at::DeviceType device, std::optional<at::ScalarType> type);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

  /// What holds for the device at present.
  static std::optional<at::ScalarType> current(at::DeviceType device);

 private:
  at::DeviceType device_;
  bool was_enabled_;
  at::ScalarType old_type_;
};

} // namespace barlow
