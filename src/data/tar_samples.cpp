// SPDX-License-Identifier: Apache-2.0
#include "tar_samples.h"

#include <charconv>

#include <fmt/format.h>

#include "files.h"

namespace barlow {

namespace {
constexpr size_t kLargestMember = size_t{1} << 28, kLongestLabel = 64;
constexpr int64_t kMostClasses = 1'000'000; // classifiers take memory for each
} // namespace

std::string tar_key(const std::string& path) {
  const auto slash = path.rfind('/');
  const auto dot = path.find('.', slash == std::string::npos ? 0 : slash + 1);
  return path.substr(0, dot);
}

std::optional<TarSamples::Group> TarSamples::next() {
  if (!begun_) {
    path_ = reader_.next();
    begun_ = true;
  }
  if (!path_) {
    return std::nullopt;
  }
  Group group{.key = tar_key(*path_)};
  while (path_ && tar_key(*path_) == group.key) {
    take(group, *path_);
    path_ = reader_.next();
  }
  return group;
}

void TarSamples::take(Group& group, const std::string& path) {
  const bool image = is_image_name(path), label = path.ends_with(".cls");
  group.has_image |= image;
  if (only_count_ || (!image && !label)) {
    return;
  }
  const auto limit = image ? kLargestMember : kLongestLabel;
  auto bytes = reader_.read(limit);
  if (!bytes) {
    group.error = fmt::format("[tar_dataset] '{}' is sparse or larger than {} bytes", path, limit);
    return;
  }
  if (image) {
    group.sample.encoded = std::move(*bytes);
    return;
  }
  std::string_view text(bytes->data(), bytes->size());
  text = text.substr(0, std::min(text.find_last_not_of(" \r\n\t") + 1, text.size()));
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), group.sample.label);
  if (error != std::errc() || end != text.data() + text.size() || group.sample.label >= kMostClasses) {
    group.error = fmt::format("[tar_dataset] '{}' is not a number below {}: a label must be one", path, kMostClasses);
  }
}

} // namespace barlow
