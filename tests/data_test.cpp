// SPDX-License-Identifier: Apache-2.0
// The bundled digits, folders made for the purpose, and loaders over tensors.
#include <barlow/data.h>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/error.h>
#include <barlow/image.h>
#include <barlow/picture.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

const fs::path kDigits = fs::path(BARLOW_EXAMPLE_DATA) / "mnist_tiny";

TEST(DataLoader, GivesEveryIndexOnceAnEpoch) {
  const auto images = torch::rand({10, 1, 2, 2});
  const auto loader = tensor_loader(images, {.batch_size = 4, .shuffle = true});
  EXPECT_EQ(loader.batches(), 3);
  std::set<int64_t> seen;
  auto stream = loader.epoch(5);
  std::vector<int64_t> sizes;
  while (auto batch = stream.next()) {
    sizes.push_back(batch->size());
    EXPECT_EQ(batch->epoch, 5);
    EXPECT_FALSE(batch->y.defined());
    for (int64_t i = 0; i < batch->size(); ++i) {
      const auto index = batch->index[static_cast<size_t>(i)];
      EXPECT_TRUE(seen.insert(index).second);
      EXPECT_TRUE(batch->x[i].equal(images[index]));
    }
  }
  EXPECT_THAT(sizes, ::testing::ElementsAre(4, 4, 2));
  EXPECT_EQ(seen.size(), 10U);
  EXPECT_FALSE(stream.next().has_value());
}

TEST(DataLoader, OrderIsAFunctionOfSeedAndEpoch) {
  const auto images = torch::rand({50, 1, 1, 1});
  const auto order = [&](int64_t workers, int64_t epoch, uint64_t seed) {
    const auto loader = tensor_loader(
        images, {.batch_size = 3, .shuffle = true, .drop_last = true, .seed = seed, .num_workers = workers});
    std::vector<int64_t> indices;
    auto stream = loader.epoch(epoch);
    while (auto batch = stream.next()) {
      indices.insert(indices.end(), batch->index.begin(), batch->index.end());
    }
    return indices;
  };
  const auto expected = order(0, 0, 1);
  EXPECT_EQ(expected.size(), 48U);
  for (const int64_t workers : {1, 2, 8}) {
    EXPECT_EQ(order(workers, 0, 1), expected);
  }
  EXPECT_NE(order(0, 1, 1), expected);
  EXPECT_NE(order(0, 0, 2), expected);
}

TEST(DataLoader, InOrderGivesEverySampleOfATrainingSet) {
  const auto images = torch::arange(10, torch::kFloat).div(10).reshape({10, 1, 1, 1});
  const auto training = tensor_loader(images, {.batch_size = 4, .shuffle = true, .drop_last = true});
  std::vector<int64_t> index;
  auto stream = training.in_order().epoch(3);
  while (auto batch = stream.next()) {
    index.insert(index.end(), batch->index.begin(), batch->index.end());
  }
  EXPECT_THAT(index, ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(training.batches(), 2);
}

TEST(DataLoader, CanBeLeftInTheMiddle) {
  const auto loader = tensor_loader(torch::rand({100, 1, 8, 8}), {.batch_size = 2, .num_workers = 4});
  for (int i = 0; i < 50; ++i) {
    auto stream = loader.epoch(i);
    for (int k = 0; k < i % 5; ++k) {
      stream.next();
    }
  }
}

// Samples 3, 13, 23, ... cannot be had.
class Failing : public Dataset {
 public:
  explicit Failing(int64_t size) : size_(size) {}
  int64_t size() const override {
    return size_;
  }
  Sample get(int64_t index) const override {
    if (index % 10 == 3) {
      throw Error(fmt::format("[Failing] sample {}", index));
    }
    return {torch::full({1, 1, 1}, static_cast<double>(index))};
  }

 private:
  int64_t size_;
};

TEST(DataLoader, StoppingAtABadSampleThrowsWithItsBatch) {
  for (const int64_t workers : {0, 2}) {
    const DataLoader loader(
        std::make_shared<Failing>(6), {.batch_size = 2, .num_workers = workers, .on_bad = OnBad::Stop});
    auto stream = loader.epoch(0);
    EXPECT_TRUE(stream.next().has_value());
    EXPECT_EQ(error_of([&] { stream.next(); }), "[Failing] sample 3");
    EXPECT_TRUE(stream.next().has_value());
    EXPECT_FALSE(stream.next().has_value());
  }
}

TEST(DataLoader, BadSamplesAreSkippedAndCounted) {
  for (const int64_t workers : {0, 1, 3}) {
    const DataLoader loader(std::make_shared<Failing>(40), {.batch_size = 2, .num_workers = workers});
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      auto stream = loader.epoch(epoch);
      int64_t samples = 0;
      while (const auto batch = stream.next()) {
        samples += batch->size();
        for (int64_t i = 0; i < batch->size(); ++i) {
          EXPECT_EQ(batch->x[i].item<int64_t>(), batch->index[static_cast<size_t>(i)]);
        }
      }
      EXPECT_EQ(samples, 36);
    }
    const auto bad = loader.bad_samples();
    ASSERT_EQ(bad.size(), 4U);
    EXPECT_EQ(bad[1].index, 13);
    EXPECT_EQ(bad[1].name, "sample 13");
    EXPECT_EQ(bad[1].reason, "[Failing] sample 13");
    EXPECT_EQ(loader.times().samples, 72);
  }
}

TEST(DataLoader, ABatchOfBadSamplesIsLeftOut) {
  const DataLoader loader(std::make_shared<Failing>(10), {.batch_size = 1, .num_workers = 2});
  auto stream = loader.epoch(0);
  int64_t batches = 0;
  while (stream.next()) {
    ++batches;
  }
  EXPECT_EQ(batches, 9);
}

TEST(DataLoader, BadSamplesAreReplacedByTheirKey) {
  std::vector<std::vector<int64_t>> seen;
  for (const int64_t workers : {0, 1, 4}) {
    const DataLoader loader(
        std::make_shared<Failing>(40), {.batch_size = 4, .num_workers = workers, .on_bad = OnBad::Replace});
    auto stream = loader.epoch(3);
    auto& indices = seen.emplace_back();
    while (const auto batch = stream.next()) {
      EXPECT_EQ(batch->size(), 4);
      indices.insert(indices.end(), batch->index.begin(), batch->index.end());
    }
    EXPECT_THAT(indices, ::testing::Each(::testing::Truly([](int64_t i) { return i % 10 != 3; })));
    EXPECT_EQ(loader.bad_samples().size(), 4U);
  }
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST(DataLoader, TooManyBadSamplesAreAnError) {
  for (const int64_t workers : {0, 2}) {
    const DataLoader loader(std::make_shared<Failing>(40), {.batch_size = 4, .num_workers = workers, .max_bad = 0.05});
    auto stream = loader.epoch(0);
    const auto message = error_of([&] {
      while (stream.next()) {
      }
    });
    EXPECT_THAT(
        message, HasSubstr("3 of 40 samples are bad, more than the share max_bad 0.05; the last one: sample 23"));
  }
}

// A sample that does not come back until it is told to.
class Hanging : public Dataset {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    int64_t waiting = 0, left = 0;
  };
  explicit Hanging(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  int64_t size() const override {
    return 20;
  }
  Sample get(int64_t index) const override {
    if (index == 5) {
      std::unique_lock lock(gate_->mutex);
      ++gate_->waiting;
      gate_->changed.wait(lock, [&] { return gate_->open; });
      ++gate_->left;
      gate_->changed.notify_all();
    }
    return {torch::zeros({1, 1, 1})};
  }

 private:
  std::shared_ptr<Gate> gate_;
};

TEST(DataLoader, ASampleThatHangsIsLeftBehind) {
  for (const auto policy : {OnBad::Skip, OnBad::Replace}) {
    const auto gate = std::make_shared<Hanging::Gate>();
    const DataLoader loader(
        std::make_shared<Hanging>(gate), {.batch_size = 10, .num_workers = 2, .on_bad = policy, .time_limit = 0.2});
    auto stream = loader.epoch(0);
    int64_t samples = 0;
    while (const auto batch = stream.next()) {
      samples += batch->size();
    }
    EXPECT_EQ(samples, policy == OnBad::Skip ? 19 : 20);
    EXPECT_THAT(loader.bad_samples()[0].reason, HasSubstr("took longer than the time limit of 0.2 s"));
    std::unique_lock lock(gate->mutex);
    gate->open = true;
    gate->changed.notify_all();
    gate->changed.wait(lock, [&] { return gate->left == gate->waiting; });
  }
}

TEST(DataLoader, AStreamCanBeDestroyedWhileASampleHangs) {
  const auto gate = std::make_shared<Hanging::Gate>();
  {
    const DataLoader loader(std::make_shared<Hanging>(gate), {.batch_size = 2, .num_workers = 4, .time_limit = 0.2});
    auto stream = loader.epoch(0);
    std::unique_lock lock(gate->mutex);
    gate->changed.wait_for(lock, std::chrono::seconds(5), [&] { return gate->waiting > 0; });
  }
  std::unique_lock lock(gate->mutex);
  gate->open = true;
  gate->changed.notify_all();
  gate->changed.wait(lock, [&] { return gate->left == gate->waiting; });
}

TEST(DataLoader, ResumesAtABatch) {
  const auto images = torch::rand({50, 1, 2, 2});
  for (const int64_t workers : {0, 3}) {
    const auto loader = tensor_loader(images, {.batch_size = 4, .shuffle = true, .num_workers = workers});
    auto whole = loader.epoch(2);
    for (int i = 0; i < 5; ++i) {
      whole.next();
    }
    const auto position = whole.position();
    EXPECT_EQ(position.epoch, 2);
    EXPECT_EQ(position.batch, 5);
    auto resumed = loader.epoch(position.epoch, position.batch);
    while (const auto expected = whole.next()) {
      const auto batch = resumed.next();
      ASSERT_TRUE(batch.has_value());
      EXPECT_EQ(batch->index, expected->index);
      EXPECT_TRUE(batch->x.equal(expected->x));
    }
    EXPECT_FALSE(resumed.next().has_value());
    EXPECT_FALSE(loader.epoch(0, loader.batches()).next().has_value());
    EXPECT_THAT(error_of([&] { loader.epoch(0, 14); }), HasSubstr("first_batch must be 0 to 13, received 14"));
  }
}

TEST(DataLoader, BytesAmongFloatsBecomeFloats) {
  class Mixed : public Dataset {
   public:
    int64_t size() const override {
      return 2;
    }
    Sample get(int64_t index) const override {
      return {index == 0 ? torch::full({1, 1, 1}, 255, torch::kByte) : torch::full({1, 1, 1}, 0.25F)};
    }
  };
  const auto batch = DataLoader(std::make_shared<Mixed>(), {.num_workers = 0}).epoch(0).next().value();
  EXPECT_TRUE(batch.x.flatten().equal(torch::tensor({1.F, 0.25F})));
}

TEST(DataLoader, BadOptionsAreNamed) {
  const auto images = torch::rand({3, 1, 1, 1});
  EXPECT_THAT(error_of([&] { tensor_loader(images, {.batch_size = 0}); }), HasSubstr("batch_size"));
  EXPECT_THAT(
      error_of([&] { tensor_loader(images, {.batch_size = 4, .drop_last = true}); }),
      HasSubstr("larger than the set of 3"));
  EXPECT_THAT(error_of([&] { tensor_loader(images.narrow(0, 0, 0), {}); }), HasSubstr("must not be empty"));
  EXPECT_THAT(error_of([&] { tensor_loader(images, {.num_workers = -2}); }), HasSubstr("num_workers"));
  EXPECT_THAT(error_of([&] { tensor_loader(images, {.max_bad = 1.5}); }), HasSubstr("max_bad"));
  EXPECT_THAT(error_of([&] { tensor_loader(images, {.time_limit = -1}); }), HasSubstr("time_limit"));
  EXPECT_THAT(
      error_of([&] { tensor_loader(images, {}).with_views({Pipeline({})}); }),
      HasSubstr("must begin with RandomResizedCrop"));
}

#if BARLOW_HAS_OPENCV

TEST(FromFolder, ReadsTheBundledDigits) {
  const auto dls = DataLoaders::from_folder(kDigits, {.batch_size = 5, .channels = 1});
  EXPECT_EQ(dls.train.samples(), 700);
  EXPECT_EQ(dls.valid->samples(), 300);
  EXPECT_EQ(dls.train.batches(), 140);
  EXPECT_EQ(dls.valid->batches(), 60);
  EXPECT_THAT(dls.classes, ::testing::ElementsAre("3", "7"));
  const auto batch = dls.train.epoch(0).next().value();
  EXPECT_EQ(batch.x.sizes().vec(), (std::vector<int64_t>{5, 1, 28, 28}));
  EXPECT_EQ(batch.x.scalar_type(), torch::kByte);
  EXPECT_EQ(batch.y.size(0), 5);
  EXPECT_NE(dls.train.options().seed, dls.valid->options().seed);
}

TEST(FromFolder, TakesAFlatFolderWithoutLabels) {
  TemporaryFolder folder;
  for (int i = 0; i < 3; ++i) {
    write_png(folder.path() / fmt::format("{} with spaces.PNG", i), gradient(3, 6, 5));
  }
  std::ofstream(folder.path() / "notes.txt") << "no image";
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 2});
  EXPECT_EQ(dls.train.samples(), 3);
  EXPECT_FALSE(dls.valid.has_value());
  EXPECT_TRUE(dls.classes.empty());
  EXPECT_FALSE(dls.train.epoch(0).next()->y.defined());
}

TEST(FromFolder, ConvertsChannelsAndSizes) {
  TemporaryFolder folder;
  write_png(folder.path() / "a.png", gradient(1, 20, 30));
  write_png(folder.path() / "b.png", gradient(3, 50, 10));
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 2, .resize = 8});
  EXPECT_EQ(dls.train.epoch(0).next()->x.sizes().vec(), (std::vector<int64_t>{2, 3, 8, 8}));
}

TEST(FromFolder, BadFoldersAreNamedWithTheRemedy) {
  TemporaryFolder folder;
  const auto message = [&](const LoaderOptions& options = {}, const Splitter& splitter = {}) {
    return error_of([&] { DataLoaders::from_folder(folder.path(), options, splitter); });
  };
  const GrandparentSplitter only_train{.valid = ""};
  const auto path = folder.path().string();
  EXPECT_THAT(
      error_of([&] { DataLoaders::from_folder(folder.path() / "no"); }), HasSubstr(path + "/no' is not a folder"));
  EXPECT_THAT(message(), HasSubstr("has no images; expected images anywhere in it"));
  fs::create_directories(folder.path() / "train" / "a");
  EXPECT_THAT(message(), HasSubstr("has train/ but no valid/; add it, or train without validation"));
  EXPECT_THAT(message({}, only_train), HasSubstr("train' has no images"));
  write_png(folder.path() / "train" / "a" / "1.png", gradient(1, 4, 4));
  EXPECT_THAT(message({.batch_size = 2}, only_train), HasSubstr("batch_size 2 is larger than the 1 training images"));
  EXPECT_THAT(message({.batch_size = 1, .channels = 0}, only_train), HasSubstr("channels must be at least 1"));
  fs::create_directories(folder.path() / "valid");
  EXPECT_THAT(message({.batch_size = 1}), HasSubstr("valid' has no images"));
}

TEST(FromFolder, MixedSizesWithoutAResizeNameBothFiles) {
  TemporaryFolder folder;
  write_png(folder.path() / "a.png", gradient(1, 20, 30));
  write_png(folder.path() / "b.png", gradient(1, 50, 10));
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 2, .channels = 1});
  const auto text = error_of([&] { dls.train.epoch(0).next(); });
  EXPECT_THAT(text, HasSubstr("a.png"));
  EXPECT_THAT(text, HasSubstr("b.png"));
  EXPECT_THAT(text, HasSubstr(".resize = 224"));
}

TEST(Picture, CurvesAreDrawn) {
  TemporaryFolder folder;
  plot_curves(folder.path() / "loss.png", {{"train", {3, 2, 1.5}}, {"valid", {2.5}, {2}}}, "step", "loss");
  const auto picture = read_image(folder.path() / "loss.png");
  EXPECT_EQ(picture.sizes().vec(), (std::vector<int64_t>{3, 480, 800}));
  const auto blue = (picture[0] == 31).logical_and(picture[1] == 119).logical_and(picture[2] == 180);
  EXPECT_GT(blue.sum().item<int64_t>(), 500); // a curve of 2 pixels across 700
  EXPECT_THAT(
      error_of([&] { plot_curves(folder.path() / "no.png", {{"train", {}}}, "step", "loss"); }),
      HasSubstr("no finite point"));
}

#endif

} // namespace
} // namespace barlow
