// SPDX-License-Identifier: Apache-2.0
// What numbers of threads change, and that a run repeats to the bit.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <barlow/augment/presets.h>
#include <barlow/batch_norm.h>
#include <barlow/callbacks/barlow_twins.h>
#include <barlow/conv.h>
#include <barlow/learner.h>
#include <barlow/loss.h>
#include <barlow/nn.h>

#include "conv_lowered.h"
#include "conv_winograd.h"
#include "support/keys.h"
#include "support/numbers.h"
#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;
namespace nn = torch::nn;

class Threads {
 public:
  explicit Threads(int number) : before_(at::get_num_threads()) {
    at::set_num_threads(number);
  }
  ~Threads() {
    at::set_num_threads(before_);
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

// Property: two threads give what one gives, within `tolerance` of each tensor's largest number, and twice the same
// bits.
void expect_any_threads(const std::function<std::vector<Tensor>()>& f, double tolerance) {
  const auto with = [&](int number) {
    const Threads threads(number);
    return f();
  };
  const auto one = with(1), two = with(2), again = with(2);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(close_to_scale(two[i], one[i], tolerance)) << i;
    EXPECT_TRUE(again[i].equal(two[i])) << i;
  }
}

// Tolerances: each result is as near to the exact one as RandomShapes says, and so, twice that, to the other.
TEST(ThreadCounts, HardlyChangeLossConvolutionAndNorm) {
  torch::manual_seed(60);
  const auto [z1, z2] = two_views(256, 384);
  const auto a = z1.to(torch::kFloat), b = z2.to(torch::kFloat);
  for (const auto route : kBothRoutes) {
    SCOPED_TRACE(fmt::format("loss, route {}", static_cast<int>(route)));
    expect_any_threads(
        [&, &u = a, &v = b] {
          const auto r = loss_and_gradients(u, v, route);
          return std::vector<Tensor>{torch::tensor(r.loss, torch::kDouble), r.g1, r.g2};
        },
        1e-5);
  }
  const auto gradients = [](const Tensor& y, const std::vector<Tensor>& leaves) {
    auto all = torch::autograd::grad({y.square().sum()}, leaves);
    all.push_back(y.detach());
    return all;
  };
  const auto weights = [](int64_t out, int64_t in) { return torch::randn({out, in, 3, 3}).requires_grad_(); };
  const auto few = torch::randn({16, 96, 2, 2}).requires_grad_(), few_w = weights(128, 96);
  const auto maps = torch::randn({16, 128, 8, 8}).requires_grad_(), maps_w = weights(128, 128);
  {
    SCOPED_TRACE("lowered convolution");
    expect_any_threads([&] { return gradients(lowered_conv2d(few, few_w, 1, 1), {few, few_w}); }, 2e-5);
  }
  {
    SCOPED_TRACE("Winograd's convolution");
    expect_any_threads([&] { return gradients(winograd_conv2d(maps, maps_w), {maps, maps_w}); }, 4e-5);
  }
  {
    SCOPED_TRACE("batch norm");
    const auto upstream = torch::randn_like(maps);
    expect_any_threads(
        [&] {
          const auto y = synced_batch_norm(ProcessGroup(), maps, {}, nn::BatchNormOptions(128));
          return gradients(y * upstream, {maps});
        },
        1e-5);
  }
}

// Property: to the bit, as pipeline.h says; the paper's, with its bicubic crops, and floats and levels.
TEST(ThreadCounts, ChangeNothingOfViews) {
  torch::manual_seed(61);
  const auto levels = torch::randint(256, {6, 3, 40, 36}, torch::kByte).contiguous(at::MemoryFormat::ChannelsLast);
  for (const auto& x : {levels, levels.to(torch::kFloat) / 255}) {
    for (const auto& pipeline : get_barlow_twins_paper_aug_pipelines({.size = 24})) {
      expect_any_threads([&] { return std::vector<Tensor>{pipeline(x, keys(first(6)))}; }, 0);
    }
  }
}

// A convolution by each of barlow::conv2d's ways, for 16 images of 8x8: LibTorch's, Winograd's, the lowered one.
// Smooth: at a ReLU's kink rounding would make steps.
class TinyEncoder : public EncoderImpl {
 public:
  TinyEncoder() : EncoderImpl({.name = "tiny", .n_in = 3, .num_features = 16}) {
    using Options = nn::Conv2dOptions;
    wide_ = register_module("wide", Conv2d(Options(3, 128, 3).padding(1)));
    norm_ = register_module("norm", BatchNorm2d(128));
    deep_ = register_module("deep", Conv2d(Options(128, 128, 3).padding(1)));
    last_ = register_module("last", Conv2d(Options(128, 16, 3).stride(4).padding(1)));
  }
  Tensor forward(const Tensor& x) override {
    const auto y = at::gelu(deep_->forward(at::gelu(norm_->forward(wide_->forward(x)))));
    return at::dropout(last_->forward(y).mean({2, 3}), 0.1, is_training());
  }

 private:
  Conv2d wide_{nullptr}, deep_{nullptr}, last_{nullptr};
  BatchNorm2d norm_{nullptr};
};

struct Trained {
  std::vector<Tensor> before, after; // parameters and running statistics
};

Trained train(int64_t steps, LearnerOptions options) {
  torch::manual_seed(70);
  const auto images = torch::rand({8 * steps, 3, 12, 12});
  const auto model = create_barlow_twins_model(
      Encoder(std::make_shared<TinyEncoder>()), {.hidden_size = 32, .projection_size = 16, .nlayers = 2});
  const auto copies = [&] {
    std::vector<Tensor> all;
    for (const auto& [name, tensor] : state_dict(*model)) {
      all.push_back(tensor.detach().clone());
    }
    return all;
  };
  Trained out{.before = copies(), .after = {}};
  Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 8, .shuffle = true})), model, std::move(options));
  learn.add(BarlowTwins(get_barlow_twins_aug_pipelines({.size = 8})));
  learn.fit(1);
  out.after = copies();
  return out;
}

// Property. SGD at rate 1, so that a step is the gradient. Allowed: 1e-4 of the largest step, for Winograd's rounding
// of 1e-5 goes through a norm, a loss of eight samples and back; and the rounding of the parameters, which are up to 2.
TEST(ThreadCounts, HardlyChangeAStep) {
  auto options = quiet();
  options.lr = 1;
  options.opt_func = [](const nn::Module& module) { return make_sgd(module); };
  const auto with = [&](int number) {
    const Threads threads(number);
    return train(1, options);
  };
  const auto one = with(1), two = with(2);
  double largest = 0;
  for (size_t i = 0; i < one.after.size(); ++i) {
    ASSERT_TRUE(one.before[i].equal(two.before[i])) << i;
    if (one.after[i].is_floating_point()) {
      largest = std::max(largest, (one.after[i] - one.before[i]).abs().max().item<double>());
    }
  }
  EXPECT_GT(largest, 1e-3);
  for (size_t i = 0; i < one.after.size(); ++i) {
    EXPECT_TRUE(close_each(two.after[i], one.after[i], 0, 1e-4 * largest + 2.5e-7)) << i;
  }
}

// Property: three steps with augmentations, dropout and Adam, at once and in micro-batches, to the bit.
TEST(Repeats, TrainingEndsWithTheSameBits) {
  const Threads threads(2);
  for (const int64_t micro_batch : {0, 4}) {
    auto options = quiet();
    options.micro_batch = micro_batch;
    const auto first_run = train(3, options), second_run = train(3, options);
    for (size_t i = 0; i < first_run.after.size(); ++i) {
      EXPECT_TRUE(second_run.after[i].equal(first_run.after[i])) << i << ", micro-batches of " << micro_batch;
    }
    EXPECT_FALSE(first_run.after[0].equal(first_run.before[0]));
  }
}

} // namespace
} // namespace barlow
