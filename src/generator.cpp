// SPDX-License-Identifier: Apache-2.0
#include "generator.h"

#include <mutex>

#include <ATen/Context.h>

namespace barlow {

at::Tensor generator_state(const at::Device& device) {
  auto generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_generator_state(const at::Device& device, const at::Tensor& state) {
  auto generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

} // namespace barlow
