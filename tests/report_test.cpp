// SPDX-License-Identifier: Apache-2.0
// Pictures and the page that is made of them.
#include <barlow/callbacks/report.h>

#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/online_knn.h>
#include <barlow/datasets.h>
#include <barlow/image.h>
#include <barlow/picture.h>

#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using torch::Tensor;

std::vector<uint8_t> pixel(const Tensor& picture, int64_t y, int64_t x) {
  const auto p = picture.select(1, y).select(1, x).contiguous();
  return {p.const_data_ptr<uint8_t>(), p.const_data_ptr<uint8_t>() + p.numel()};
}

TEST(Picture, MatrixIsBlueWhiteRed) {
  const auto small = draw_matrix(torch::tensor({{1., 0., -1.}, {0.5, 7., -9.}}));
  EXPECT_EQ(small.sizes(), (std::vector<int64_t>{3, 340, 510}));
  EXPECT_THAT(pixel(small, 0, 0), ElementsAre(255, 0, 0));
  EXPECT_THAT(pixel(small, 0, 250), ElementsAre(255, 255, 255));
  EXPECT_THAT(pixel(small, 0, 509), ElementsAre(0, 0, 255));
  EXPECT_THAT(pixel(small, 339, 0), ElementsAre(255, 128, 128));
  EXPECT_THAT(pixel(small, 339, 250), ElementsAre(255, 0, 0)); // beyond 1
  auto large = torch::zeros({2000, 2000});
  large[1999][1999] = -0.75;
  EXPECT_THAT(pixel(draw_matrix(large), 511, 511), ElementsAre(64, 64, 255)); // not averaged away
}

TEST(Picture, MapPutsImagesAtTheirPlaces) {
  const auto images = torch::stack({torch::zeros({1, 4, 4}), torch::ones({1, 4, 4})});
  const auto map = draw_map(images, torch::tensor({{0., 0.}, {1., 2.}}), torch::tensor({0, -1}));
  EXPECT_THAT(pixel(map, 0, 0), ElementsAre(31, 119, 180)); // the frame
  EXPECT_THAT(pixel(map, 10, 10), ElementsAre(0, 0, 0));
  EXPECT_THAT(pixel(map, 450, 450), ElementsAre(255, 255, 255));
  EXPECT_THAT(pixel(map, 899, 899), ElementsAre(200, 200, 200));
}

std::string report_of(const ReportOptions& options, bool knn = false) {
  Learner learn(small_data(), small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  if (knn) {
    learn.add(OnlineKnn(*options.bank, *options.queries, {.k = 1}));
  }
  learn.add(Report(options));
  learn.fit(3);
  std::ifstream in(options.file);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t count(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++n;
  }
  return n;
}

TEST(Report, IsOnePageWithItsPictures) {
  const TemporaryFolder folder;
  const DataLoader bank(
      tensor_dataset(torch::rand({9, 1, 4, 4}), torch::arange(9) % 2), {.batch_size = 4, .num_workers = 0});
  const auto page = report_of(
      {.file = folder.path() / "run" / "report.html", .title = "Mine & <yours>", .bank = bank, .queries = bank}, true);
  EXPECT_THAT(page, HasSubstr("<title>Mine &amp; &lt;yours&gt;</title>"));
  EXPECT_EQ(count(page, "data:image/png;base64,iVBORw0KGgo"), 9U); // 2 + 2 logged, 2 matrices, kNN, map, neighbours
  EXPECT_EQ(count(page, "src="), 9U); // nothing from elsewhere
  EXPECT_THAT(page, HasSubstr("<td>pixels</td><td>"));
  EXPECT_THAT(page, HasSubstr("<td>this encoder before training</td><td>"));
  EXPECT_THAT(page, HasSubstr("</body></html>"));
}

TEST(Report, NeedsNoLabelsAndNoBank) {
  const TemporaryFolder folder;
  EXPECT_EQ(count(report_of({.file = folder.path() / "a.html"}), "<img"), 6U);
  const DataLoader bank(tensor_dataset(torch::rand({9, 1, 4, 4})), {.batch_size = 4, .num_workers = 0});
  const auto page = report_of({.file = folder.path() / "b.html", .bank = bank, .queries = bank});
  EXPECT_EQ(count(page, "<img"), 8U);
  EXPECT_THAT(page, ::testing::Not(HasSubstr("pixels</td>")));
}

TEST(Report, ImagesOfSeveralSizesAreCroppedAfterTheFitToo) {
  const TemporaryFolder folder;
  for (int i = 0; i < 8; ++i) {
    write_png(folder.path() / fmt::format("{}.png", i), torch::randint(0, 256, {1, 6 + i, 9 - i % 3}, torch::kByte));
  }
  auto dls = DataLoaders::from_folder(folder.path(), {.batch_size = 4, .channels = 1});
  Learner learn(dls, small_model(), quiet());
  learn.add(BarlowTwins(small_pipelines()));
  learn.add(Report({.file = folder.path() / "a.html"}));
  learn.fit(1);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "a.html"));
}

TEST(Report, BadInput) {
  EXPECT_THAT(error_of([] { Report({.file = "a.pdf"}); }), HasSubstr("file must end in .html"));
  EXPECT_THAT(error_of([] { Report({.k = 0}); }), HasSubstr("k must be at least 1"));
  EXPECT_THAT(error_of([] { Report({.bank = small_data().train}); }), HasSubstr("bank and queries must both be given"));
}

} // namespace
} // namespace barlow
