// SPDX-License-Identifier: Apache-2.0
// Loaders, data sets, images and pictures, called as they must not be; and what only looks so.
#include <barlow/barlow.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/misuse.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using torch::Tensor;
namespace fs = std::filesystem;

using Make = std::function<Sample(int64_t)>;

// Two samples one after the other; an empty function: no stream at all.
class MadeStream : public StreamDataset {
 public:
  explicit MadeStream(Make make) : make_(std::move(make)) {}
  int64_t size() const override {
    return 2;
  }
  std::unique_ptr<SampleStream> stream(uint64_t, int64_t, bool) const override {
    return make_ ? std::make_unique<Stream>(make_) : nullptr;
  }

 private:
  class Stream : public SampleStream {
   public:
    explicit Stream(Make make) : make_(std::move(make)) {}
    std::optional<Item> next() override {
      if (at_ == 2) {
        return std::nullopt;
      }
      const auto index = at_++;
      return Item{.index = index, .sample = make_(index)};
    }

   private:
    Make make_;
    int64_t at_ = 0;
  };
  Make make_;
};

template <class Set>
void load(const Make& make, OnBad on_bad = OnBad::Stop, int64_t workers = 0) {
  const DataLoader loader(
      std::make_shared<Set>(make), {.batch_size = 2, .num_workers = workers, .on_bad = on_bad, .time_limit = 5});
  loader.epoch(0).next();
}

TEST(Misuse, LoadersOfWrongSamples) {
  constexpr auto name = "DataLoader";
  const auto image = torch::rand({3, 4, 4});
  const auto of = [](const Tensor& x) { return [=](int64_t) { return Sample{x}; }; };
  const auto bad = other_kinds(image) + other_shapes(image);
  refuses(name, bad, [&](const Tensor& x) { load<Made>(of(x)); });
  refuses(name, bad, [&](const Tensor& x) { load<Made>(of(x), OnBad::Skip, /*workers=*/1); });
  refuses(name, bad, [&](const Tensor& x) { load<Made>(of(x), OnBad::Replace); });
  refuses(name, bad, [&](const Tensor& x) { load<MadeStream>(of(x)); });
  refuses(name, [&] { load<MadeStream>(of(image), OnBad::Replace); });
  refuses(name, [] { load<MadeStream>(nullptr); });
  refuses(name, [] { load<Made>([](int64_t i) { return Sample{torch::rand({3, 4, 4 + i})}; }); });
  refuses(name, [] { load<Made>([](int64_t) -> Sample { throw std::runtime_error("no disk"); }, OnBad::Skip); });
  // NOLINTNEXTLINE(bugprone-std-exception-baseclass): whatever a data set of somebody's throws
  refuses(name, [] { load<Made>([](int64_t) -> Sample { throw 7; }, OnBad::Skip); });
  refuses("read_image", [] { load<Made>([](int64_t) { return Sample{.image = {}, .encoded = {'n', 'o'}}; }); });
}

TEST(Misuse, LoadersOfWrongOptions) {
  constexpr auto name = "DataLoader", share = "DataLoader::labelled_share", epoch = "DataLoader::epoch";
  const auto images = torch::rand({4, 3, 4, 4});
  const auto with = [&](const LoaderOptions& options) { tensor_loader(images, options); };
  refuses(name, [] { DataLoader{std::shared_ptr<const Dataset>()}; });
  refuses(name, [] { DataLoader{std::shared_ptr<const StreamDataset>()}; });
  refuses(name, [&] { tensor_loader(images.narrow(0, 0, 0), {}); });
  refuses(name, [&] { with({.batch_size = 0}); });
  refuses(name, [&] { with({.batch_size = 5, .drop_last = true}); });
  refuses(name, [&] { with({.channels = 0}); });
  refuses(name, [&] { with({.resize = -1}); });
  refuses(name, [&] { with({.num_workers = -2}); });
  refuses(name, {-0.1, 1.1, kNaN}, [&](double most) { with({.max_bad = most}); });
  refuses(name, {-1, kNaN, kInfinity}, [&](double seconds) { with({.time_limit = seconds}); });
  refuses(name, [&] { with({.max_pixels = 0}); });
  if (!torch::cuda::is_available()) {
    refuses(name, [&] { with({.pin_memory = true}); });
  }
  const auto loader = tensor_loader(images, {.batch_size = 2, .num_workers = 0});
  refuses("DataLoader::with_views", [&] { loader.with_views({Pipeline({})}); });
  refuses("DataLoader::shard", [&] { loader.shard({.rank = 2, .count = 2}); });
  refuses(share, {0, 1.1, kNaN}, [&](double part) { loader.labelled_share(part); });
  refuses(share, [&] { loader.labelled_share(0.5); }); // there are no labels
  refuses(epoch, [&] { loader.epoch(0, 3); });
  refuses(epoch, [&] { loader.epoch(0, -1); });
  refuses("DataLoader::largest_label", [] { DataLoader(std::make_shared<MadeStream>(nullptr)).largest_label(); });
}

TEST(Misuse, Datasets) {
  constexpr auto tensors = "tensor_dataset", files = "image_files", tar = "tar_dataset", shards = "expand_shards";
  const auto images = torch::rand({2, 3, 4, 4});
  const auto labels = torch::zeros({2}, torch::kLong);
  refuses(tensors, other_kinds(images) + BadTensors{{"of three dimensions", images[0]}}, [](const Tensor& x) {
    tensor_dataset(x);
  });
  auto bad_labels = other_labels(labels);
  bad_labels.erase(bad_labels.begin()); // undefined ones are none
  refuses(tensors, bad_labels, [&](const Tensor& y) { tensor_dataset(images, y); });
  const auto set = tensor_dataset(images, labels);
  const auto one = image_files({"a.png"}, {0});
  for (const int64_t index : {-1, 2}) {
    refuses(tensors, [&] { set->get(index); });
    refuses(tensors, [&] { set->label(index); });
    refuses(files, [&] { one->get(index); });
    refuses(files, [&] { one->label(index); });
    refuses(files, [&] { one->sample_name(index); });
  }
  refuses(files, [] { image_files({"a.png", "b.png"}, {0}); });
  refuses(tar, [] { tar_dataset({}); });
  refuses(tar, [] { DataLoaders::from_tar({}); });
  refuses(tar, [] { tar_dataset({paths().missing}); });
  refuses(tar, [] { tar_dataset({paths().too_long}); });
  refuses(tar, [] { tar_dataset({paths().text}, {.samples = -1}); });
  refuses(tar, [] { tar_dataset({paths().text}, {.shuffle_buffer = 0}); });
  refuses(tar, [] { tar_dataset({paths().text}, {.shuffle_bytes = 0}); });
  for (const auto* range : {"{3..1}", "{a..b}", "{0..99999999999999999999}", "{0..99999}{0..99999}"}) {
    refuses(shards, [=] { expand_shards(range); });
  }
  refuses_to_read("read_idx", [](const fs::path& file) { read_idx(file); });
  refuses_to_read("read_cifar", [](const fs::path& file) { read_cifar(file, Cifar::Ten); });
}

TEST(Misuse, DataLoaders) {
  constexpr auto from_folder = "DataLoaders::from_folder", list = "read_path_list";
  refuses_to_read("DataLoaders::from_mnist", [](const fs::path& folder) { DataLoaders::from_mnist(folder); });
  refuses_to_read("DataLoaders::from_cifar", [](const fs::path& folder) { DataLoaders::from_cifar(folder); });
  for (const auto& path : {paths().missing, paths().folder, paths().empty, paths().text}) {
    refuses(from_folder, [&] { DataLoaders::from_folder(path); });
  }
  for (const auto& path : {paths().missing, paths().folder, paths().empty, paths().too_long}) {
    refuses(list, [&] { read_path_list(path); });
    refuses(list, [&] { DataLoaders::from_list(path); });
  }
  const auto folder = paths().root.path() / "images";
  write_bytes(folder / "a.png", "no image, which nobody looks at here");
  const auto split = [&](const Splitter& splitter) { DataLoaders::from_folder(folder, {.batch_size = 1}, splitter); };
  refuses(from_folder, {0, 1, kNaN}, [&](double share) { split(RandomSplitter{.valid_pct = share}); });
  refuses(from_folder, [&] { split(FileSplitter{paths().missing}); });
  refuses(from_folder, [&] { split(FileSplitter{paths().text}); });
  refuses(from_folder, [&] { split(GrandparentSplitter{}); });
  refuses(from_folder, [&] { DataLoaders::from_folder(folder, {.batch_size = 9}); });
  refuses("DataLoader", [&] { DataLoaders::from_folder(folder, {.batch_size = 0}); });
  refuses("DataLoaders::from_list", [] { DataLoaders::from_list(paths().text, {}, GrandparentSplitter{}); });
}

TEST(Misuse, Images) {
  constexpr auto resize = "resize_to_square", png = "encode_png", read = "read_image", write = "write_png";
  const auto image = torch::rand({3, 4, 4}), pixels = image.mul(255).to(torch::kByte);
  refuses(resize, other_kinds(image) + other_shapes(image), [](const Tensor& x) { resize_to_square(x, 2); });
  refuses(resize, [&] { resize_to_square(image, 0); });
  const BadTensors others{
      {"of two channels", pixels.narrow(0, 0, 2)}, {"floating", image}, {"without data", pixels.to(torch::kMeta)}};
  const auto no_png = other_kinds(image) + other_shapes(pixels) + others;
  refuses(png, no_png, [](const Tensor& x) { encode_png(x); });
  refuses(png, no_png, [](const Tensor& x) { write_png(paths().root.path() / "x.png", x); });
  refuses(read, [] { decode_image(""); });
  refuses(read, [] { decode_image("no image"); });
  refuses(read, [] { decode_image("no image", {.channels = 0}); });
  refuses_to_read(read, [](const fs::path& file) { read_image(file); });
  refuses_to_write(write, [&](const fs::path& file) { write_png(file, pixels); });
  refuses_to_write(write, [](const fs::path& file) { plot_curves(file, {{"a", {1, 2}}}, "x", "y"); });
}

TEST(Misuse, Pictures) {
  constexpr auto grid = "image_grid", draw = "draw_map", plot = "draw_curves";
  const auto tile = torch::rand({3, 4, 4});
  const auto tiles = other_kinds(tile) + other_shapes(tile);
  refuses(grid, tiles, [](const Tensor& x) { image_grid({x}, 1); });
  refuses(
      grid, tiles + BadTensors{{"larger", torch::rand({3, 5, 4})}}, [&](const Tensor& x) { image_grid({tile, x}, 2); });
  refuses(grid, [] { image_grid({}, 2); });
  refuses(grid, [&] { image_grid({tile}, 0); });

  const auto matrix = torch::rand({3, 2}), images = torch::rand({2, 3, 4, 4}), places = torch::rand({2, 2});
  const BadTensors matrices{
      {"undefined", {}},
      {"complex", matrix.to(torch::kComplexFloat)},
      {"without data", matrix.to(torch::kMeta)},
      {"of one dimension", matrix[0]},
      {"of three dimensions", matrix.unsqueeze(0)},
      {"without rows", matrix.narrow(0, 0, 0)}};
  refuses("draw_matrix", matrices, [](const Tensor& x) { draw_matrix(x); });
  const BadTensors others{{"of two channels", images.narrow(1, 0, 2)}, {"of three samples", torch::rand({3, 3, 4, 4})}};
  refuses(draw, other_kinds(images) + other_shapes(images) + others, [&](const Tensor& x) { draw_map(x, places); });
  const BadTensors elsewhere{
      {"undefined", {}},
      {"complex", places.to(torch::kComplexFloat)},
      {"without data", places.to(torch::kMeta)},
      {"of one dimension", places[0]},
      {"in space", torch::rand({2, 3})},
      {"of NaN", places / 0 * 0},
      {"of infinity", (places + 1) / 0}};
  refuses(draw, elsewhere, [&](const Tensor& x) { draw_map(images, x); });
  const auto labels = torch::zeros({2}, torch::kLong);
  const BadTensors other{
      {"of one sample", labels.narrow(0, 0, 1)},
      {"of two dimensions", labels.unsqueeze(1)},
      {"without data", labels.to(torch::kMeta)}};
  refuses(draw, other, [&](const Tensor& y) { draw_map(images, places, y); });
  const std::vector<std::vector<Curve>> curves{
      {},
      {{"no points", {}}},
      {{"NaN", {kNaN, kInfinity}}},
      {{"at NaN", {1, 2}, {kNaN, kNaN}}},
      {{"at infinity", {1, 2}, {kInfinity, kInfinity}}},
      {{"fewer x than y", {1, 2}, {1}}}};
  for (const auto& bad : curves) {
    refuses(plot, [&] { draw_curves(bad, "x", "y"); });
  }
}

TEST(LooksLikeMisuse, Pictures) {
  const auto map = torch::rand({2, 3, 4, 4});
  EXPECT_THAT(draw_map(map.narrow(0, 0, 0), torch::rand({0, 2})).sizes(), ElementsAre(3, 900, 900));
  EXPECT_THAT(draw_map(map, torch::ones({2, 2})).sizes(), ElementsAre(3, 900, 900)); // all at one place
  const std::vector<double> steep{1e16, 1e16 + 2}; // ticks that rounding hides
  EXPECT_THAT(draw_curves({{"a", steep}}, "x", "y").sizes(), ElementsAre(3, 480, 800));
}

} // namespace
} // namespace barlow
