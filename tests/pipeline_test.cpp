// SPDX-License-Identifier: Apache-2.0
// Properties: what a view depends on, replaying, order, composition, fusing.
#include <barlow/augment/pipeline.h>

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/augment/presets.h>
#include <barlow/augment/view.h>

#include "support/augment.h"
#include "support/keys.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

AugOptions crop_and_flip(int64_t size) {
  return {.size = size, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt};
}

TEST(PipelineOfTransforms, AViewDependsOnItsKeysAlone) {
  torch::manual_seed(0);
  const auto x = torch::rand({6, 1, 12, 12});
  const auto pipeline = get_batch_augs(crop_and_flip(8));
  const auto all = pipeline(x, keys(first(6)));
  const auto some = pipeline(x.index_select(0, torch::tensor({4, 1})), keys({4, 1}));
  EXPECT_TRUE(some[0].equal(all[4]));
  EXPECT_TRUE(some[1].equal(all[1]));
  EXPECT_FALSE(pipeline(x, keys(first(6), 1)).equal(all)); // another view,
  EXPECT_FALSE(pipeline(x, keys(first(6), 0, 1)).equal(all)); // epoch,
  EXPECT_FALSE(pipeline(x, keys(first(6), 0, 0, 8)).equal(all)); // seed
}

// Fused, and one transform after the other by the reference; tolerance: rounding of each step, over std 0.225.
TEST(PipelineOfTransforms, FusedEqualsStepByStep) {
  torch::manual_seed(0);
  const auto x = torch::rand({32, 3, 34, 27});
  const auto pipeline = everything();
  const auto [view, drawn] = pipeline.apply_and_draw(x, keys(first(32)));
  const ReferenceTransforms guard;
  Tensor y = x;
  for (size_t t = 0; t < drawn.size(); ++t) {
    y = pipeline.transforms()[t]->apply(y, drawn[t]);
  }
  EXPECT_TRUE(close_each(view, y, 0, 2e-5));
  EXPECT_TRUE(close_each(pipeline(x, keys(first(32))), y, 0, 2e-5)); // the whole pipeline by the reference
}

TEST(PipelineOfTransforms, AnyBatchAndThreadsGiveTheSameBits) {
  torch::manual_seed(0);
  const auto x = torch::rand({9, 3, 34, 27});
  const auto pipeline = everything();
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto all = pipeline(x, keys(first(9)));
  at::set_num_threads(4);
  EXPECT_TRUE(pipeline(x, keys(first(9))).equal(all));
  for (int64_t n = 0; n < 9; ++n) {
    EXPECT_TRUE(pipeline(x.narrow(0, n, 1), keys({n}))[0].equal(all[n])) << n;
  }
  at::set_num_threads(threads);
}

TEST(PipelineOfTransforms, TakesLevelsAndAnyLayout) {
  torch::manual_seed(0);
  const auto levels = torch::randint(256, {4, 3, 30, 40}, torch::kByte);
  const auto floats = levels.to(torch::kFloat) / 255;
  const auto expected = everything()(floats, keys(first(4)));
  EXPECT_TRUE(everything()(levels, keys(first(4))).equal(expected));
  EXPECT_TRUE(everything()(levels.contiguous(at::MemoryFormat::ChannelsLast), keys(first(4))).equal(expected));
  EXPECT_TRUE(Pipeline({})(levels, keys(first(4))).equal(floats));
}

TEST(PipelineOfTransforms, FunctionsOfYoursTakePart) {
  const auto x = torch::rand({2, 3, 12, 12});
  const auto pipeline = everything({make_transform("Invert", [](const Tensor& y) { return 1 - y; }, 50)});
  std::ostringstream out;
  out << pipeline;
  EXPECT_THAT(out.str(), HasSubstr("RandomNoise -> Invert -> Normalize"));
  const auto [view, drawn] = pipeline.apply_and_draw(x, keys(first(2)));
  EXPECT_TRUE(pipeline.replay(x, drawn).equal(view));
  EXPECT_THAT(error_of([] { make_transform("Nothing", nullptr); }), HasSubstr("'Nothing' is empty"));
}

TEST(PipelineOfTransforms, ComposeWithoutSorting) {
  const Pipeline first_one({std::make_shared<Normalize>(Stats{{0.5}, {0.5}})}),
      second = get_batch_augs(crop_and_flip(8));
  std::ostringstream out;
  out << Pipeline::compose({first_one, second});
  EXPECT_EQ(out.str(), "Pipeline: Normalize -> RandomResizedCrop -> RandomHorizontalFlip");
  EXPECT_THAT(error_of([] { Pipeline::compose({}); }), HasSubstr("at least one"));
}

TEST(PipelineOfTransforms, OneDrawABatchIfAsked) {
  const auto x = torch::rand({5, 3, 40, 40});
  const auto augs = get_batch_augs(
      {.size = 16, .same_on_batch = true, .rotate_p = 1, .jitter_p = 1, .blur_p = 1, .crop_same_on_batch = true});
  const auto drawn = augs.apply_and_draw(x, keys(first(5))).second;
  for (size_t t = 0; t < drawn.size(); ++t) {
    const auto& name = augs.transforms()[t]->name();
    const bool same =
        std::all_of(drawn[t].begin(), drawn[t].end(), [&](const auto& row) { return row == drawn[t][0]; });
    EXPECT_EQ(same, name != "RandomHorizontalFlip" && name != "RandomGaussianBlur") << name;
  }
}

// The second half of a batch, as another process has it, is drawn for by the first sample of all.
TEST(PipelineOfTransforms, OneDrawABatchIsThatOfAllItsParts) {
  const auto x = torch::rand({4, 3, 40, 40});
  const auto augs = get_batch_augs({.size = 16, .same_on_batch = true, .rotate_p = 1, .crop_same_on_batch = true});
  auto part = keys({2, 3});
  part.first = 0;
  EXPECT_TRUE(augs(x.narrow(0, 2, 2), part).equal(augs(x, keys(first(4))).narrow(0, 2, 2)));
}

TEST(PipelineOfTransforms, ACropOfTheWholeIsMirroredToo) { // by hand: nothing to resize
  const auto x = torch::rand({2, 3, 8, 8});
  const Pipeline pipeline(
      {std::make_shared<RandomResizedCrop>(8, CropOptions{.scale = {1, 1}, .ratio = {1, 1}}),
       std::make_shared<RandomHorizontalFlip>(1)});
  EXPECT_TRUE(pipeline(x, keys(first(2))).equal(x.flip(3)));
}

// Of a whole image, and of what a loader has cropped already.
TEST(MakeView, IsThePipelineWithTheBatchsKeys) {
  const auto pipeline = everything();
  Batch batch{.x = torch::rand({3, 3, 30, 40}), .y = {}, .index = {5, 2, 9}, .epoch = 4, .seed = 11};
  for (const int64_t view : {0, 1}) {
    EXPECT_TRUE(
        make_view(pipeline, batch, static_cast<size_t>(view)).equal(pipeline(batch.x, keys(batch.index, view, 4, 11))));
  }
  EXPECT_FALSE(make_view(pipeline, batch, 0).equal(make_view(pipeline, batch, 1)));
  batch.views = {torch::rand({3, 3, 21, 21}), torch::rand({3, 3, 21, 21})};
  EXPECT_TRUE(make_view(pipeline, batch, 1).equal(pipeline(batch.views[1], keys(batch.index, 1, 4, 11), 2)));
}

TEST(PipelineOfTransforms, BadBatchesAreNamed) {
  const auto augs = get_batch_augs(crop_and_flip(8));
  EXPECT_THAT(error_of([&] { augs(torch::rand({3, 8, 8}), keys(first(3))); }), HasSubstr("[N,C,H,W]"));
  EXPECT_THAT(error_of([&] { augs(torch::rand({0, 3, 8, 8}), keys({})); }), HasSubstr("must have pixels"));
  EXPECT_THAT(error_of([&] { augs(torch::ones({1, 3, 8, 8}, torch::kInt), keys(first(1))); }), HasSubstr("uint8"));
  EXPECT_THAT(error_of([&] { augs(torch::rand({2, 3, 8, 8}), keys(first(1))); }), HasSubstr("one key a sample"));
  const auto bad = torch::full({2, 3, 8, 8}, NAN);
  EXPECT_THAT(error_of([&] { augs(bad, keys(first(2))); }), HasSubstr("[Pipeline] sample 0 has NaN pixels"));
  EXPECT_THAT(
      error_of([] { get_batch_augs({.size = 8})(torch::rand({1, 1, 8, 8}), keys({0})); }), HasSubstr("channels"));
}

TEST(PipelineOfTransforms, DrawsCanBeReplayed) {
  torch::manual_seed(0);
  const auto x = torch::rand({3, 1, 12, 12});
  const auto pipeline = get_batch_augs(crop_and_flip(8));
  const auto [view, drawn] = pipeline.apply_and_draw(x, keys(first(3)));
  EXPECT_TRUE(pipeline.replay(x, drawn).equal(view));
  EXPECT_EQ(drawn[0][2].size(), 4U);
  EXPECT_THAT(error_of([&, d = drawn] { pipeline.replay(x, {d[0]}); }), HasSubstr("2 transforms, received 1"));
  EXPECT_THAT(error_of([&, d = drawn] { pipeline.replay(x.narrow(0, 0, 2), d); }), HasSubstr("2 samples, received 3"));
}

class Named : public Transform {
 public:
  Named(std::string name, int order) : name_(std::move(name)), order_(order) {}
  std::string name() const override {
    return name_;
  }
  int order() const override {
    return order_;
  }
  Tensor apply(const Tensor& x, const std::vector<std::vector<double>>&) const override {
    return x + 1;
  }

 private:
  std::string name_;
  int order_;
};

TEST(PipelineOfTransforms, SortsStablyAndPrintsItself) {
  auto options = crop_and_flip(8);
  options.stats = Stats{{0.5}, {0.25}};
  options.xtra_tfms = {std::make_shared<Named>("Late", 100), std::make_shared<Named>("Mine", 0)};
  std::ostringstream out;
  out << get_batch_augs(options);
  EXPECT_EQ(out.str(), "Pipeline: RandomResizedCrop -> RandomHorizontalFlip -> Mine -> Normalize -> Late");
}

TEST(PipelineOfTransforms, LeavesItsInputAlone) {
  const auto x = torch::rand({2, 1, 8, 8});
  const auto copy = x.clone();
  get_batch_augs(crop_and_flip(8))(x, keys(first(2)));
  EXPECT_TRUE(x.equal(copy));
}

} // namespace
} // namespace barlow
