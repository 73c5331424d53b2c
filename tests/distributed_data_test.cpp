// SPDX-License-Identifier: Apache-2.0
// What each process gets of the batches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barlow/data.h>
#include <barlow/distributed.h>

#include "support/in_memory.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;

TEST(Shards, HaveEveryRowOnceWithTheSameViews) {
  torch::manual_seed(0);
  for (const int64_t samples : {5, 24, 29}) {
    const auto images = torch::rand({samples, 1, 6, 6});
    for (const bool shuffle : {false, true}) {
      const auto whole = tensor_loader(images, {.batch_size = 8, .shuffle = shuffle, .num_workers = 2});
      for (const int64_t count : {1, 2, 3, 4, 7}) {
        std::vector<BatchStream> streams;
        streams.reserve(static_cast<size_t>(count));
        for (int64_t rank = 0; rank < count; ++rank) {
          streams.push_back(whole.shard({.rank = rank, .count = count}).epoch(3));
        }
        auto all = whole.epoch(3);
        while (auto batch = all.next()) {
          std::vector<Tensor> rows;
          std::vector<int64_t> index;
          for (auto& stream : streams) {
            const auto part = stream.next();
            ASSERT_TRUE(part.has_value());
            EXPECT_LE(part->size(), (batch->size() + count - 1) / count);
            EXPECT_EQ(part->first, batch->first);
            rows.push_back(part->x);
            index.insert(index.end(), part->index.begin(), part->index.end());
          }
          EXPECT_EQ(index, batch->index);
          EXPECT_TRUE(at::cat(rows).equal(batch->x));
        }
        for (auto& stream : streams) {
          EXPECT_FALSE(stream.next().has_value());
        }
      }
    }
  }
}

// Numbers as images; those in `bad` cannot be had.
class Counted : public StreamDataset {
 public:
  Counted(int64_t announced, int64_t there) : announced_(announced), there_(there) {}
  int64_t size() const override {
    return announced_;
  }
  std::unique_ptr<SampleStream> stream(uint64_t, int64_t, bool) const override {
    class Stream : public SampleStream {
     public:
      explicit Stream(int64_t there) : there_(there) {}
      std::optional<Item> next() override {
        if (at_ == there_) {
          return std::nullopt;
        }
        const auto number = at_++;
        return Item{.index = number, .sample = {torch::full({1, 2, 2}, static_cast<double>(number))}};
      }

     private:
      int64_t at_ = 0, there_;
    };
    return std::make_unique<Stream>(there_);
  }

 private:
  int64_t announced_, there_;
};

TEST(Shards, OfAStreamThatEndsEarlyEndTogether) {
  for (const bool drop_last : {false, true}) {
    for (const int64_t there : {17, 18, 23}) {
      const DataLoader whole(
          std::make_shared<Counted>(30, there), {.batch_size = 8, .drop_last = drop_last, .num_workers = 1});
      auto all = whole.epoch(0), first = whole.shard({.rank = 0, .count = 2}).epoch(0),
           second = whole.shard({.rank = 1, .count = 2}).epoch(0);
      while (const auto batch = all.next()) {
        const auto a = first.next(), b = second.next();
        ASSERT_TRUE(a && b);
        EXPECT_TRUE(at::cat({a->x, b->x}).equal(batch->x));
      }
      EXPECT_FALSE(first.next() || second.next());
    }
  }
}

class HalfBroken : public TensorDataset {
 public:
  using TensorDataset::TensorDataset;
  Sample get(int64_t index) const override {
    return index < 4 ? throw Error("broken") : TensorDataset::get(index);
  }
};

TEST(Shards, OfAStreamWithFewerRowsThanProcesses) {
  for (const int64_t workers : {0, 3}) {
    const DataLoader whole(std::make_shared<Counted>(9, 9), {.batch_size = 8, .num_workers = workers});
    std::vector<int64_t> rows;
    for (int64_t rank = 0; rank < 8; ++rank) {
      auto stream = whole.shard({.rank = rank, .count = 8}).epoch(0);
      EXPECT_EQ(stream.next()->size(), 1);
      const auto last = stream.next();
      ASSERT_TRUE(last.has_value());
      EXPECT_EQ(last->x.sizes().slice(1), (std::vector<int64_t>{1, 2, 2}));
      EXPECT_EQ(last->x.size(0), last->size());
      rows.push_back(last->size());
    }
    EXPECT_EQ(rows, (std::vector<int64_t>{0, 0, 0, 0, 0, 0, 0, 1}));
  }
}

TEST(Shards, WithoutAGoodSampleHaveNoRows) {
  const DataLoader whole(
      std::make_shared<HalfBroken>(torch::rand({8, 3, 5, 5})), {.batch_size = 8, .num_workers = 1, .max_bad = 1});
  const auto part = whole.shard({.rank = 0, .count = 2}).epoch(0).next();
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->size(), 0);
  EXPECT_EQ(part->x.sizes(), (std::vector<int64_t>{0, 3, 5, 5}));
  EXPECT_FALSE(part->y.defined());
  EXPECT_EQ(whole.shard({.rank = 1, .count = 2}).epoch(0).next()->size(), 4);

  const DataLoader labelled(
      std::make_shared<HalfBroken>(torch::rand({8, 3, 5, 5}), torch::arange(8)),
      {.batch_size = 8, .num_workers = 1, .max_bad = 1});
  const auto y = labelled.shard({.rank = 0, .count = 2}).epoch(0).next()->y;
  EXPECT_TRUE(y.defined() && y.numel() == 0);
}

} // namespace
} // namespace barlow
