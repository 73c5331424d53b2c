// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

namespace barlow {

/// State of torch's generator of a device, which dropout draws from; a uint8 tensor.
at::Tensor generator_state(const at::Device& device);
void set_generator_state(const at::Device& device, const at::Tensor& state);

/// Puts the generator back, at the scope's end, to where it was.
class KeepGenerator {
 public:
  explicit KeepGenerator(const at::Device& device) : device_(device), state_(generator_state(device)) {}
  ~KeepGenerator() { // NOLINT(bugprone-exception-escape): it takes back what the generator gave
    set_generator_state(device_, state_);
  }
  KeepGenerator(const KeepGenerator&) = delete;
  KeepGenerator& operator=(const KeepGenerator&) = delete;

 private:
  at::Device device_;
  at::Tensor state_;
};

} // namespace barlow
