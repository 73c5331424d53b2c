// SPDX-License-Identifier: Apache-2.0
// What fuzzing found interesting, read again (regression): tests/fuzz/seeds, whole files, and tests/fuzz/corpus, a
// shard of each format.
#include <gtest/gtest.h>

#include "fuzz/readers.h"
#include "support/oracle.h"

namespace barlow {
namespace {

namespace fs = std::filesystem;
const fs::path kFuzz = BARLOW_TEST_FUZZ;

class Hostile : public ::testing::TestWithParam<std::string> {};

// Contents or an error of ours, nothing else.
void read(const std::string& format, std::string_view bytes, const std::string& name) {
  try {
    fuzz::readers().at(format)(bytes);
  } catch (const Error&) { // NOLINT(bugprone-empty-catch): the right answer to most
  } catch (const cli::UsageError&) { // NOLINT(bugprone-empty-catch): the same
  } catch (const std::exception& e) {
    ADD_FAILURE() << name << ": " << e.what();
  }
}

TEST_P(Hostile, SeedsAndWhatIsLeftOfThem) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(kFuzz / "seeds" / GetParam())) {
    const auto bytes = read_file(entry.path(), "test");
    const std::string_view all(bytes.data(), bytes.size());
    for (size_t part = 0; part <= 32; ++part) { // whole, cut off, or beginning late
      read(GetParam(), all.substr(0, all.size() * part / 32), entry.path());
      read(GetParam(), all.substr(all.size() * part / 32), entry.path());
    }
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST_P(Hostile, Corpus) {
  const auto shard = kFuzz / "corpus" / (GetParam() + ".tar.gz");
  if (!fs::exists(shard)) {
    GTEST_SKIP() << "nothing was kept";
  }
  const auto bytes = read_file(shard, "test");
  TarReader reader({bytes.data(), bytes.size()}, shard.string());
  int files = 0;
  while (const auto path = reader.next()) {
    constexpr size_t kMost = 1 << 20;
    const auto contents = reader.read(kMost).value();
    read(GetParam(), {contents.data(), contents.size()}, *path);
    ++files;
  }
  EXPECT_GT(files, 0);
}

std::vector<std::string> formats() {
  std::vector<std::string> all;
  for (const auto& [name, read] : fuzz::readers()) {
    all.push_back(name);
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Readers, Hostile, ::testing::ValuesIn(formats()), [](const auto& of) { return of.param; });

} // namespace
} // namespace barlow
