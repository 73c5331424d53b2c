// SPDX-License-Identifier: Apache-2.0
// The readers of files that strangers may have written, each as a function of a file's bytes. Any bytes give contents,
// or barlow::Error (UsageError for a configuration). fuzz.cpp looks for those that do not, hostile_test.cpp replays.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <caffe2/serialize/file_adapter.h>
#include <caffe2/serialize/inline_container.h>

#include <barlow/checkpoint.h>
#include <barlow/error.h>

#include "cli/arguments.h"
#include "cli/config_file.h"
#include "data/files.h"
#include "data/records.h"
#include "data/tar_samples.h"
#include "file.h"
#include "image/encoded_image.h"
#include "pytorch_file.h"
#include "safetensors.h"

namespace barlow::fuzz {

inline std::string in_file(std::string_view bytes, const std::string& suffix) {
  const auto file = "/dev/shm/barlow_fuzz_" + std::to_string(getpid()) + suffix;
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return file;
}

inline void read_image(std::string_view bytes) {
  constexpr int64_t kPixels = 1 << 18;
  constexpr auto kTime = std::chrono::seconds(2);
  for (const int64_t channels : {1, 3, 4}) {
    try {
      const ImageOptions options{.channels = channels, .max_pixels = kPixels};
      const auto image = open_image(bytes, options, "fuzz", std::chrono::steady_clock::now() + kTime);
      image->decode();
      image->decode({image->height / 3, image->width / 3, image->height / 2, image->width / 2}, 2);
    } catch (const Error&) { // NOLINT(bugprone-empty-catch): other channels may do
    }
  }
}

inline void read_idx(std::string_view bytes) {
  parse_idx(bytes, "fuzz");
}

inline void read_cifar(std::string_view bytes) {
  parse_cifar(bytes, Cifar::Ten, "fuzz");
  parse_cifar(bytes, Cifar::Hundred, "fuzz");
}

inline void read_list(std::string_view bytes) {
  for (const auto& path : parse_path_list(bytes)) {
    is_image_name(path);
  }
}

inline void read_tar(std::string_view bytes) {
  TarReader reader(bytes, "fuzz");
  TarSamples samples(reader, /*only_count=*/false);
  while (samples.next()) {
  }
}

inline void read_safetensors(std::string_view bytes) {
  std::map<std::string, std::string> metadata;
  parse_safetensors({bytes.begin(), bytes.end()}, "fuzz", &metadata);
}

// With the checksum that the bytes should have, which chance does not make.
inline void read_checkpoint(std::string_view bytes) {
  constexpr std::string_view kKey = "\"checksum\":\"", kNone = "00000000";
  std::vector<char> file(bytes.begin(), bytes.end());
  const auto at = bytes.find(kKey);
  if (at != std::string_view::npos && at + kKey.size() + kNone.size() <= file.size()) {
    auto* digits = file.data() + at + kKey.size();
    std::copy(kNone.begin(), kNone.end(), digits);
    const auto sum = fmt::format("{:08x}", crc32({file.data(), file.size()}, 0));
    std::copy(sum.begin(), sum.end(), digits);
  }
  parse_checkpoint(std::move(file), "fuzz");
}

// From a file, as load_tensors does.
inline void read_pytorch_file(std::string_view bytes) {
  read_pytorch(std::make_shared<caffe2::serialize::FileAdapter>(in_file(bytes, ".pth")), "fuzz");
}

// In an archive that is whole, which chance does not make.
inline void read_pickle(std::string_view bytes) {
  std::string archive;
  const std::string storage(64, '\1');
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* data, size_t size) {
    archive.append(static_cast<const char*>(data), size);
    return size;
  });
  writer.writeRecord("data.pkl", bytes.data(), bytes.size());
  writer.writeRecord("data/0", storage.data(), storage.size());
  writer.writeEndOfFile();
  read_pytorch_file(archive);
}

// Options of each kind.
inline void read_configuration(std::string_view bytes, const std::string& suffix) {
  std::string text = "a", word = "paper";
  int64_t whole = 1;
  double real = 1;
  bool flag = false;
  const auto app = cli::make_app("fuzz", "", "");
  cli::add(*app, "--text", text, "");
  cli::only(cli::add(*app, "--word", word, ""), {"paper", "gray"});
  cli::add_positive(*app, "--whole", whole, "");
  cli::add(*app, "--real", real, "");
  cli::add_flag(*app, "flag", flag, "");
  cli::add_config(*app);
  cli::parse(*app, {"--config", in_file(bytes, suffix)});
}

inline const std::map<std::string, std::function<void(std::string_view)>>& readers() {
  static const std::map<std::string, std::function<void(std::string_view)>> all{
      {"checkpoint", read_checkpoint},
      {"cifar", read_cifar},
      {"idx", read_idx},
      {"image", read_image},
      {"list", read_list},
      {"pickle", read_pickle},
      {"pytorch", read_pytorch_file},
      {"safetensors", read_safetensors},
      {"tar", read_tar},
      {"toml", [](std::string_view bytes) { read_configuration(bytes, ".toml"); }},
      {"yaml", [](std::string_view bytes) { read_configuration(bytes, ".yaml"); }},
  };
  return all;
}

} // namespace barlow::fuzz
