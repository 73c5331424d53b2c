// SPDX-License-Identifier: Apache-2.0
// Checkpointed networks against themselves without checkpointing, one of each family, to the bit.
#include <barlow/gradient_checkpointing.h>

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/nn.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

struct Outcome {
  Tensor output, generator;
  std::vector<std::pair<std::string, Tensor>> tensors; // gradients, running statistics
};

// Two steps, so that the second one sees what the first left in the buffers.
Outcome train(const std::string& name, int64_t nchunks) {
  torch::manual_seed(0);
  const std::set<std::string> plain{"densenet121", "fastai:squeezenet1_1", "vgg11_bn"};
  const bool residual = plain.count(name) == 0;
  auto encoder =
      create_encoder(name, {.drop_rate = 0.1, .drop_path_rate = residual ? 0.1 : 0, .checkpoint_nchunks = nchunks});
  encoder->train();
  const auto size = encoder->info().fixed_size ? encoder->info().input_size : 64;
  const auto x = torch::rand({2, 3, size, size});
  Outcome out;
  for (int step = 0; step < 2; ++step) {
    out.output = encoder->forward(x);
    (out.output * torch::linspace(-1, 1, out.output.size(1))).sum().backward();
  }
  for (const auto& item : encoder->named_parameters()) {
    out.tensors.emplace_back("gradient of " + item.key(), item.value().grad().clone());
  }
  for (const auto& item : encoder->named_buffers()) {
    out.tensors.emplace_back(item.key(), item.value().clone());
  }
  out.generator = torch::rand({3}); // where the random numbers are
  return out;
}

class Checkpointing : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(
    Families,
    Checkpointing,
    ::testing::Values(
        "convnext_atto",
        "densenet121",
        "efficientnet_b0",
        "mixer_s32_224",
        "regnetx_002",
        "resnet18",
        "resnetv2_50",
        "legacy_seresnet18",
        "swin_tiny_patch4_window7_224",
        "fastai:squeezenet1_1",
        "vgg11_bn",
        "vit_tiny_patch16_224",
        "xresnet18"),
    [](const auto& test) {
      std::string name = test.param;
      std::replace(name.begin(), name.end(), ':', '_');
      return name;
    });

TEST_P(Checkpointing, ChangesNothing) {
  const auto plain = train(GetParam(), 0);
  for (const int64_t nchunks : {2, 4}) {
    const auto with = train(GetParam(), nchunks);
    EXPECT_TRUE(with.output.equal(plain.output));
    EXPECT_TRUE(with.generator.equal(plain.generator));
    ASSERT_EQ(with.tensors.size(), plain.tensors.size());
    for (size_t i = 0; i < plain.tensors.size(); ++i) {
      EXPECT_TRUE(with.tensors[i].second.equal(plain.tensors[i].second)) << plain.tensors[i].first;
    }
  }
}

// A tensor between two segments is kept alive by autograd unless its segment is computed again.
TEST(CheckpointSequential, KeepsTheInputsOfChunksAlone) {
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> made;
  std::vector<Segment> segments;
  segments.reserve(8);
  for (int i = 0; i < 8; ++i) {
    segments.push_back({"square", [&](const Tensor& x) {
                          auto y = x.square() + 1;
                          made.push_back(y.storage().getWeakStorageImpl());
                          return y;
                        }});
  }
  const auto kept = [&](int64_t nchunks) {
    made.clear();
    const auto x = torch::rand({8}).requires_grad_();
    const auto y = checkpoint_sequential(segments, nchunks, x, {});
    int64_t n = 0;
    for (const auto& weak : made) {
      n += weak.expired() ? 0 : 1;
    }
    return n;
  };
  EXPECT_EQ(kept(1), 8);
  EXPECT_EQ(kept(4), 5); // three borders, two of the last chunk
}

TEST(CheckpointSequential, BadInputIsNamed) {
  EXPECT_THAT(error_of([] { checkpoint_sequential({}, 2, torch::ones({1}), {}); }), HasSubstr("at least one segment"));
  const std::vector<Segment> one{{"same", [](const Tensor& x) { return x; }}};
  EXPECT_THAT(error_of([&] { checkpoint_sequential(one, 0, torch::ones({1}), {}); }), HasSubstr("nchunks"));
  EXPECT_THAT(error_of([] { create_encoder("resnet18", {.checkpoint_nchunks = -1}); }), HasSubstr("nchunks"));
}

TEST(Stems, ForSmallImages) {
  const auto shape = [](StemType stem) {
    auto encoder = create_encoder("resnet18", {.stem = stem});
    return encoder->segments()[0].forward(torch::rand({1, 3, 32, 32})).sizes().vec();
  };
  EXPECT_EQ(shape(StemType::Network), (std::vector<int64_t>{1, 64, 8, 8}));
  EXPECT_EQ(shape(StemType::Small), (std::vector<int64_t>{1, 64, 32, 32}));
  EXPECT_EQ(shape(StemType::SmallPadded), (std::vector<int64_t>{1, 64, 34, 34}));
  auto linear = create_encoder("resnet18", {.stem = StemType::SmallLinear});
  EXPECT_LT(linear->segments()[0].forward(torch::rand({1, 3, 32, 32})).min().item<double>(), 0); // no ReLU
  EXPECT_EQ(linear->info().first_conv, "conv1");
  EXPECT_THAT(error_of([] { create_encoder("vgg11", {.stem = StemType::Small}); }), HasSubstr("one stem"));
}

} // namespace
} // namespace barlow
