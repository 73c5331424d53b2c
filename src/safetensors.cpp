// SPDX-License-Identifier: Apache-2.0
#include "safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "check.h"
#include "json_text.h"

// The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, the data.
// Source: safetensors 0.4, format specification.

namespace barlow {
namespace {

using nlohmann::json;
using torch::ScalarType;

struct TypeName {
  const char* name;
  ScalarType type;
};
constexpr std::array<TypeName, 10> kTypes{{
    {"F64", ScalarType::Double},
    {"F32", ScalarType::Float},
    {"F16", ScalarType::Half},
    {"BF16", ScalarType::BFloat16},
    {"I64", ScalarType::Long},
    {"I32", ScalarType::Int},
    {"I16", ScalarType::Short},
    {"I8", ScalarType::Char},
    {"U8", ScalarType::Byte},
    {"BOOL", ScalarType::Bool},
}};

constexpr auto kMetadata = "__metadata__";
constexpr uint64_t kLargestHeader = 16 << 20; // parsed, a header can take 60 times its length
constexpr size_t kMostTensors = 1 << 16; // the largest networks have a tenth

// Of the JSON text.
uint64_t header_length(const std::vector<char>& bytes, const std::string& file) {
  constexpr auto here = "load_safetensors";
  check<FileError>(bytes.size() >= 8, here, "'{}' has {} bytes, too few for a safetensors file", file, bytes.size());
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(bytes[i]);
  }
  check<FileError>(
      length <= kLargestHeader && length <= bytes.size() - 8,
      here,
      "'{}' is no safetensors file or is truncated: its header is said to have {} bytes, the file has {}",
      file,
      length,
      bytes.size());
  return length;
}

// One entry of the header, checked against the size of the data.
struct Entry {
  std::string name;
  std::vector<int64_t> shape;
  ScalarType type;
  uint64_t begin, end; // of the data
};

// JSON has other numbers too, of any size.
bool whole_numbers(const json& list) {
  return std::all_of(list.begin(), list.end(), [](const json& number) { return number.is_number_integer(); });
}

Entry read_entry(const std::string& name, const json& entry, uint64_t data_size, const std::string& file) {
  constexpr auto here = "load_safetensors";
  const auto where = fmt::format("'{}' of '{}'", name, file);
  const auto type_name = entry.at("dtype").get<std::string>();
  const auto* known =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return type_name == t.name; });
  check<FileError>(known != kTypes.end(), here, "{} has the type {}, which is not supported", where, type_name);
  check<FileError>(
      whole_numbers(entry.at("shape")) && whole_numbers(entry.at("data_offsets")),
      here,
      "{} has a shape or a place that is not of whole numbers",
      where);
  const auto shape = entry.at("shape").get<std::vector<int64_t>>();
  const auto offsets = entry.at("data_offsets").get<std::array<uint64_t, 2>>();
  check<FileError>(
      offsets[0] <= offsets[1] && offsets[1] <= data_size,
      here,
      "{} lies at bytes {} to {} of {}",
      where,
      offsets[0],
      offsets[1],
      data_size);
  uint64_t need = torch::elementSize(known->type);
  int64_t strides = 1; // as need, but of the extents that are not 0: strides must be countable too
  for (const auto extent : shape) {
    check<FileError>(
        extent >= 0 && !__builtin_mul_overflow(need, static_cast<uint64_t>(extent), &need) &&
            !__builtin_mul_overflow(strides, std::max<int64_t>(extent, 1), &strides),
        here,
        "{} has an impossible shape",
        where);
  }
  check<FileError>(
      need == offsets[1] - offsets[0],
      here,
      "{} needs {} bytes for its shape, the file gives {}",
      where,
      need,
      offsets[1] - offsets[0]);
  return {name, shape, known->type, offsets[0], offsets[1]};
}

// In the order of the data. Two of the same bytes are refused: a small file could ask for much memory.
std::vector<Entry> read_header(
    const json& header,
    uint64_t data_size,
    const std::string& file,
    std::map<std::string, std::string>* metadata) {
  check<FileError>(header.size() <= kMostTensors, "load_safetensors", "'{}' has {} tensors", file, header.size());
  std::vector<Entry> entries;
  for (const auto& [name, entry] : header.items()) {
    if (name != kMetadata) {
      entries.push_back(read_entry(name, entry, data_size, file));
    } else if (metadata != nullptr) {
      *metadata = entry.get<std::map<std::string, std::string>>();
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); // a tensor without elements has no bytes: it is first
  });
  for (size_t i = 1; i < entries.size(); ++i) {
    check<FileError>(
        entries[i - 1].end <= entries[i].begin,
        "load_safetensors",
        "'{}' and '{}' of '{}' lie upon each other",
        entries[i - 1].name,
        entries[i].name,
        file);
  }
  return entries;
}

} // namespace

NamedTensors parse_safetensors(
    const std::vector<char>& bytes,
    const std::string& file,
    std::map<std::string, std::string>* metadata) {
  constexpr auto here = "load_safetensors";
  const auto length = header_length(bytes, file);
  const char* data = bytes.data() + 8 + length;
  const uint64_t data_size = bytes.size() - 8 - length;
  try {
    const auto header = json::parse(bytes.data() + 8, data);
    NamedTensors tensors;
    for (const auto& entry : read_header(header, data_size, file, metadata)) {
      auto tensor = torch::empty(entry.shape, entry.type);
      if (entry.begin < entry.end) {
        std::memcpy(tensor.data_ptr(), data + entry.begin, entry.end - entry.begin);
      }
      tensors.emplace_back(entry.name, std::move(tensor));
    }
    return tensors;
  } catch (const json::exception& e) {
    throw FileError(fmt::format("[{}] '{}' has a malformed header: {}", here, file, e.what()));
  }
}

SafetensorsFile pack_safetensors(
    const NamedTensors& tensors,
    const std::map<std::string, std::string>& metadata,
    std::string_view here) {
  SafetensorsFile file;
  nlohmann::ordered_json header;
  if (!metadata.empty()) {
    header[kMetadata] = metadata;
  }
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    check(!header.contains(name), here, "two tensors are named '{}'", name);
    check(name != kMetadata && !tensor.is_meta(), here, "'{}' must have data and not be called {}", name, kMetadata);
    const auto* known = std::find_if(
        kTypes.begin(), kTypes.end(), [type = tensor.scalar_type()](const TypeName& t) { return type == t.type; });
    check(known != kTypes.end(), here, "'{}' is {}, a type the format does not have", name, barlow::describe(tensor));
    file.tensors.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const uint64_t end = offset + file.tensors.back().nbytes();
    header[name] = {{"dtype", known->name}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  file.header = header.is_null() ? std::string("{}") : json_text(header, here);
  file.header.resize((file.header.size() + 7) / 8 * 8, ' '); // the data starts aligned
  file.length.resize(8);
  for (size_t i = 0; i < 8; ++i) {
    file.length[i] = static_cast<char>(file.header.size() >> (8 * i) & 0xff);
  }
  return file;
}

std::vector<std::string_view> SafetensorsFile::parts() const {
  std::vector<std::string_view> all{length, header};
  for (const auto& tensor : tensors) {
    all.emplace_back(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
  }
  return all;
}

} // namespace barlow
