// SPDX-License-Identifier: Apache-2.0
// Where images come from: folders with everything that lies about in them, lists, IDX, CIFAR and tar files made for the
// purpose.
#include <barlow/datasets.h>

#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barlow/augment/random_transforms.h>
#include <barlow/error.h>
#include <barlow/image.h>

#include "data/archive.h"
#include "data/files.h"
#include "data/records.h"
#include "data/tar_samples.h"
#include "file.h"
#include "support/in_memory.h"
#include "support/oracle.h"
#include "threads.h"

#if BARLOW_HAS_ARCHIVE
#include <archive.h>
#include <archive_entry.h>
#endif

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kFiles = fs::path(BARLOW_TEST_ORACLES) / "images" / "files";

TEST(Threads, CountTheCoresOfTheProcess) {
  EXPECT_GE(available_cores(), 1);
  EXPECT_LE(available_cores(), static_cast<int64_t>(std::thread::hardware_concurrency()));
  std::thread worker([] {
    keep_to_this_thread();
    EXPECT_EQ(at::get_num_threads(), 1);
  });
  worker.join();
  EXPECT_EQ(at::get_num_threads(), torch::get_num_threads());
}

// --- lists

TEST(Sources, ListsAreInThePathsOrder) { // another reference: std::filesystem's own comparison
  std::vector<fs::path> paths;
  for (const auto* folder : {"", "a", "a/b", "a/b.png", "a-b", "a/b/c", "ab", "ab/r", "b/s"}) {
    for (const auto* name : {"b", "b.png", "a.png", "c", "-", "z.png", "aa"}) {
      paths.push_back(fs::path(folder) / name);
    }
  }
  PathList list;
  std::reverse(paths.begin(), paths.end());
  for (const auto& path : paths) {
    list.add(list.add_folder(path.parent_path().string()), path.filename().string());
  }
  list.sort();
  std::sort(paths.begin(), paths.end());
  for (size_t i = 0; i < paths.size(); ++i) {
    EXPECT_EQ(list[static_cast<int64_t>(i)], paths[i]);
  }
  const auto some = list.select({5, 2});
  EXPECT_EQ(some[0], paths[5]);
  EXPECT_EQ(some[1], paths[2]);
  EXPECT_EQ(some.folders()[some.folder(1)], paths[2].parent_path());
}

TEST(PathList, SplitsAtLinesOrZeroBytes) {
  EXPECT_THAT(parse_path_list("a.png\nb c.png\r\n\n\xc3\xa4.png"), ElementsAre("a.png", "b c.png", "\xc3\xa4.png"));
  EXPECT_THAT(parse_path_list(std::string_view("a\nb.png\0c.png\0", 14)), ElementsAre("a\nb.png", "c.png"));
  EXPECT_THAT(parse_path_list(""), ElementsAre());
}

// --- IDX and CIFAR

std::string idx(const std::vector<uint32_t>& sizes, const std::string& numbers, char type = 0x08) {
  std::string bytes{0, 0, type, static_cast<char>(sizes.size())};
  for (const auto size : sizes) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      bytes += static_cast<char>(size >> shift);
    }
  }
  return bytes + numbers;
}

TEST(Idx, ReadsNumbersOfAnyRank) {
  EXPECT_TRUE(parse_idx(idx({3}, "\x01\x02\xff"), "x").equal(torch::tensor({1, 2, 255}, torch::kByte)));
  EXPECT_EQ(parse_idx(idx({2, 1, 3}, "abcdef"), "x").sizes().vec(), (std::vector<int64_t>{2, 1, 3}));
  EXPECT_EQ(parse_idx(idx({0, 28, 28}, ""), "x").numel(), 0);
}

TEST(Idx, BrokenFilesAreNamed) {
  const auto message = [](const std::string& bytes) { return error_of([&] { parse_idx(bytes, "t.idx"); }); };
  EXPECT_THAT(message(""), HasSubstr("'t.idx' is no IDX file"));
  EXPECT_THAT(message("PNG and so on"), HasSubstr("'t.idx' is no IDX file"));
  EXPECT_THAT(message(idx({2, 2}, "abc")), HasSubstr("must hold 4 numbers after its header, received 3"));
  EXPECT_THAT(message(idx({2, 2}, "abcde")), HasSubstr("must hold 4 numbers after its header, received 5"));
  EXPECT_THAT(message(idx({2}, "abcdefgh", 0x0C)), HasSubstr("type 0x0c"));
  EXPECT_THAT(message(idx({0xffffffff, 0xffffffff, 0xffffffff}, "a")), HasSubstr("more numbers than can be counted"));
  EXPECT_THAT(message(idx({0, 0xffffffff, 0xffffffff, 2}, "")), HasSubstr("more numbers than can be counted"));
  EXPECT_THAT(message(idx({1, 1, 1}, "").substr(0, 9)), HasSubstr("is no IDX file"));
}

std::string cifar_record(std::initializer_list<int> labels, char pixel) {
  std::string record;
  for (const int label : labels) {
    record += static_cast<char>(label);
  }
  return record + std::string(size_t{3} * 32 * 32, pixel);
}

TEST(Cifar, ReadsRecords) {
  const auto ten = parse_cifar(cifar_record({7}, 'a') + cifar_record({0}, 'b'), Cifar::Ten, "x");
  EXPECT_EQ(ten.images.sizes().vec(), (std::vector<int64_t>{2, 3, 32, 32}));
  EXPECT_TRUE(ten.labels.equal(torch::tensor({7, 0}).view({2, 1})));
  EXPECT_TRUE(ten.images[1].eq('b').all().item<bool>());
  const auto hundred = parse_cifar(cifar_record({19, 99}, 'c'), Cifar::Hundred, "x");
  EXPECT_TRUE(hundred.labels.equal(torch::tensor({{19, 99}})));
  const auto message = [](const std::string& bytes) {
    return error_of([&] { parse_cifar(bytes, Cifar::Ten, "t.bin"); });
  };
  EXPECT_THAT(message(""), HasSubstr("'t.bin' must have a multiple of 3073 bytes, received 0"));
  EXPECT_THAT(message(cifar_record({1, 1}, 'c')), HasSubstr("received 3074"));
  EXPECT_THAT(message(cifar_record({10}, 'c')), HasSubstr("has a label 10 where 9 is the largest"));
}

TEST(FromCifar, TakesBothKinds) {
  TemporaryFolder folder;
  write_bytes(folder.path() / "data_batch_1.bin", cifar_record({7}, 'a') + cifar_record({0}, 'b'));
  write_bytes(folder.path() / "data_batch_2.bin", cifar_record({1}, 'a'));
  EXPECT_FALSE(DataLoaders::from_cifar(folder.path(), {.batch_size = 1}).valid.has_value());
  write_bytes(folder.path() / "test_batch.bin", cifar_record({2}, 'a'));
  write_bytes(folder.path() / "batches.meta.txt", "plane\ncar\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
  const auto ten = DataLoaders::from_cifar(folder.path(), {.batch_size = 3});
  EXPECT_EQ(ten.train.samples(), 3);
  EXPECT_EQ(ten.valid->samples(), 1);
  EXPECT_EQ(ten.classes[9], "truck");
  TemporaryFolder other;
  EXPECT_THAT(error_of([&] { DataLoaders::from_cifar(other.path()); }), HasSubstr("has neither data_batch_1.bin"));
  write_bytes(other.path() / "train.bin", cifar_record({7, 42}, 'a'));
  const auto hundred = DataLoaders::from_cifar(other.path(), {.batch_size = 1});
  EXPECT_EQ(hundred.train.epoch(0).next()->y.item<int64_t>(), 42);
  EXPECT_EQ(hundred.classes.size(), 100U);
}

TEST(FromMnist, TakesPlainFilesAndFindsWhatIsMissing) {
  TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { DataLoaders::from_mnist(folder.path()); }), HasSubstr("has no train-images-idx3-ubyte"));
  write_bytes(folder.path() / "train-images-idx3-ubyte", idx({2, 1, 3}, "abcdef"));
  EXPECT_FALSE(DataLoaders::from_mnist(folder.path(), {.batch_size = 2}).train.epoch(0).next()->y.defined());
  write_bytes(folder.path() / "train-labels-idx1-ubyte", idx({2}, "\x03\x01"));
  const auto dls = DataLoaders::from_mnist(folder.path(), {.batch_size = 2});
  const auto batch = dls.train.epoch(0).next().value();
  EXPECT_EQ(batch.x.sizes().vec(), (std::vector<int64_t>{2, 1, 1, 3}));
  EXPECT_EQ(batch.y.sum().item<int64_t>(), 4);
  EXPECT_THAT(dls.classes, ElementsAre("0", "1", "2", "3"));
  write_bytes(folder.path() / "train-labels-idx1-ubyte", idx({3}, "\x03\x01\x02"));
  EXPECT_THAT(error_of([&] { DataLoaders::from_mnist(folder.path()); }), HasSubstr("as many labels"));
}

// --- shards

TEST(ExpandShards, CountsThroughBraces) {
  EXPECT_THAT(expand_shards("a-{008..010}.tar"), ElementsAre("a-008.tar", "a-009.tar", "a-010.tar"));
  EXPECT_THAT(expand_shards("{1..2}/{0..1}"), ElementsAre("1/0", "1/1", "2/0", "2/1"));
  EXPECT_THAT(expand_shards("a.tar"), ElementsAre("a.tar"));
  EXPECT_THAT(error_of([] { expand_shards("{3..1}"); }), HasSubstr("in order"));
  EXPECT_THAT(error_of([] { expand_shards("{a..b}"); }), HasSubstr("whole numbers"));
  EXPECT_EQ(tar_key("a.d/b.c.jpg"), "a.d/b");
  EXPECT_EQ(tar_key("a/b"), "a/b");
}

#if BARLOW_HAS_ARCHIVE

using Members = std::vector<std::pair<std::string, std::string>>;

void write_tar(const fs::path& file, const Members& members, bool gzip = false) {
  auto* a = archive_write_new();
  archive_write_set_format_pax_restricted(a);
  if (gzip) {
    archive_write_add_filter_gzip(a);
  }
  ASSERT_EQ(archive_write_open_filename(a, file.c_str()), ARCHIVE_OK);
  for (const auto& [name, bytes] : members) {
    auto* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<int64_t>(bytes.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_write_header(a, entry);
    archive_write_data(a, bytes.data(), bytes.size());
    archive_entry_free(entry);
  }
  archive_write_free(a);
}

std::string gzipped(const std::string& bytes, const fs::path& file) {
  auto* a = archive_write_new();
  archive_write_set_format_raw(a);
  archive_write_add_filter_gzip(a);
  archive_write_open_filename(a, file.c_str());
  auto* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(a, entry);
  archive_write_data(a, bytes.data(), bytes.size());
  archive_entry_free(entry);
  archive_write_free(a);
  const auto packed = read_file(file, "test");
  return {packed.begin(), packed.end()};
}

TEST(Idx, ReadsGzip) {
  TemporaryFolder folder;
  const auto plain = idx({2, 2}, "abcd");
  const auto packed = gzipped(plain, folder.path() / "x.gz");
  EXPECT_TRUE(parse_idx(packed, "x").equal(parse_idx(plain, "x")));
  EXPECT_TRUE(read_idx(folder.path() / "x.gz").equal(parse_idx(plain, "x")));
  EXPECT_THAT(error_of([&] { parse_idx(packed.substr(0, packed.size() / 2), "t.gz"); }), HasSubstr("'t.gz'"));
  const auto longer = gzipped(plain + "e", folder.path() / "y.gz");
  EXPECT_THAT(error_of([&] { parse_idx(longer, "t.gz"); }), HasSubstr("must hold 4 numbers after its header"));
}

std::string png_of(int value) {
  TemporaryFolder folder;
  write_png(folder.path() / "x.png", torch::full({1, 4, 4}, value, torch::kByte));
  const auto bytes = read_file(folder.path() / "x.png", "test");
  return {bytes.begin(), bytes.end()};
}

// Shard s has samples s0, s1, ... with a grey of 10 s + i and the label i.
std::vector<fs::path> shards(const fs::path& folder, int count, int samples, bool gzip = false) {
  std::vector<fs::path> files;
  for (int s = 0; s < count; ++s) {
    Members members{{"about.json", "{}"}};
    for (int i = 0; i < samples; ++i) {
      members.emplace_back(fmt::format("d/{}{}.cls", s, i), fmt::format("{}\n", i));
      members.emplace_back(fmt::format("d/{}{}.png", s, i), png_of(10 * s + i));
      members.emplace_back(fmt::format("d/{}{}.txt", s, i), "a caption");
    }
    files.push_back(folder / fmt::format("{}.tar{}", s, gzip ? ".gz" : ""));
    write_tar(files.back(), members, gzip);
  }
  return files;
}

std::vector<int64_t> greys_of(const DataLoader& loader, int64_t epoch, int64_t first_batch = 0) {
  std::vector<int64_t> greys;
  auto stream = loader.epoch(epoch, first_batch);
  while (const auto batch = stream.next()) {
    for (int64_t i = 0; i < batch->size(); ++i) {
      const auto grey = batch->x[i][0][0][0].item<int64_t>();
      greys.push_back(grey);
      EXPECT_EQ(batch->y[i].item<int64_t>(), grey % 10);
      EXPECT_EQ(batch->index[static_cast<size_t>(i)], (grey / 10 << 32) + grey % 10);
    }
  }
  return greys;
}

TEST(TarDataset, ReadsSamplesInSequence) {
  for (const bool gzip : {false, true}) {
    TemporaryFolder folder;
    const auto set = tar_dataset(shards(folder.path(), 3, 4, gzip));
    EXPECT_EQ(set->size(), 12);
    for (const int64_t workers : {0, 2}) {
      const DataLoader loader(set, {.batch_size = 5, .channels = 1, .num_workers = workers});
      EXPECT_EQ(loader.batches(), 3);
      EXPECT_THAT(greys_of(loader, 0), ElementsAre(0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23));
      EXPECT_THAT(greys_of(loader, 0, 2), ElementsAre(22, 23));
    }
  }
}

TEST(TarDataset, ShufflesByItsKeys) {
  TemporaryFolder folder;
  const auto set = tar_dataset(shards(folder.path(), 4, 9), {.shuffle_buffer = 8});
  const auto order = [&](int64_t workers, int64_t epoch, int64_t first = 0) {
    return greys_of(
        DataLoader(set, {.batch_size = 4, .channels = 1, .shuffle = true, .num_workers = workers}), epoch, first);
  };
  const auto expected = order(0, 0);
  EXPECT_EQ(expected.size(), 36U);
  EXPECT_EQ((std::set<int64_t>(expected.begin(), expected.end()).size()), 36U);
  for (const int64_t workers : {1, 2, 8}) {
    EXPECT_EQ(order(workers, 0), expected);
    EXPECT_EQ(order(workers, 0, 3), (std::vector<int64_t>(expected.begin() + 12, expected.end())));
  }
  EXPECT_NE(order(0, 1), expected);
  EXPECT_FALSE(std::is_sorted(expected.begin(), expected.end()));
  int neighbours = 0; // each sample is drawn anew: few come right after the one before
  for (size_t i = 1; i < expected.size(); ++i) {
    neighbours += expected[i] == expected[i - 1] + 1 ? 1 : 0;
  }
  EXPECT_LE(neighbours, 10);
}

TEST(TarDataset, BrokenShardsAndSamplesAreCountedAndNamed) {
  TemporaryFolder folder;
  auto files = shards(folder.path(), 3, 4);
  fs::resize_file(files[1], 512 * 12 + 100); // in the middle of its samples
  write_tar(
      folder.path() / "bad.tar",
      {{"a.png", "no image"},
       {"b.png", png_of(1)},
       {"b.cls", "one"},
       {"c.png", ""},
       {"d.png", png_of(30)},
       {"d.cls", "0"}});
  files.push_back(folder.path() / "bad.tar");
  write_bytes(folder.path() / "no.tar", "this is no archive at all, but long enough to look for a header in it");
  files.push_back(folder.path() / "no.tar");
  const auto set = tar_dataset(files);
  for (const int64_t workers : {0, 2}) {
    const DataLoader loader(set, {.batch_size = 3, .channels = 1, .num_workers = workers, .max_bad = 0.5});
    int64_t good = 0;
    auto stream = loader.epoch(0);
    while (const auto batch = stream.next()) {
      good += batch->size();
    }
    std::string report;
    for (const auto& bad : loader.bad_samples()) {
      report += bad.name + ": " + bad.reason + '\n';
    }
    EXPECT_EQ(good + static_cast<int64_t>(loader.bad_samples().size()), set->size()) << report;
    EXPECT_THAT(report, HasSubstr("1.tar: [tar_dataset]"));
    EXPECT_THAT(report, HasSubstr("bad.tar: a: "));
    EXPECT_THAT(report, HasSubstr("'b.cls' is not a number"));
    EXPECT_THAT(report, HasSubstr("bad.tar: c: [tar_dataset] its image is empty"));
    EXPECT_THAT(report, HasSubstr("no.tar: [tar_dataset]"));
  }
  EXPECT_THAT(error_of([&] { tar_dataset({folder.path() / "gone.tar"}); }), HasSubstr("gone.tar' does not exist"));
  EXPECT_THAT(error_of([&] { tar_dataset({}); }), HasSubstr("at least one shard"));
  EXPECT_THAT(
      error_of([&] { DataLoader(set, {.on_bad = OnBad::Replace}); }),
      HasSubstr("OnBad::Replace needs samples by number"));
}

TEST(TarDataset, ABufferOfFewBytesDrawsFromFewSamples) {
  TemporaryFolder folder;
  const auto set = tar_dataset(shards(folder.path(), 1, 5), {.shuffle_bytes = 1});
  EXPECT_THAT(
      greys_of(DataLoader(set, {.batch_size = 5, .channels = 1, .shuffle = true}), 0), ElementsAre(0, 1, 2, 3, 4));
}

TEST(TarDataset, LabelsAreFewAndShort) {
  TemporaryFolder folder;
  const auto of = [&](const std::string& label) {
    write_tar(folder.path() / "x.tar", {{"a.cls", label}});
    TarReader reader(folder.path() / "x.tar");
    return TarSamples(reader, /*only_count=*/false).next()->error;
  };
  EXPECT_THAT(of("999999\n"), "");
  EXPECT_THAT(of("1000000"), HasSubstr("is not a number below 1000000"));
  EXPECT_THAT(of(std::string(65, '1')), HasSubstr("is sparse or larger than 64 bytes"));
}

TEST(TarDataset, WhatAsksForMoreThanItIsIsRefused) {
  const auto reads = [](const std::string& name) {
    return error_of([&] {
      TarReader reader(fs::path(BARLOW_TEST_FUZZ) / "seeds" / "tar" / name);
      TarSamples samples(reader, /*only_count=*/false);
      while (const auto group = samples.next()) {
        if (!group->error.empty()) {
          throw Error(group->error);
        }
      }
    });
  };
  EXPECT_THAT(reads("sparse_backwards"), HasSubstr("'a.jpg' is sparse"));
  EXPECT_THAT(reads("sparse_hole"), HasSubstr("'a.jpg' is sparse"));
  EXPECT_THAT(reads("bomb_bz2"), HasSubstr("bomb_bz2' cannot be read: it unpacks to more than 100 times its size"));
  EXPECT_THAT(reads("holes_bz2"), HasSubstr("holes_bz2' cannot be read: it unpacks to more than 100 times its size"));
  EXPECT_THAT(reads("packed_twice"), HasSubstr("packed_twice' is packed 2 times"));
}

TEST(TarDataset, AnEpochEndsWithItsStream) {
  TemporaryFolder folder;
  const auto files = shards(folder.path(), 2, 4);
  for (const int64_t workers : {0, 2}) {
    const DataLoader more(
        tar_dataset(files, {.samples = 100}), {.batch_size = 3, .channels = 1, .num_workers = workers});
    EXPECT_EQ(greys_of(more, 0).size(), 8U) << workers;
    const DataLoader fewer(
        tar_dataset(files, {.samples = 5}), {.batch_size = 3, .channels = 1, .num_workers = workers});
    EXPECT_THAT(greys_of(fewer, 0), ElementsAre(0, 1, 2, 3, 10));
  }
}

TEST(FromTar, MakesBothLoaders) {
  TemporaryFolder folder;
  const auto files = shards(folder.path(), 3, 4);
  const auto dls = DataLoaders::from_tar({files[0], files[1]}, {.batch_size = 8, .channels = 1}, {files[2]});
  EXPECT_EQ(dls.train.batches(), 1);
  EXPECT_EQ(dls.valid->samples(), 4);
  EXPECT_THAT(
      error_of([&] { DataLoaders::from_tar(files, {.batch_size = 13}); }),
      HasSubstr("larger than the 12 training images"));
}

#endif

#if BARLOW_HAS_OPENCV

// --- folders

TEST(FromFolder, LabelsByParentAnywhereInTheTree) {
  TemporaryFolder folder;
  for (const auto* name : {"b/1.png", "b/deep/2.png", "a/3.png", "root.png"}) {
    fs::create_directories((folder.path() / name).parent_path());
    write_png(folder.path() / name, torch::zeros({1, 4, 4}, torch::kByte));
  }
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 4, .channels = 1});
  EXPECT_THAT(dls.classes, ElementsAre("a", "b", "deep"));
  const auto batch = dls.train.epoch(0).next().value();
  std::map<int64_t, int64_t> labels; // by index, the order of names
  for (int64_t i = 0; i < 4; ++i) {
    labels[batch.index[static_cast<size_t>(i)]] = batch.y[i].item<int64_t>();
  }
  EXPECT_EQ(labels, (std::map<int64_t, int64_t>{{0, 0}, {1, 1}, {2, 2}, {3, -1}}));
}

TEST(FromFolder, SplitsAtRandomAndByList) {
  TemporaryFolder folder;
  for (int i = 0; i < 20; ++i) {
    fs::create_directories(folder.path() / (i % 2 == 0 ? "x" : "y"));
    write_png(
        folder.path() / (i % 2 == 0 ? "x" : "y") / fmt::format("{}.png", i), torch::zeros({1, 4, 4}, torch::kByte));
  }
  const auto random = [&](uint64_t seed) {
    return DataLoaders::from_folder(folder.path(), {.batch_size = 2}, RandomSplitter{.valid_pct = 0.25, .seed = seed});
  };
  EXPECT_EQ(random(1).train.samples(), 15);
  EXPECT_EQ(random(1).valid->samples(), 5);
  EXPECT_THAT(random(1).classes, ElementsAre("x", "y"));
  const auto list = folder.path() / "valid.txt";
  write_bytes(list, "x/0.png\ny/1.png\n");
  const auto listed = DataLoaders::from_folder(folder.path(), {.batch_size = 2}, FileSplitter{list});
  EXPECT_EQ(listed.train.samples(), 18);
  EXPECT_EQ(listed.valid->samples(), 2);
  write_bytes(list, "x/1.png\n");
  EXPECT_THAT(
      error_of([&] { DataLoaders::from_folder(folder.path(), {}, FileSplitter{list}); }),
      HasSubstr("names 1 files that are not among the images"));
  EXPECT_THAT(
      error_of([&] { DataLoaders::from_folder(folder.path(), {}, RandomSplitter{.valid_pct = 1}); }),
      HasSubstr("valid_pct must be in (0, 1)"));
}

TEST(FromList, ReadsPathsRelativeToTheList) {
  TemporaryFolder folder;
  for (const auto* name : {"a b.png", "new\nline.png", "\xc3\xa4.png"}) {
    write_png(folder.path() / "in" / name, torch::zeros({1, 4, 4}, torch::kByte));
  }
  const auto list = folder.path() / "list.txt";
  write_bytes(list, fmt::format("in/a b.png\n{}\n", (folder.path() / "in" / "\xc3\xa4.png").string()));
  EXPECT_EQ(DataLoaders::from_list(list, {.batch_size = 2}).train.epoch(0).next()->size(), 2);
  write_bytes(list, std::string_view("in/a b.png\0in/new\nline.png\0", 27));
  EXPECT_EQ(DataLoaders::from_list(list, {.batch_size = 2}).train.epoch(0).next()->size(), 2);
  const auto split = DataLoaders::from_list(list, {.batch_size = 1}, RandomSplitter{.valid_pct = 0.5});
  EXPECT_EQ(split.valid->samples(), 1);
  write_bytes(list, "\n\n");
  EXPECT_THAT(error_of([&] { DataLoaders::from_list(list); }), HasSubstr("list.txt' names no file"));
}

std::vector<char> photo() {
  return read_file(kFiles / "photo.jpg", "test");
}

// Everything that lies about in folders: each is read, or counted and named; nothing hangs.
// A folder that vanishes is no folder of bad samples, which would be left out.
TEST(FromFolder, WhatWasThereMustStay) {
  const TemporaryFolder folder;
  for (int i = 0; i < 20; ++i) {
    write_png(folder.path() / fmt::format("{}.png", i), torch::zeros({3, 8, 8}, torch::kByte));
  }
  for (const auto on_bad : {OnBad::Skip, OnBad::Replace}) {
    const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 20, .on_bad = on_bad});
    fs::rename(folder.path() / "7.png", folder.path() / "elsewhere");
    EXPECT_THAT(error_of([&] { dls.train.epoch(0).next(); }), HasSubstr("7.png' was there when its folder was listed"));
    fs::rename(folder.path() / "elsewhere", folder.path() / "7.png");
    EXPECT_TRUE(dls.train.epoch(0).next());
  }
}

TEST(FromFolder, WhatIsBrokenIsCountedAndNamed) {
  TemporaryFolder folder;
  const auto& root = folder.path();
  const auto jpeg = photo();
  const std::string_view bytes(jpeg.data(), jpeg.size());
  int64_t good = 0;
  for (const auto* name : {"good.jpg", "with space.jpg", "new\nline.jpg", "\xc3\xa4.jpg", "\xff.jpg"}) {
    write_bytes(root / name, bytes);
    ++good;
  }
  for (const auto* name : {"cmyk.jpg", "palette.png", "gray16.png", "png_named.jpg", "rgba.png", "float.tif"}) {
    fs::copy_file(kFiles / name, root / name);
    ++good;
  }
  write_png(root / "1x1.png", torch::zeros({3, 1, 1}, torch::kByte));
  write_png(root / "long.png", torch::zeros({1, 1, 20000}, torch::kByte));
  write_png(root / "high.png", torch::zeros({1, 20000, 1}, torch::kByte));
  good += 3;
  std::set<std::string> bad;
  const auto broken = [&](const std::string& name, std::string_view content) {
    write_bytes(root / name, content);
    bad.insert((root / name).string());
  };
  broken("truncated.jpg", bytes.substr(0, bytes.size() / 2));
  broken("empty.png", "");
  broken("text.jpg", "not an image");
  broken("bomb.png", std::string_view("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x9c\x40\0\0\x9c\x40\x08\x02\0\0\0", 29));
  fs::copy_file(kFiles / "animated.webp", root / "animated.webp");
  bad.insert((root / "animated.webp").string());
  if (::geteuid() != 0) { // root may read everything
    write_bytes(root / "secret.jpg", bytes);
    fs::permissions(root / "secret.jpg", fs::perms::none);
    bad.insert((root / "secret.jpg").string());
    fs::create_directory(root / "secret");
    fs::permissions(root / "secret", fs::perms::none);
    bad.insert((root / "secret").string());
  }
  write_bytes(root / "pipe_later.jpg", bytes);
  bad.insert((root / "pipe_later.jpg").string());
  ::mkfifo((root / "pipe.jpg").c_str(), 0600);
  fs::create_directory_symlink(root, root / "loop");
  fs::create_symlink(root / "nowhere", root / "dangling.jpg");
  fs::create_directory(root / "folder.jpg");

  const auto all = good + static_cast<int64_t>(bad.size());
  const auto dls =
      DataLoaders::from_folder(root, {.batch_size = all, .num_workers = 2, .max_bad = 1, .time_limit = 20});
  ASSERT_EQ(dls.train.samples(), all);
  fs::remove(root / "pipe_later.jpg");
  ::mkfifo((root / "pipe_later.jpg").c_str(), 0600);
  const auto loader = dls.train.with_views({Pipeline({std::make_shared<RandomResizedCrop>(8)})});
  const auto batch = loader.epoch(0).next().value();
  EXPECT_EQ(batch.size(), good);
  EXPECT_EQ(batch.views[0].scalar_type(), torch::kFloat); // some have more than 8 bits
  std::set<std::string> named;
  for (const auto& sample : dls.train.bad_samples()) {
    named.insert(sample.name);
    EXPECT_THAT(sample.reason, HasSubstr(fs::path(sample.name).filename().string()));
  }
  EXPECT_EQ(named, bad);
}

TEST(DataLoader, AHundredMegapixelsAreRead) {
  TemporaryFolder folder;
  write_png(folder.path() / "large.png", torch::zeros({1, 10000, 10000}, torch::kByte));
  const auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 1, .channels = 1, .num_workers = 1});
  const auto loader = dls.train.with_views({Pipeline({std::make_shared<RandomResizedCrop>(8)})});
  EXPECT_EQ(loader.epoch(0).next()->size(), 1);
}

#endif

} // namespace
} // namespace barlow
