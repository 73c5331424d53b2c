// SPDX-License-Identifier: Apache-2.0
// Event files, read back record by record; the checksum by the polynomial's definition. TensorBoard itself reads one in
// tests/interop.
#include <barlow/callbacks/tensor_board.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <protozero/pbf_reader.hpp>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/datasets.h>

#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

uint32_t crc32c(std::string_view bytes) { // bit by bit
  constexpr uint32_t kPolynomial = 0x82f63b78;
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
  }
  return ~crc;
}

uint32_t masked(std::string_view bytes) {
  const auto crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

template <class T>
T number(const std::string& bytes, size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

struct Events {
  std::map<std::string, std::vector<std::pair<int64_t, float>>> scalars;
  std::vector<std::string> pictures;
  std::vector<int64_t> restarts;
  std::string version;
};

Events read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  Events events;
  for (size_t at = 0; at < bytes.size();) {
    const auto length = number<uint64_t>(bytes, at);
    EXPECT_EQ(number<uint32_t>(bytes, at + 8), masked({bytes.data() + at, 8}));
    const std::string_view event(bytes.data() + at + 12, length);
    EXPECT_EQ(number<uint32_t>(bytes, at + 12 + length), masked(event));
    at += length + 16;
    int64_t step = 0;
    for (protozero::pbf_reader fields(event.data(), event.size()); fields.next();) {
      if (fields.tag() == 2) {
        step = fields.get_int64();
      } else if (fields.tag() == 3) {
        events.version = fields.get_string();
      } else if (fields.tag() == 7) {
        events.restarts.push_back(step);
        fields.skip();
      } else if (fields.tag() == 5) {
        auto summary = fields.get_message();
        EXPECT_TRUE(summary.next(1));
        std::string tag;
        for (auto value = summary.get_message(); value.next();) {
          if (value.tag() == 1) {
            tag = value.get_string();
          } else if (value.tag() == 2) {
            events.scalars[tag].emplace_back(step, value.get_float());
          } else {
            events.pictures.push_back(tag);
            value.skip();
          }
        }
      } else {
        fields.skip();
      }
    }
  }
  return events;
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind("events.out.tfevents.", 0) == 0) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct TensorBoards : ::testing::Test {
  void SetUp() override {
#ifndef BARLOW_HAS_ISAL
    GTEST_SKIP() << "built without ISA-L";
#endif
  }
  TemporaryFolder folder;
};

TEST_F(TensorBoards, TheReferenceKnowsTheCheckValue) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283);
}

TEST_F(TensorBoards, HoldsLossesRatesAndViews) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  const DataLoader images(
      tensor_dataset(torch::rand({9, 1, 4, 4}), torch::arange(9) % 2), {.batch_size = 4, .num_workers = 0});
  learn.add(TensorBoard({.folder = folder.path(), .views = 2, .embed = images}));
  learn.fit(2);
  const auto files = event_files(folder.path());
  ASSERT_EQ(files.size(), 1U);
  const auto events = read(files[0]);
  EXPECT_EQ(events.version, "brain.Event:2");
  EXPECT_THAT(events.pictures, ElementsAre("views"));
  const auto& losses = events.scalars.at("train/loss");
  ASSERT_EQ(losses.size(), learn.recorder.raw_losses.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    EXPECT_FLOAT_EQ(losses[i].second, static_cast<float>(learn.recorder.raw_losses[i]));
    EXPECT_EQ(losses[i].first, losses[0].first + static_cast<int64_t>(i));
  }
  EXPECT_EQ(events.scalars.at("train/on_diagonal").size(), losses.size());
  EXPECT_EQ(events.scalars.at("epoch/valid_loss").size(), 2U);

  std::ifstream features(folder.path() / "features.tsv"), labels(folder.path() / "labels.tsv");
  std::string line;
  int64_t rows = 0;
  for (; std::getline(features, line); ++rows) {
    EXPECT_EQ(std::count(line.begin(), line.end(), '\t'), 5);
    std::getline(labels, line);
    EXPECT_EQ(line, std::to_string(rows % 2));
  }
  EXPECT_EQ(rows, 9);
  EXPECT_TRUE(fs::exists(folder.path() / "thumbnails.png"));
}

TEST_F(TensorBoards, AResumedFitReplacesWhatCameAfterItsCheckpoint) {
  const auto checkpoint = folder.path() / "run.safetensors";
  const auto run = [&](const char* name, bool save) {
    Learner learn(small_data(), small_model(), quiet());
    learn.add(BarlowTwins(small_pipelines()));
    learn.add(TensorBoard({.folder = folder.path() / name, .views = 0}));
    struct Save : Callback {
      fs::path file;
      std::string name() const override {
        return "Save";
      }
      int order() const override {
        return 80;
      }
      void after_epoch(Learner& of) override {
        if (!file.empty() && of.epoch == 0) {
          of.save(file);
        }
      }
    };
    auto& saver = learn.add(Save());
    if (save) {
      saver.file = checkpoint;
    } else {
      learn.resume(checkpoint);
    }
    learn.fit(2);
  };
  run("first", true);
  run("second", false);
  const auto whole = read(event_files(folder.path() / "first")[0]);
  const auto rest = read(event_files(folder.path() / "second")[0]);
  const auto& losses = whole.scalars.at("train/loss");
  ASSERT_EQ(losses.size(), 6U);
  EXPECT_THAT(rest.restarts, ElementsAre(losses[3].first));
  EXPECT_THAT(
      rest.scalars.at("train/loss"), ::testing::ElementsAreArray(std::vector(losses.begin() + 3, losses.end())));
}

TEST_F(TensorBoards, AFullDiskDoesNotEndTheRun) {
  struct SmallFiles {
    rlimit old{};
    void (*handler)(int) = std::signal(SIGXFSZ, SIG_IGN);
    SmallFiles() {
      ::getrlimit(RLIMIT_FSIZE, &old);
      const rlimit small{.rlim_cur = 2000, .rlim_max = RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &small);
    }
    ~SmallFiles() {
      ::setrlimit(RLIMIT_FSIZE, &old);
      std::signal(SIGXFSZ, handler);
    }
  };
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(TensorBoard({.folder = folder.path(), .views = 0}));
  ::testing::internal::CaptureStderr();
  {
    const SmallFiles limit;
    learn.fit(20);
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("cannot be written: File too large"));
  const auto events = read(event_files(folder.path()).at(0)); // whole records
  EXPECT_EQ(events.version, "brain.Event:2");
  EXPECT_FALSE(events.scalars.empty());
}

TEST_F(TensorBoards, BadInput) {
  EXPECT_THAT(error_of([] { TensorBoard({.views = -1}); }), HasSubstr("views must not be negative"));
  std::ofstream(folder.path() / "file") << "no folder";
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(TensorBoard({.folder = folder.path() / "file"}));
  EXPECT_THAT(error_of([&] { learn.fit(1); }), HasSubstr("cannot be written; give a folder that can"));
  EXPECT_TRUE(learn.recorder.losses.empty());
}

} // namespace
} // namespace barlow
