// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the readers of our own: bytes of any kind give their contents or a barlow::Error. Which one is chosen
// when it is compiled; see run.sh.
#include <cstdint>
#include <string_view>

#include <barlow/error.h>

#include "data/files.h"
#include "data/records.h"
#include "data/tar_samples.h"

namespace {

void read([[maybe_unused]] std::string_view bytes) {
#if defined(BARLOW_FUZZ_IDX)
  barlow::parse_idx(bytes, "fuzz");
#elif defined(BARLOW_FUZZ_CIFAR)
  barlow::parse_cifar(bytes, barlow::Cifar::Ten, "fuzz");
  barlow::parse_cifar(bytes, barlow::Cifar::Hundred, "fuzz");
#elif defined(BARLOW_FUZZ_LIST)
  for (const auto& path : barlow::parse_path_list(bytes)) {
    barlow::is_image_name(path);
  }
#else
  barlow::TarReader reader(bytes, "fuzz");
  barlow::TarSamples samples(reader, /*only_count=*/false);
  while (samples.next()) {
  }
#endif
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    read({reinterpret_cast<const char*>(data), size});
  } catch (const barlow::Error&) { // NOLINT(bugprone-empty-catch): what bad input shall throw
  }
  return 0;
}
