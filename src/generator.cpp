// SPDX-License-Identifier: Apache-2.0
#include "generator.h"

#include <cstring>
#include <mutex>

#include <ATen/Context.h>

#include "check.h"

namespace barlow {
namespace {

// The generator reads `left` numbers from `next` on, and looks at each of the two alone.
// Source: LibTorch 2.11, aten/src/ATen/CPUGeneratorImpl.cpp, CPUGeneratorImplStateLegacy.
bool is_sound(const at::Tensor& state) {
  struct {
    uint64_t seed;
    int32_t left, seeded;
    uint64_t next;
  } begin{};
  if (state.scalar_type() != at::kByte || !state.is_cpu() || !state.is_contiguous() || state.nbytes() < sizeof(begin)) {
    return false;
  }
  std::memcpy(&begin, state.const_data_ptr(), sizeof(begin));
  constexpr uint64_t kNumbers = 624;
  return begin.left >= 1 && begin.next <= kNumbers && static_cast<uint64_t>(begin.left) + begin.next <= kNumbers + 1;
}

} // namespace

at::Tensor generator_state(const at::Device& device) {
  auto generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_generator_state(const at::Device& device, const at::Tensor& state) {
  auto generator = at::globalContext().defaultGenerator(device);
  check<FileError>(
      !device.is_cpu() || is_sound(state), "Learner::resume", "the checkpoint has no state of the CPU's generator");
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

} // namespace barlow
