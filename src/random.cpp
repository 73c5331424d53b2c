// SPDX-License-Identifier: Apache-2.0
#include <barlow/random.h>

#include <numeric>

#include "check.h"

namespace barlow {
namespace {

// The counter of Philox has 128 bits: the sample's index takes 64, the rest are shared so that no two streams meet:
// epoch 32, view 8, operation 8, and 16 for the numbers drawn (2^16 blocks of four).
uint64_t stream_offset(int64_t epoch, int64_t view, int64_t operation) {
  return (static_cast<uint64_t>(epoch) << 32) | ((static_cast<uint64_t>(view) & 0xff) << 24) |
      ((static_cast<uint64_t>(operation) & 0xff) << 16);
}

constexpr int64_t kShuffleView = 0xff;

} // namespace

KeyedRandom::KeyedRandom(uint64_t seed, int64_t epoch, int64_t index, int64_t view, int64_t operation)
    : engine_(seed, static_cast<uint64_t>(index), stream_offset(epoch, view, operation)) {}

uint64_t KeyedRandom::bits() {
  const uint64_t high = engine_();
  return (high << 32) | engine_();
}

double KeyedRandom::uniform() {
  return static_cast<double>(bits() >> 11) * 0x1.0p-53;
}

double KeyedRandom::uniform(double low, double high) {
  return low + (high - low) * uniform();
}

int64_t KeyedRandom::below(int64_t n) {
  return static_cast<int64_t>(uniform() * static_cast<double>(n)); // exact to n / 2^53
}

bool KeyedRandom::bernoulli(double p) {
  return uniform() < p;
}

std::vector<int64_t> random_permutation(int64_t n, uint64_t seed, int64_t epoch) {
  check(n >= 0, "random_permutation", "n must not be negative, received {}", n);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i > 0; --i) {
    KeyedRandom random(seed, epoch, i, kShuffleView, 0);
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.below(i + 1))]);
  }
  return order;
}

} // namespace barlow
