// SPDX-License-Identifier: Apache-2.0
#include "archive.h"

#include <array>

#include "../check.h"

#if BARLOW_HAS_ARCHIVE
#include <archive.h>
#include <archive_entry.h>
#endif

namespace barlow {

namespace fs = std::filesystem;

#if BARLOW_HAS_ARCHIVE

namespace {

using Archive = std::unique_ptr<archive, decltype(&archive_read_free)>;

[[noreturn]] void fail(archive* a, std::string_view name) {
  const char* why = archive_error_string(a);
  throw FileError(fmt::format("[tar_dataset] '{}' cannot be read: {}", name, why != nullptr ? why : "it is damaged"));
}

// What has been read so far grows as data comes: a member's size in its header may be anything.
std::vector<char> read_all(archive* a, size_t limit, std::string_view name) {
  std::vector<char> bytes;
  std::array<char, 1 << 16> buffer; // NOLINT(cppcoreguidelines-pro-type-member-init)
  while (bytes.size() < limit) {
    const auto got = archive_read_data(a, buffer.data(), std::min(buffer.size(), limit - bytes.size()));
    if (got == ARCHIVE_RETRY) {
      continue;
    }
    if (got < 0) {
      fail(a, name);
    }
    if (got == 0) {
      break;
    }
    bytes.insert(bytes.end(), buffer.data(), buffer.data() + got);
  }
  return bytes;
}

} // namespace

std::vector<char> gunzip(std::string_view bytes, size_t limit, std::string_view name) {
  const Archive a(archive_read_new(), &archive_read_free);
  archive_read_support_filter_gzip(a.get());
  archive_read_support_format_raw(a.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(a.get(), bytes.data(), bytes.size()) != ARCHIVE_OK ||
      archive_read_next_header(a.get(), &entry) != ARCHIVE_OK) {
    fail(a.get(), name);
  }
  return read_all(a.get(), limit, name);
}

struct TarReader::Impl {
  std::string name;
  Archive a{archive_read_new(), &archive_read_free};
  archive_entry* entry = nullptr;

  explicit Impl(std::string n) : name(std::move(n)) {
    archive_read_support_filter_all(a.get());
    archive_read_support_format_tar(a.get());
    archive_read_support_format_empty(a.get());
  }
};

TarReader::TarReader(const fs::path& file) : impl_(std::make_unique<Impl>(file.string())) {
  constexpr size_t kBlock = size_t{1} << 18;
  check<FileError>(fs::is_regular_file(file), "tar_dataset", "'{}' is not a regular file", impl_->name);
  if (archive_read_open_filename(impl_->a.get(), file.c_str(), kBlock) != ARCHIVE_OK) {
    fail(impl_->a.get(), impl_->name);
  }
}

TarReader::TarReader(std::string_view bytes, std::string name) : impl_(std::make_unique<Impl>(std::move(name))) {
  if (archive_read_open_memory(impl_->a.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    fail(impl_->a.get(), impl_->name);
  }
}

TarReader::~TarReader() = default;

std::optional<std::string> TarReader::next() {
  while (true) {
    const int result = archive_read_next_header(impl_->a.get(), &impl_->entry);
    if (result == ARCHIVE_EOF) {
      return std::nullopt;
    }
    if (result == ARCHIVE_RETRY) {
      continue;
    }
    if (result < ARCHIVE_WARN) {
      fail(impl_->a.get(), impl_->name);
    }
    const char* path = archive_entry_pathname(impl_->entry);
    if (archive_entry_filetype(impl_->entry) == AE_IFREG && path != nullptr) {
      return path;
    }
  }
}

std::vector<char> TarReader::read(size_t limit) {
  auto bytes = read_all(impl_->a.get(), limit + 1, impl_->name);
  check<FileError>(
      bytes.size() <= limit, "tar_dataset", "a member of '{}' is larger than {} bytes", impl_->name, limit);
  return bytes;
}

#else

namespace {
[[noreturn]] void without_libarchive() {
  throw Error("[tar_dataset] this barlow was built without libarchive; build it with -DBARLOW_WITH_ARCHIVE=ON");
}
} // namespace

std::vector<char> gunzip(std::string_view, size_t, std::string_view) {
  without_libarchive();
}

struct TarReader::Impl {};
TarReader::TarReader(const fs::path&) {
  without_libarchive();
}
TarReader::TarReader(std::string_view, std::string) {
  without_libarchive();
}
TarReader::~TarReader() = default;
std::optional<std::string> TarReader::next() {
  without_libarchive();
}
std::vector<char> TarReader::read(size_t) {
  without_libarchive();
}

#endif

} // namespace barlow
