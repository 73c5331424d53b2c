// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the reader that the environment variable BARLOW_FUZZ names; see run.sh.
#include <cstdlib>

#include "fuzz/readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto read = barlow::fuzz::readers().at(std::getenv("BARLOW_FUZZ"));
  try {
    read({reinterpret_cast<const char*>(data), size});
  } catch (const barlow::Error&) { // NOLINT(bugprone-empty-catch): what bad input shall throw
  } catch (const barlow::cli::UsageError&) { // NOLINT(bugprone-empty-catch): the same
  }
  return 0;
}
