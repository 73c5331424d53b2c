// SPDX-License-Identifier: Apache-2.0
#include "records.h"

#include <algorithm>
#include <array>
#include <limits>

#include <torch/torch.h>

#include "../check.h"
#include "../file.h"
#include "archive.h"

namespace barlow {

namespace fs = std::filesystem;
using torch::Tensor;

// --- IDX

namespace {

constexpr auto kIdx = "read_idx";
constexpr size_t kIdxMagic = 4, kIdxDimension = 4;

// The size of the header, once its first four bytes are there.
size_t idx_header(std::string_view bytes) {
  return kIdxMagic + kIdxDimension * static_cast<uint8_t>(bytes[3]);
}

struct IdxShape {
  std::vector<int64_t> sizes{};
  size_t numel = 1;
};

IdxShape idx_shape(std::string_view bytes, std::string_view name) {
  check<FileError>(
      bytes.size() >= kIdxMagic && bytes[0] == 0 && bytes[1] == 0 && bytes[3] >= 1 && bytes.size() >= idx_header(bytes),
      kIdx,
      "'{}' is no IDX file: its header is not of that format",
      name);
  constexpr char kUnsignedByte = 0x08;
  check<FileError>(
      bytes[2] == kUnsignedByte,
      kIdx,
      "'{}' holds numbers of type {:#04x}; only unsigned bytes, 0x08, are read",
      name,
      static_cast<uint8_t>(bytes[2]));
  IdxShape shape;
  size_t strides = 1; // as numel, but of the sizes that are not 0: a tensor's strides must be countable too
  for (size_t at = kIdxMagic; at < idx_header(bytes); at += kIdxDimension) {
    uint32_t size = 0;
    for (size_t i = 0; i < kIdxDimension; ++i) {
      size = size << 8 | static_cast<uint8_t>(bytes[at + i]);
    }
    shape.sizes.push_back(size);
    const auto limit = static_cast<size_t>(std::numeric_limits<int64_t>::max()) / std::max<size_t>(size, 1);
    check<FileError>(strides <= limit, kIdx, "'{}' says that it has more numbers than can be counted", name);
    strides *= std::max<size_t>(size, 1);
    shape.numel *= size;
  }
  return shape;
}

} // namespace

Tensor parse_idx(std::string_view bytes, std::string_view name) {
  std::vector<char> unpacked;
  if (bytes.starts_with("\x1f\x8b")) {
    constexpr size_t kLongestHeader = kIdxMagic + kIdxDimension * 255;
    unpacked = gunzip(bytes, kLongestHeader, name); // how much there is to unpack
    const std::string_view head(unpacked.data(), unpacked.size());
    const auto shape = idx_shape(head, name);
    unpacked = gunzip(bytes, idx_header(head) + shape.numel + 1, name);
    bytes = {unpacked.data(), unpacked.size()};
  }
  const auto shape = idx_shape(bytes, name);
  check<FileError>(
      bytes.size() - idx_header(bytes) == shape.numel,
      kIdx,
      "'{}' must hold {} numbers after its header, received {}; it is truncated or damaged",
      name,
      shape.numel,
      bytes.size() - idx_header(bytes));
  auto numbers = torch::empty(shape.sizes, torch::kByte);
  std::copy_n(bytes.data() + idx_header(bytes), shape.numel, static_cast<char*>(numbers.data_ptr()));
  return numbers;
}

Tensor read_idx(const fs::path& file) {
  const auto bytes = read_file(file, kIdx);
  return parse_idx({bytes.data(), bytes.size()}, file.string());
}

// --- CIFAR

CifarRecords parse_cifar(std::string_view bytes, Cifar kind, std::string_view name) {
  constexpr auto here = "read_cifar";
  constexpr size_t kPixels = size_t{3} * 32 * 32;
  const size_t labels = kind == Cifar::Ten ? 1 : 2, record = labels + kPixels;
  check<FileError>(
      !bytes.empty() && bytes.size() % record == 0,
      here,
      "'{}' must have a multiple of {} bytes, received {}; it is truncated, or of the other CIFAR",
      name,
      record,
      bytes.size());
  const auto n = static_cast<int64_t>(bytes.size() / record);
  CifarRecords records{
      torch::empty({n, 3, 32, 32}, torch::kByte), torch::empty({n, static_cast<int64_t>(labels)}, torch::kLong)};
  auto* image = static_cast<char*>(records.images.data_ptr());
  auto* label = records.labels.mutable_data_ptr<int64_t>();
  const std::array<int64_t, 2> limits =
      kind == Cifar::Ten ? std::array<int64_t, 2>{10, 0} : std::array<int64_t, 2>{20, 100};
  for (size_t at = 0; at < bytes.size(); at += record) {
    for (size_t l = 0; l < labels; ++l) {
      *label = static_cast<uint8_t>(bytes[at + l]);
      check<FileError>(
          *label < limits[l], here, "'{}' has a label {} where {} is the largest", name, *label, limits[l] - 1);
      ++label;
    }
    image = std::copy_n(bytes.data() + at + labels, kPixels, image);
  }
  return records;
}

CifarRecords read_cifar(const fs::path& file, Cifar kind) {
  const auto bytes = read_file(file, "read_cifar");
  return parse_cifar({bytes.data(), bytes.size()}, kind, file.string());
}

} // namespace barlow
