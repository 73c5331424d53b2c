// SPDX-License-Identifier: Apache-2.0
// Views that are cropped where files are decoded, against pipelines on the decoded images; their bits, whatever the
// number of workers; what an epoch leaves behind.
#include <barlow/datasets.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <barlow/augment/presets.h>
#include <barlow/image.h>

#include "augment/crop_bytes.h"
#include "file.h"
#include "support/in_memory.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;
namespace fs = std::filesystem;

#if BARLOW_HAS_OPENCV

const fs::path kFiles = fs::path(BARLOW_TEST_ORACLES) / "images" / "files";

std::vector<char> photo() {
  return read_file(kFiles / "photo.jpg", "test");
}

std::vector<Pipeline> paper(int64_t size) {
  return get_barlow_twins_paper_aug_pipelines({.size = size});
}

// Mean difference, in levels of 256, of what the workers crop from what the pipelines do to the decoded images.
double difference_from_pipelines(const std::vector<Pipeline>& pipelines) {
  const auto set = image_files({kFiles / "photo.jpg", kFiles / "orientation_6.jpg", kFiles / "rgb.png"});
  const DataLoader whole(set, {.batch_size = 1, .num_workers = 0});
  const auto loader = whole.with_views(pipelines);
  auto images = whole.epoch(7), crops = loader.epoch(7);
  double most = 0;
  for (int i = 0; i < 3; ++i) {
    const auto image = images.next().value(), crop = crops.next().value();
    EXPECT_FALSE(crop.x.defined());
    EXPECT_EQ(crop.views.size(), pipelines.size());
    for (size_t v = 0; v < pipelines.size(); ++v) {
      EXPECT_EQ(pipelines[v].leading_crop(), 2U);
      const ViewKeys keys{.seed = 42, .epoch = 7, .view = static_cast<int64_t>(v), .index = image.index};
      const auto& all = pipelines[v].transforms();
      const auto expected = Pipeline({all[0], all[1]})(image.x, keys).clamp(0, 1);
      most = std::max(most, (crop.views[v] - 255 * expected).abs().mean().item<double>());
      const auto rest = pipelines[v](crop.views[v], keys, 2), full = pipelines[v](image.x, keys);
      EXPECT_LE((rest - full).abs().mean().item<double>(), 0.03); // of a standard deviation
    }
  }
  return most;
}

TEST(WithViews, IsThePipelinesBeginning) {
  // Rounding to bytes twice, and bicubic overshoot cut between the passes.
  EXPECT_LE(difference_from_pipelines(paper(40)), 0.6);
  EXPECT_LE(difference_from_pipelines(get_barlow_twins_aug_pipelines({.size = 40, .crop_same_on_batch = true})), 0.6);
  // Small crops of what is decoded at half its size.
  EXPECT_LE(difference_from_pipelines(paper(24)), 1.5);
}

TEST(WithViews, FloatsKeepTheirDepth) {
  TemporaryFolder folder;
  fs::copy_file(kFiles / "gray16.png", folder.path() / "a.png");
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 1, .channels = 1, .num_workers = 0});
  const auto pipelines = get_barlow_twins_aug_pipelines({.size = 16, .jitter = false, .stats = std::nullopt});
  const Pipeline head({pipelines[1].transforms()[0], pipelines[1].transforms()[1]});
  for (int64_t epoch = 0; epoch < 8; ++epoch) { // mirrored in some
    const auto views = dls.train.with_views(pipelines).epoch(epoch).next()->views;
    const auto image = dls.train.epoch(epoch).next()->x;
    EXPECT_TRUE(views[1].equal(head(image, {.seed = 42, .epoch = epoch, .view = 1, .index = {0}}))) << epoch;
  }
}

// Crops of less than four times their size, of files of 427 rows, are cut from what is decoded at its full size.
TEST(WithViews, IsNotOfAReducedImageUnlessTwiceAsLargeIsLeft) {
  const auto file = read_file(kFiles / "large.jpg", "test");
  const auto whole = decode_image({file.data(), file.size()}, {}, "large.jpg");
  const auto crop = std::make_shared<RandomResizedCrop>(107, CropOptions{.scale = {0.6, 1}});
  const DataLoader loader(image_files({kFiles / "large.jpg"}), {.batch_size = 1, .num_workers = 0});
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    KeyedRandom random(loader.options().seed, epoch, 0, 0, 0);
    const auto box = crop->draw(random, whole.size(1), whole.size(2));
    const auto expected = crop_bytes(whole, {box[0], box[2]}, {box[1], box[3]}, 107, {}, /*mirrored=*/false);
    EXPECT_TRUE(loader.with_views({Pipeline({crop})}).epoch(epoch).next()->views[0][0].equal(expected));
  }
}

uint64_t hash_of(const Tensor& x, uint64_t hash) {
  const auto bytes = x.contiguous();
  const auto* p = static_cast<const uint8_t*>(bytes.data_ptr());
  for (size_t i = 0; i < bytes.nbytes(); ++i) {
    hash = (hash ^ p[i]) * 1099511628211ULL; // FNV-1a
  }
  return hash;
}

// The first 50 batches, whatever the number of workers, and when resumed at batch 25; broken files among them.
TEST(WithViews, BatchesDoNotDependOnWorkersOrResuming) {
  TemporaryFolder folder;
  const auto jpeg = photo();
  for (int i = 0; i < 100; ++i) {
    const auto size = i % 17 == 5 ? jpeg.size() / 2 : jpeg.size();
    write_bytes(folder.path() / fmt::format("{:02}.jpg", i), {jpeg.data(), size});
  }
  for (const auto policy : {OnBad::Skip, OnBad::Replace}) {
    const auto hashes = [&](int64_t workers, int64_t first) {
      const auto dls = DataLoaders::from_folder(
          folder.path(), {.batch_size = 2, .seed = 5, .num_workers = workers, .on_bad = policy});
      auto stream = dls.train.with_views(paper(24)).epoch(1, first);
      std::vector<uint64_t> all;
      while (const auto batch = stream.next()) {
        uint64_t hash = hash_of(torch::tensor(batch->index), 14695981039346656037ULL);
        for (size_t v = 0; v < 2; ++v) {
          hash = hash_of(batch->views[v], hash);
          const ViewKeys keys{batch->seed, batch->epoch, static_cast<int64_t>(v), batch->index};
          hash = hash_of(paper(24)[v](batch->views[v], keys, 2), hash);
        }
        all.push_back(hash);
      }
      return all;
    };
    const auto expected = hashes(0, 0);
    EXPECT_EQ(expected.size(), 50U);
    for (const int64_t workers : {1, 2, 8}) {
      EXPECT_EQ(hashes(workers, 0), expected) << workers;
      EXPECT_EQ(hashes(workers, 25), (std::vector<uint64_t>(expected.begin() + 25, expected.end()))) << workers;
    }
  }
}

int64_t resident_kilobytes() {
  std::ifstream in("/proc/self/statm");
  int64_t pages = 0;
  in >> pages >> pages;
  return pages * ::sysconf(_SC_PAGESIZE) / 1024;
}

int64_t threads_of_this_process() {
  return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
}

// Epochs left at a random moment: no thread stays, and no memory.
TEST(WithViews, CancelsLeaveNothingBehind) {
  TemporaryFolder folder;
  const auto jpeg = photo();
  for (int i = 0; i < 12; ++i) {
    write_bytes(folder.path() / fmt::format("{:02}.jpg", i), {jpeg.data(), i == 3 ? jpeg.size() / 2 : jpeg.size()});
  }
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 4, .num_workers = 3});
  const auto loader = dls.train.with_views(paper(32));
  const auto run = [&](int64_t first, int64_t last) {
    for (int64_t epoch = first; epoch < last; ++epoch) {
      KeyedRandom random(9, epoch, 0, 0, 0);
      auto stream = loader.epoch(epoch);
      for (int64_t k = random.below(4); k > 0; --k) {
        stream.next();
      }
      if (random.bernoulli(0.5)) {
        std::this_thread::sleep_for(std::chrono::microseconds(random.below(3000)));
      }
    }
  };
  const auto before = threads_of_this_process();
  run(0, 300);
  const auto warm = resident_kilobytes();
  run(300, 1000);
  EXPECT_LE(static_cast<double>(resident_kilobytes()), 1.02 * static_cast<double>(warm));
  EXPECT_EQ(threads_of_this_process(), before);
}

#endif

} // namespace
} // namespace barlow
