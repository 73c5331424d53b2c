// SPDX-License-Identifier: Apache-2.0
// An encoder goes into a file and comes out as what it was.
#include <barlow/feature_extractor.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/image.h>
#include <barlow/weights.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;

TEST(FeatureExtractor, GivesTheEncodersFeatures) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "encoder.safetensors";
  for (const auto& options :
       {EncoderOptions{.n_in = 1},
        EncoderOptions{.n_in = 3, .pool_type = PoolingType::Max},
        EncoderOptions{.n_in = 1, .pool_type = std::nullopt, .stem = StemType::Small}}) {
    auto encoder = create_encoder("resnet18", options);
    Stats stats{std::vector<double>(options.n_in, 0.25), std::vector<double>(options.n_in, 0.5)};
    save_encoder(encoder, file, {.size = 32, .stats = stats, .metadata = {{"recipe", "mine"}}});
    const FeatureExtractor features(file, {.device = torch::kCPU});
    EXPECT_EQ(features.size(), 32);
    EXPECT_EQ(features.metadata().at("recipe"), "mine");
    const auto images = (hashed("images", {3, options.n_in, 32, 32}) + 0.5).mul(255).to(torch::kByte);
    const torch::NoGradGuard no_grad;
    encoder->eval();
    const auto expected = encoder->forward((images.to(torch::kFloat) / 255 - 0.25) / 0.5);
    EXPECT_TRUE(close_each(features(images), expected, 0, 1e-5));
    EXPECT_TRUE(close_each(features(images.to(torch::kFloat) / 255), expected, 0, 1e-5));

    std::vector<std::filesystem::path> files;
    for (int64_t i = 0; i < 3; ++i) {
      files.push_back(folder.path() / (std::to_string(i) + ".png"));
      write_png(files.back(), images[i]);
    }
    EXPECT_TRUE(close_each(features(files), expected, 0, 1e-5));
  }
}

TEST(FeatureExtractor, BadInputIsNamed) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "encoder.safetensors";
  const auto message = [&] { return error_of([&] { FeatureExtractor(file, {.device = torch::kCPU}); }); };
  EXPECT_THAT(message(), HasSubstr("does not exist"));
  auto encoder = create_encoder("resnet18", {.n_in = 1});
  save_weights(*encoder, file);
  EXPECT_THAT(message(), HasSubstr("does not tell its 'encoder'; it must be a file of save_encoder"));
  std::map<std::string, std::string> good{
      {"encoder", "resnet18"}, {"n_in", "1"}, {"pool", "default"}, {"stem", "network"}, {"size", "32"}};
  const auto with = [&](const std::string& key, const std::string& value) {
    auto metadata = good;
    metadata[key] = value;
    save_weights(*encoder, file, metadata);
    return message();
  };
  EXPECT_THAT(with("n_in", "many"), HasSubstr("n_in of 'many', which is no number"));
  EXPECT_THAT(with("n_in", "1000000000"), HasSubstr("n_in"));
  EXPECT_THAT(with("pool", "mean"), HasSubstr("there are fast, avg"));
  EXPECT_THAT(with("encoder", "resnet"), HasSubstr("unknown encoder"));
  EXPECT_THAT(with("encoder", "resnet34"), HasSubstr("missing: "));
  EXPECT_THAT(with("encoder", "network.pt"), HasSubstr("brings its own weights")); // a program: not even opened
  EXPECT_THAT(with("size", ""), HasSubstr("empty size"));
  EXPECT_THAT(with("size", "100000"), HasSubstr("has a size of 100000"));

  save_encoder(encoder, file, {.size = 32});
  const FeatureExtractor features(file, {.device = torch::kCPU});
  EXPECT_EQ(features(std::vector<std::filesystem::path>{}).sizes(), (std::vector<int64_t>{0, 1024}));
  EXPECT_THAT(error_of([&] { features({folder.path() / "none.png"}); }), HasSubstr("none.png"));
  EXPECT_THAT(error_of([&] { features(torch::rand({1, 32, 32})); }), HasSubstr("images must be [N,C,H,W]"));
  EXPECT_THAT(error_of([&] { features(torch::rand({1, 3, 32, 32})); }), HasSubstr("takes [N,1,H,W]"));
  EXPECT_THAT(
      error_of([&] { save_encoder(encoder, file, {.metadata = {{"n_in", "2"}}}); }), HasSubstr("another 'n_in'"));
}

} // namespace
} // namespace barlow
