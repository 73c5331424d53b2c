// SPDX-License-Identifier: Apache-2.0
#include "event_file.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>
#include <utility>

#include <unistd.h>
#include <protozero/pbf_builder.hpp>
#ifdef BARLOW_HAS_ISAL
#include <isa-l/crc.h>
#endif

#include <barlow/image.h>

#include "../check.h"

// Source of the messages and their numbers: TensorBoard 2.19, tensorboard/compat/proto/{event,summary}.proto; of the
// records: TensorFlow's TFRecord.

namespace barlow {
namespace {

using protozero::pbf_builder;

constexpr auto kHere = "TensorBoard";

enum class EventTag : protozero::pbf_tag_type { WallTime = 1, Step = 2, FileVersion = 3, Summary = 5, SessionLog = 7 };
enum class SessionLogTag : protozero::pbf_tag_type { Status = 1 };
constexpr int32_t kStart = 1; // a SessionLog's status
enum class SummaryTag : protozero::pbf_tag_type { Value = 1 };
enum class ValueTag : protozero::pbf_tag_type { Tag = 1, SimpleValue = 2, Image = 4 };
enum class ImageTag : protozero::pbf_tag_type { Height = 1, Width = 2, Colorspace = 3, Encoded = 4 };

// CRC-32C, made so that a checksum of checksums is none by accident.
uint32_t masked_crc([[maybe_unused]] std::string bytes) {
#ifdef BARLOW_HAS_ISAL
  constexpr uint32_t kAll = 0xffffffff, kMask = 0xa282ead8;
  auto* data = reinterpret_cast<unsigned char*>(bytes.data());
  const uint32_t crc = crc32_iscsi(data, static_cast<int>(bytes.size()), kAll) ^ kAll;
  return ((crc >> 15) | (crc << 17)) + kMask;
#else
  throw Error("[TensorBoard] this library was built without ISA-L; install libisal-dev and build again");
#endif
}

template <class T>
std::string little_endian(T number) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) {
    bytes += static_cast<char>((number >> (8 * i)) & 0xff);
  }
  return bytes;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string file_name() {
  static int64_t number = 0;
  std::string host(256, '\0');
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format(
      "events.out.tfevents.{:010d}.{}.{}.{}", static_cast<int64_t>(now()), host.c_str(), ::getpid(), number++);
}

} // namespace

EventFile::EventFile(const std::filesystem::path& folder) : path_(folder / file_name()) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  out_ = Descriptor(path_, O_WRONLY | O_CREAT | O_TRUNC);
  check<FileError>(static_cast<bool>(out_), kHere, "'{}' cannot be written; give a folder that can", path_.string());
  event(0, static_cast<int>(EventTag::FileVersion), "brain.Event:2");
}

void EventFile::scalar(const std::string& tag, double value, int64_t step) {
  std::string summary;
  {
    pbf_builder<SummaryTag> all(summary);
    pbf_builder<ValueTag> one(all, SummaryTag::Value);
    one.add_string(ValueTag::Tag, tag);
    one.add_float(ValueTag::SimpleValue, static_cast<float>(value));
  }
  event(step, static_cast<int>(EventTag::Summary), summary);
}

void EventFile::picture(const std::string& tag, const at::Tensor& image, int64_t step) {
  const auto png = encode_png(image);
  std::string summary;
  {
    pbf_builder<SummaryTag> all(summary);
    pbf_builder<ValueTag> one(all, SummaryTag::Value);
    one.add_string(ValueTag::Tag, tag);
    pbf_builder<ImageTag> picture(one, ValueTag::Image);
    picture.add_int32(ImageTag::Height, static_cast<int32_t>(image.size(1)));
    picture.add_int32(ImageTag::Width, static_cast<int32_t>(image.size(2)));
    picture.add_int32(ImageTag::Colorspace, static_cast<int32_t>(image.size(0)));
    picture.add_bytes(ImageTag::Encoded, png.data(), png.size());
  }
  event(step, static_cast<int>(EventTag::Summary), summary);
}

void EventFile::restart(int64_t step) {
  std::string status;
  pbf_builder<SessionLogTag>(status).add_enum(SessionLogTag::Status, kStart);
  event(step, static_cast<int>(EventTag::SessionLog), status);
}

void EventFile::event(int64_t step, int tag, const std::string& message) {
  std::string bytes;
  pbf_builder<EventTag> all(bytes);
  all.add_double(EventTag::WallTime, now());
  all.add_int64(EventTag::Step, step);
  all.add_bytes(static_cast<EventTag>(tag), message); // a string and a message are written alike
  record(bytes);
}

void EventFile::record(const std::string& bytes) {
  const auto length = little_endian<uint64_t>(bytes.size());
  const auto whole = length + little_endian(masked_crc(length)) + bytes + little_endian(masked_crc(bytes));
  if (out_.write(whole, size_)) {
    size_ += static_cast<int64_t>(whole.size());
    return;
  }
  const auto* reason = std::strerror(errno);
  const bool cut = ::ftruncate(out_.get(), size_) == 0; // whole records alone
  if (!std::exchange(told_, true)) {
    std::cerr << fmt::format(
        "[{}] '{}' cannot be written: {}; what cannot is left out{}\n",
        kHere,
        path_.string(),
        reason,
        cut ? "" : ", and a record may be there in half");
  }
}

} // namespace barlow
