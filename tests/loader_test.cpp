// SPDX-License-Identifier: Apache-2.0
// What a loader does with streams that end early, bad samples and missing labels; which files are for what. By hand and
// by properties.
#include <barlow/data.h>

#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/error.h>
#include <barlow/image.h>

#include "support/in_memory.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
namespace fs = std::filesystem;

// Says that it has a hundred samples and gives eight.
class Eight : public StreamDataset {
 public:
  int64_t size() const override {
    return 100;
  }
  std::unique_ptr<SampleStream> stream(uint64_t, int64_t, bool) const override {
    struct Stream : SampleStream {
      std::optional<Item> next() override {
        return at == 8 ? std::nullopt : std::optional<Item>({.index = at++, .sample = {torch::zeros({1, 1, 1})}});
      }
      int64_t at = 0;
    };
    return std::make_unique<Stream>();
  }
};

TEST(DataLoader, DropsTheLastBatchOfAStreamThatEndsEarly) {
  for (const int64_t workers : {0, 2}) {
    const auto sizes = [&](bool drop_last) {
      const DataLoader loader(
          std::make_shared<Eight>(), {.batch_size = 3, .drop_last = drop_last, .num_workers = workers});
      std::vector<int64_t> all;
      auto stream = loader.epoch(0);
      while (const auto batch = stream.next()) {
        all.push_back(batch->size());
      }
      return all;
    };
    EXPECT_THAT(sizes(false), ElementsAre(3, 3, 2)) << workers;
    EXPECT_THAT(sizes(true), ElementsAre(3, 3)) << workers;
  }
}

// Samples 0, 10, 20, ... cannot be had; the odd ones have their number as label.
class Partly : public Dataset {
 public:
  int64_t size() const override {
    return 100;
  }
  Sample get(int64_t index) const override {
    check(index % 10 != 0);
    return {torch::zeros({1, 1, 1}), index % 2 == 1 ? index : -1};
  }

 private:
  static void check(bool good) {
    if (!good) {
      throw Error("[Partly] no such sample");
    }
  }
};

TEST(DataLoader, EachBadSampleIsReplacedByItsOwnDraw) {
  const DataLoader loader(std::make_shared<Partly>(), {.batch_size = 100, .num_workers = 0, .on_bad = OnBad::Replace});
  const auto index = loader.epoch(0).next()->index;
  std::set<int64_t> replacements;
  for (size_t i = 0; i < 100; i += 10) {
    replacements.insert(index[i]);
  }
  EXPECT_GE(replacements.size(), 7U); // of ten draws of a hundred
}

TEST(DataLoader, OneLabelledSampleMakesABatchLabelled) {
  const auto part = std::make_shared<Partly>();
  const DataLoader loader(part, {.batch_size = 10, .num_workers = 0, .max_bad = 1});
  const auto batch = loader.epoch(0).next().value(); // 1 to 9
  ASSERT_TRUE(batch.y.defined());
  EXPECT_TRUE(batch.y.equal(torch::tensor({1, -1, 3, -1, 5, -1, 7, -1, 9})));
  const DataLoader few(part, {.batch_size = 9, .num_workers = 0, .max_bad = 1});
  const auto others = few.epoch(0).next().value(); // 1 to 8: the last has none
  ASSERT_TRUE(others.y.defined());
  EXPECT_TRUE(others.y.equal(torch::tensor({1, -1, 3, -1, 5, -1, 7, -1})));
}

#if BARLOW_HAS_OPENCV

// Image i is of one grey, i.
void write_grey(const fs::path& file, int grey) {
  fs::create_directories(file.parent_path());
  write_png(file, torch::full({1, 4, 4}, grey, torch::kByte));
}

std::vector<int64_t> greys_of(const DataLoader& loader, int64_t epoch = 0) {
  std::vector<int64_t> greys;
  auto stream = loader.epoch(epoch);
  while (const auto batch = stream.next()) {
    for (int64_t i = 0; i < batch->size(); ++i) {
      greys.push_back(batch->x[i][0][0][0].item<int64_t>());
    }
  }
  return greys;
}

TEST(FromFolder, SplitsAndOrdersAreWhatTheirSeedsSay) {
  TemporaryFolder folder;
  for (int i = 0; i < 40; ++i) {
    write_grey(folder.path() / fmt::format("{:02}.png", i), i);
  }
  const auto split = [&](uint64_t seed) {
    return DataLoaders::from_folder(
        folder.path(), {.batch_size = 5, .channels = 1}, RandomSplitter{.valid_pct = 0.25, .seed = seed});
  };
  const auto dls = split(1);
  const auto valid = greys_of(*dls.valid), train = greys_of(dls.train);
  EXPECT_EQ(valid.size(), 10U);
  EXPECT_EQ(greys_of(*split(1).valid), valid);
  EXPECT_NE(greys_of(*split(2).valid), valid);
  std::set<int64_t> all(valid.begin(), valid.end());
  all.insert(train.begin(), train.end());
  EXPECT_EQ(all.size(), 40U);

  EXPECT_TRUE(std::is_sorted(valid.begin(), valid.end()));
  EXPECT_FALSE(std::is_sorted(train.begin(), train.end()));
  EXPECT_NE(greys_of(dls.train, 1), train);
}

TEST(FromFolder, ClassesAreThoseOfBothSets) { // by hand
  TemporaryFolder folder;
  write_grey(folder.path() / "train" / "cat" / "a.png", 0);
  write_grey(folder.path() / "train" / "owl" / "b.png", 1);
  write_grey(folder.path() / "valid" / "dog" / "c.png", 2);
  write_grey(folder.path() / "valid" / "owl" / "d.png", 3);
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 2, .channels = 1});
  EXPECT_THAT(dls.classes, ElementsAre("cat", "dog", "owl"));
  EXPECT_TRUE(dls.valid->epoch(0).next()->y.equal(torch::tensor({1, 2})));
}

#endif

} // namespace
} // namespace barlow
