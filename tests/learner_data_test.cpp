// SPDX-License-Identifier: Apache-2.0
// A fit on image files of several sizes, one of them broken; what it says of its data.
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <barlow/augment/presets.h>
#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/json_log.h>
#include <barlow/image.h>
#include <barlow/learner.h>

#include "callbacks/data_summary.h"
#include "support/in_memory.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(DataSummary, SaysWhatLimitsTheRunAndWhatToChange) {
  EXPECT_EQ(
      data_summary(0.5, 10, {}, 2, 2),
      "data: 5% of the training time was waiting for batches; the model limits the run");
  const LoaderTimes decoding{.read = 1, .decode = 6, .crop = 3};
  EXPECT_THAT(
      data_summary(6, 10, decoding, 2, 8),
      HasSubstr(
          "60% of the training time was waiting for batches; the loader limits the run (2 workers: 10% reading, 60% "
          "decoding, 30% cropping): set num_workers to 8"));
  EXPECT_THAT(data_summary(6, 10, decoding, 8, 8), HasSubstr("store the images once as JPEG"));
  EXPECT_THAT(data_summary(6, 10, {.read = 9, .decode = 1, .crop = 1}, 8, 8), HasSubstr("the storage is slow"));
  EXPECT_THAT(data_summary(6, 10, {.read = 1, .decode = 1, .crop = 9}, 8, 8), HasSubstr("smaller or fewer views"));
}

#if BARLOW_HAS_OPENCV

// Twelve files of several sizes, the last one broken.
DataLoaders files(const TemporaryFolder& folder) {
  for (int i = 0; i < 12; ++i) {
    const auto image = (torch::rand({1, 40 + i, 50 - i}) * 255).to(torch::kByte);
    write_png(folder.path() / fmt::format("{:02}.png", i), image);
  }
  std::ofstream(folder.path() / "11.png") << "broken";
  return DataLoaders::from_folder(
      folder.path(),
      {.batch_size = 4, .channels = 1, .num_workers = 2, .max_bad = 0.3},
      RandomSplitter{.valid_pct = 0.34, .seed = 1});
}

BarlowTwinsModel model() {
  torch::manual_seed(0);
  return create_barlow_twins_model(create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 8, .projection_size = 8});
}

std::vector<Pipeline> pipelines() {
  return get_barlow_twins_aug_pipelines({.size = 32, .jitter = false, .bw = false, .stats = std::nullopt});
}

TEST(FitOnFiles, CropsInTheWorkersAndSaysWhatWasWrong) {
  TemporaryFolder folder;
  Learner learn(files(folder), model(), {.device = torch::kCPU});
  auto& barlow_twins = learn.add(BarlowTwins(pipelines()));
  learn.add(JsonLog(folder.path() / "log.jsonl"));
  ::testing::internal::CaptureStdout();
  learn.fit(2);
  EXPECT_THAT(
      ::testing::internal::GetCapturedStdout(),
      AllOf(
          HasSubstr("of the training time was waiting for batches"),
          HasSubstr("1 of 12 samples could not be used:\n"),
          HasSubstr("11.png: [read_image]")));
  EXPECT_EQ(learn.recorder.raw_losses.size(), 4U);
  EXPECT_TRUE(learn.recorder.values[1].valid_loss.has_value());
  EXPECT_GE(*learn.recorder.values[1].data_wait, 0);
  EXPECT_LE(*learn.recorder.values[1].data_wait, 1);
  EXPECT_EQ(barlow_twins.show(3, "").size(0), 1);

  std::ifstream in(folder.path() / "log.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(lines.size(), 7U); // two steps and an epoch, twice, and the broken file
  EXPECT_TRUE(lines[2].contains("data_wait"));
  EXPECT_THAT(lines[6]["bad_sample"].get<std::string>(), HasSubstr("11.png"));

  // After the fit the loaders give whole images again, which are of unlike sizes.
  EXPECT_FALSE(learn.dls.train.options().resize > 0);
  EXPECT_THROW(learn.dls.train.epoch(0).next(), Error);
}

TEST(FitOnFiles, RepeatsToTheBitWithAnyWorkers) {
  TemporaryFolder folder;
  const auto dls = files(folder);
  const auto losses = [&](int64_t workers) {
    auto options = dls.train.options();
    options.num_workers = workers;
    const auto split = RandomSplitter{.valid_pct = 0.34, .seed = 1};
    Learner learn(
        DataLoaders::from_folder(folder.path(), options, split), model(), {.device = torch::kCPU, .progress = false});
    learn.add(BarlowTwins(pipelines()));
    learn.fit(2);
    return learn.recorder.raw_losses;
  };
  EXPECT_EQ(losses(0), losses(3));
}

#endif

} // namespace
} // namespace barlow
