// SPDX-License-Identifier: Apache-2.0
#include "archive.h"

#include <algorithm>
#include <array>
#include <functional>

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

std::string reason(archive* a) {
  const char* text = archive_error_string(a);
  return text != nullptr ? text : "it is damaged";
}

// What has been read so far grows as data comes: a member's size in its header may be anything. Nothing for a sparse
// file, whose holes may be of any size.
template <class CheckOk>
std::optional<std::vector<char>> read_all(archive* a, size_t limit, const CheckOk& check_ok) {
  std::vector<char> bytes;
  while (bytes.size() < limit) {
    const void* block = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(a, &block, &size, &offset);
    if (result == ARCHIVE_EOF) {
      break;
    }
    check_ok(result);
    if (offset != static_cast<la_int64_t>(bytes.size())) {
      return std::nullopt;
    }
    const auto* first = static_cast<const char*>(block);
    bytes.insert(bytes.end(), first, first + std::min(size, limit - bytes.size()));
  }
  return bytes;
}

// A few that libarchive has in itself: it would run a program for others, and for these if it was built without.
void support_filters(archive* a) {
  struct Filter {
    const char* (*version)();
    int (*support)(archive*);
  };
  constexpr std::array<Filter, 5> kFilters{{
      {archive_zlib_version, archive_read_support_filter_gzip},
      {archive_bzlib_version, archive_read_support_filter_bzip2},
      {archive_liblzma_version, archive_read_support_filter_xz},
      {archive_libzstd_version, archive_read_support_filter_zstd},
      {archive_liblz4_version, archive_read_support_filter_lz4},
  }};
  for (const auto& filter : kFilters) {
    if (filter.version() != nullptr) {
      filter.support(a);
    }
  }
}

// Opens a file, or bytes, so that `a` reads it.
using Opener = std::function<int(archive* a)>;

// What a packed file holds, read for the tar reader, which would unpack without asking whatever it passes over.
class Unpacker {
 public:
  explicit Unpacker(const Opener& open) {
    support_filters(a_.get());
    archive_read_support_format_raw(a_.get());
    archive_read_support_format_empty(a_.get());
    archive_entry* entry = nullptr;
    opened_ = open(a_.get()) == ARCHIVE_OK && archive_read_next_header(a_.get(), &entry) == ARCHIVE_OK;
  }

  bool opened() const {
    return opened_;
  }
  int times_packed() const {
    return archive_filter_count(a_.get()) - 1;
  }

  // For archive_read_open, with an Unpacker.
  static la_ssize_t next(archive*, void* of, const void** block) {
    auto& self = *static_cast<Unpacker*>(of);
    size_t size = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(self.a_.get(), block, &size, &offset);
    if (result == ARCHIVE_EOF) {
      return 0;
    }
    constexpr la_int64_t kMostTimes = 100, kAlways = 1 << 24;
    const bool bomb = offset - kAlways > kMostTimes * archive_filter_bytes(self.a_.get(), -1);
    if (bomb) {
      self.error_ = "it unpacks to more than 100 times its size";
    } else if (result != ARCHIVE_OK) {
      self.error_ = reason(self.a_.get());
    }
    return self.error_.empty() ? static_cast<la_ssize_t>(size) : -1;
  }

  // What has gone wrong: the tar reader only says that there is no more.
  const std::string& error() const {
    return error_;
  }

 private:
  Archive a_{archive_read_new(), &archive_read_free};
  bool opened_ = false;
  std::string error_;
};

} // namespace

std::vector<char> gunzip(std::string_view bytes, size_t limit, std::string_view name) {
  const Archive a(archive_read_new(), &archive_read_free);
  archive_read_support_filter_gzip(a.get());
  archive_read_support_format_raw(a.get());
  const auto check_ok = [&](int result) {
    check<FileError>(result == ARCHIVE_OK, "read_idx", "'{}' cannot be unpacked: {}", name, reason(a.get()));
  };
  archive_entry* entry = nullptr;
  check_ok(archive_read_open_memory(a.get(), bytes.data(), bytes.size()));
  check_ok(archive_read_next_header(a.get(), &entry));
  return read_all(a.get(), limit, check_ok).value();
}

struct TarReader::Impl {
  std::string name;
  std::unique_ptr<Unpacker> unpacker; // of a packed archive
  Archive a{archive_read_new(), &archive_read_free};

  Impl(std::string n, const Opener& open) : name(std::move(n)), unpacker(std::make_unique<Unpacker>(open)) {
    archive_read_support_format_tar(a.get());
    archive_read_support_format_empty(a.get());
    const int times = unpacker->opened() ? unpacker->times_packed() : 0;
    check<FileError>(times <= 1, "tar_dataset", "'{}' is packed {} times", name, times);
    if (times == 0) {
      unpacker.reset();
    }
    const auto opened =
        unpacker ? archive_read_open(a.get(), unpacker.get(), nullptr, &Unpacker::next, nullptr) : open(a.get());
    check_ok(opened);
  }

  void check_ok(int result) const {
    check<FileError>(
        result == ARCHIVE_OK || result == ARCHIVE_WARN,
        "tar_dataset",
        "'{}' cannot be read: {}",
        name,
        unpacker && !unpacker->error().empty() ? unpacker->error() : reason(a.get()));
  }
};

TarReader::TarReader(const fs::path& file) {
  constexpr size_t kBlock = size_t{1} << 18;
  std::error_code error;
  check<FileError>(fs::is_regular_file(file, error), "tar_dataset", "'{}' is not a regular file", file.string());
  impl_ = std::make_unique<Impl>(
      file.string(), [&](archive* a) { return archive_read_open_filename(a, file.c_str(), kBlock); });
}

TarReader::TarReader(std::string_view bytes, std::string name)
    : impl_(std::make_unique<Impl>(std::move(name), [&](archive* a) {
        return archive_read_open_memory(a, bytes.data(), bytes.size());
      })) {}

TarReader::~TarReader() = default;

std::optional<std::string> TarReader::next() {
  while (true) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(impl_->a.get(), &entry);
    if (result == ARCHIVE_EOF) {
      return std::nullopt;
    }
    impl_->check_ok(result);
    const char* path = archive_entry_pathname(entry);
    if (archive_entry_filetype(entry) == AE_IFREG && path != nullptr) {
      return path;
    }
  }
}

std::optional<std::vector<char>> TarReader::read(size_t limit) {
  auto bytes = read_all(impl_->a.get(), limit + 1, [this](int result) {
    impl_->check_ok(result == ARCHIVE_OK ? result : ARCHIVE_FAILED); // a warning comes without data
  });
  return bytes && bytes->size() <= limit ? std::move(bytes) : std::nullopt;
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
std::optional<std::vector<char>> TarReader::read(size_t) {
  without_libarchive();
}

#endif

} // namespace barlow
