// SPDX-License-Identifier: Apache-2.0
// Names and counts worked by hand.
#include <barlow/nn.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace barlow {
namespace {

TEST(Sequential, NestsAndNumbersItsChildren) {
  const Sequential inner(Conv2d(torch::nn::Conv2dOptions(1, 2, 3)), torch::nn::BatchNorm2d(2));
  Sequential outer;
  outer->push_back(inner);
  const auto entries = state_dict(*outer);
  ASSERT_EQ(entries.size(), 7U);
  EXPECT_EQ(entries[0].first, "0.0.weight");
  EXPECT_EQ(entries[6].first, "0.1.num_batches_tracked");
  EXPECT_EQ(count_parameters(*outer), 18 + 2 + 4);
  EXPECT_EQ(outer->forward(torch::rand({1, 1, 5, 5})).size(1), 2);
}

} // namespace
} // namespace barlow
