// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the readers of our own: bytes of any kind give their contents or a barlow::Error. Which one is chosen
// when it is compiled; see run.sh.
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string_view>

#include <caffe2/serialize/file_adapter.h>
#include <caffe2/serialize/inline_container.h>

#include <barlow/error.h>

#include "data/files.h"
#include "data/records.h"
#include "data/tar_samples.h"
#include "pytorch_file.h"
#include "safetensors.h"

namespace {

[[maybe_unused]] void read_archive(std::string_view bytes) { // from a file, as load_tensors does
  static const std::string file = "/dev/shm/barlow_fuzz_" + std::to_string(getpid());
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  barlow::read_pytorch(std::make_shared<caffe2::serialize::FileAdapter>(file), "fuzz");
}

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
#elif defined(BARLOW_FUZZ_SAFETENSORS)
  std::map<std::string, std::string> metadata;
  barlow::parse_safetensors({bytes.begin(), bytes.end()}, "fuzz", &metadata);
#elif defined(BARLOW_FUZZ_PYTORCH)
  read_archive(bytes);
#elif defined(BARLOW_FUZZ_PICKLE) // in an archive that is whole, which chance does not make
  std::string archive;
  const std::string storage(64, '\1');
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* data, size_t size) {
    archive.append(static_cast<const char*>(data), size);
    return size;
  });
  writer.writeRecord("data.pkl", bytes.data(), bytes.size());
  writer.writeRecord("data/0", storage.data(), storage.size());
  writer.writeEndOfFile();
  read_archive(archive);
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
