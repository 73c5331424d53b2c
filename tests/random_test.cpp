// SPDX-License-Identifier: Apache-2.0
// Properties of the keyed generator, and a stream written down.
#include <barlow/random.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

namespace barlow {
namespace {

TEST(KeyedRandom, IsAFunctionOfItsKey) {
  KeyedRandom a(1, 2, 3, 4, 5), b(1, 2, 3, 4, 5);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(a.uniform(), b.uniform());
  }
}

TEST(KeyedRandom, EveryPartOfTheKeyCounts) {
  std::set<double> values;
  for (const auto& k : std::vector<std::array<int64_t, 5>>{
           {0, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, {0, 1, 0, 0, 0}, {0, 0, 1, 0, 0}, {0, 0, 0, 1, 0}, {0, 0, 0, 0, 1}}) {
    values.insert(KeyedRandom(static_cast<uint64_t>(k[0]), k[1], k[2], k[3], k[4]).uniform());
  }
  EXPECT_EQ(values.size(), 6U);
}

TEST(KeyedRandom, UniformAndBelowFillTheirRanges) {
  constexpr int kDraws = 100000;
  std::array<int, 10> by_uniform{}, by_below{};
  KeyedRandom random(9, 0, 0, 0, 0);
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform(2, 3);
    ASSERT_TRUE(u >= 2 && u < 3);
    ++by_uniform[static_cast<size_t>((u - 2) * 10)];
    ++by_below[static_cast<size_t>(random.below(10))];
  }
  for (const auto& counts : {by_uniform, by_below}) {
    double chi2 = 0;
    for (const int c : counts) {
      chi2 += std::pow(c - kDraws / 10., 2) / (kDraws / 10.);
    }
    EXPECT_LT(chi2, 27.9); // 9 degrees of freedom, p = 0.001
  }
}

TEST(RandomPermutation, HoldsEveryNumberOnceAndChangesWithTheEpoch) {
  auto a = random_permutation(100, 1, 0);
  const auto b = random_permutation(100, 1, 1);
  EXPECT_EQ(a, random_permutation(100, 1, 0));
  EXPECT_NE(a, b);
  std::sort(a.begin(), a.end());
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(a[static_cast<size_t>(i)], i);
  }
  EXPECT_TRUE(random_permutation(0, 1, 0).empty());
}

// The stream is part of what makes runs repeat across versions; written down from the first release.
TEST(KeyedRandom, StreamStays) {
  EXPECT_EQ(random_permutation(8, 42, 0), (std::vector<int64_t>{1, 6, 2, 0, 5, 3, 4, 7}));
}

} // namespace
} // namespace barlow
