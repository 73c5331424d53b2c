// SPDX-License-Identifier: Apache-2.0
// The bundled digits, folders made for the purpose, and loaders over tensors.
#include <barlow/data.h>

#include <fstream>
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

Tensor gradient(int64_t channels, int64_t height, int64_t width) {
  return (torch::arange(channels * height * width) % 251).to(torch::kByte).view({channels, height, width});
}

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

TEST(DataLoader, CanBeLeftInTheMiddle) {
  const auto loader = tensor_loader(torch::rand({100, 1, 8, 8}), {.batch_size = 2, .num_workers = 4});
  for (int i = 0; i < 50; ++i) {
    auto stream = loader.epoch(i);
    for (int k = 0; k < i % 5; ++k) {
      stream.next();
    }
  }
}

class Failing : public Dataset {
 public:
  int64_t size() const override {
    return 6;
  }
  Sample get(int64_t index) const override {
    if (index == 3) {
      throw Error("[Failing] sample 3");
    }
    return {torch::zeros({1, 1, 1})};
  }
};

TEST(DataLoader, AWorkersErrorComesWithItsBatch) {
  for (const int64_t workers : {0, 2}) {
    const DataLoader loader(std::make_shared<Failing>(), {.batch_size = 2, .num_workers = workers});
    auto stream = loader.epoch(0);
    EXPECT_TRUE(stream.next().has_value());
    EXPECT_EQ(error_of([&] { stream.next(); }), "[Failing] sample 3");
  }
}

TEST(DataLoader, BadOptionsAreNamed) {
  const auto images = torch::rand({3, 1, 1, 1});
  EXPECT_THAT(error_of([&] { tensor_loader(images, {.batch_size = 0}); }), HasSubstr("batch_size"));
  EXPECT_THAT(
      error_of([&] { tensor_loader(images, {.batch_size = 4, .drop_last = true}); }),
      HasSubstr("larger than the set of 3"));
  EXPECT_THAT(error_of([&] { tensor_loader(images.narrow(0, 0, 0), {}); }), HasSubstr("must not be empty"));
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
  const auto message = [&](const FolderOptions& options = {}) {
    return error_of([&] { DataLoaders::from_folder(folder.path(), options); });
  };
  const auto path = folder.path().string();
  EXPECT_THAT(
      error_of([&] { DataLoaders::from_folder(folder.path() / "no"); }), HasSubstr(path + "/no' is not a folder"));
  EXPECT_THAT(message(), HasSubstr("has no images; expected images right in it"));
  fs::create_directories(folder.path() / "train" / "a");
  EXPECT_THAT(message(), HasSubstr("has train/ but no valid/; add it, or set .valid = \"\""));
  EXPECT_THAT(message({.valid = ""}), HasSubstr("train' has no images"));
  write_png(folder.path() / "train" / "a" / "1.png", gradient(1, 4, 4));
  EXPECT_THAT(message({.batch_size = 2, .valid = ""}), HasSubstr("batch_size 2 is larger than the 1 training images"));
  EXPECT_THAT(message({.channels = 2}), HasSubstr("channels must be 1 or 3"));
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

TEST(ReadImage, GivesBackAPngsPixels) {
  TemporaryFolder folder;
  for (const int64_t channels : {1, 3}) {
    const auto image = gradient(channels, 7, 9);
    write_png(folder.path() / "x.png", image);
    EXPECT_TRUE(read_image(folder.path() / "x.png", channels).equal(image));
  }
}

TEST(ReadImage, BrokenFilesAreNamed) {
  TemporaryFolder folder;
  const auto file = folder.path() / "x.png";
  const auto message = [&](int64_t channels = 3) { return error_of([&] { read_image(file, channels); }); };
  EXPECT_THAT(message(), HasSubstr("does not exist"));
  std::ofstream(file).flush();
  EXPECT_THAT(message(), HasSubstr("is empty"));
  std::ofstream(file) << "no image";
  EXPECT_THAT(message(), HasSubstr("cannot be decoded"));
  write_png(file, gradient(3, 64, 64));
  fs::resize_file(file, fs::file_size(file) / 2);
  EXPECT_THAT(message(), HasSubstr("x.png' cannot be decoded"));
  EXPECT_THAT(message(2), HasSubstr("channels must be 1 or 3"));
}

TEST(ResizeToSquare, KeepsTheCentreAndConstantImages) {
  const auto flat = torch::full({3, 40, 20}, 77, torch::kByte);
  EXPECT_TRUE(resize_to_square(flat, 8).equal(torch::full({3, 8, 8}, 77, torch::kByte)));
  auto striped = torch::zeros({1, 6, 2}, torch::kByte);
  striped.narrow(1, 2, 2).fill_(200);
  EXPECT_TRUE(resize_to_square(striped, 2).equal(torch::full({1, 2, 2}, 200, torch::kByte)));
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
