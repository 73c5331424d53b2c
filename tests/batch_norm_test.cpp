// SPDX-License-Identifier: Apache-2.0
// Another implementation as the reference, torch's, for one process; several are in distributed_oracle_test.
#include <barlow/batch_norm.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;

// Running statistics by a share of 0.3, and as the mean of all batches.
TEST(SyncedBatchNorm, EqualsTorchsForOneProcess) {
  torch::manual_seed(0);
  for (const std::optional<double> momentum : {std::optional(0.3), std::optional<double>()}) {
    const auto options = torch::nn::BatchNormOptions(3).momentum(momentum);
    torch::nn::BatchNorm1d theirs(options), ours(options);
    const BatchNormTensors tensors{
        ours->weight, ours->bias, ours->running_mean, ours->running_var, ours->num_batches_tracked};
    for (int64_t n = 5; n < 8; ++n) {
      const auto x = torch::randn({n, 3}) + static_cast<double>(n);
      const auto y = synced_batch_norm({}, x, tensors, options);
      EXPECT_TRUE(close_each(y, theirs(x), 0, 1e-6)); // float32, values of about 1
      EXPECT_TRUE(close_each(ours->running_mean, theirs->running_mean, 1e-6));
      EXPECT_TRUE(close_each(ours->running_var, theirs->running_var, 1e-6));
    }
  }
}

} // namespace
} // namespace barlow
