// SPDX-License-Identifier: Apache-2.0
// A Learner in several processes trains as it does in one.
#include <filesystem>
#include <map>
#include <mutex>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/checkpoints.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/distributed.h>
#include <barlow/learner.h>

#include "support/in_memory.h"
#include "support/oracle.h"
#include "support/ranks.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace nn = torch::nn;

struct Trained {
  std::vector<double> losses, valid;
  std::vector<Tensor> parameters;
};

Trained train(
    const ProcessGroup& group,
    BarlowTwinsModel model,
    const DataLoaders& dls,
    std::vector<Pipeline> pipelines,
    int64_t epochs,
    LearnerOptions options = {},
    const std::function<void(Learner&)>& prepare = {}) {
  options.device = torch::kCPU;
  options.progress = false;
  options.process_group = group;
  if (!options.opt_func) {
    options.opt_func = [](const nn::Module& m) { return make_sgd(m, {.momentum = 0.9, .weight_decay = 1e-4}); };
  }
  Learner learn(dls, std::move(model), options);
  learn.add(BarlowTwins(std::move(pipelines)));
  if (prepare) {
    prepare(learn);
  }
  learn.fit(epochs);
  Trained out{.losses = learn.recorder.raw_losses, .valid = {}, .parameters = {}};
  for (const auto& line : learn.recorder.values) {
    out.valid.push_back(line.valid_loss.value_or(-1));
  }
  for (const auto& p : learn.model->parameters()) {
    out.parameters.push_back(p.detach().clone());
  }
  return out;
}

double largest_gap(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]) / std::abs(b[i]));
  }
  return largest;
}

// Training with every number of processes, told by one with all rows.
void expect_the_same(
    const std::vector<int64_t>& sizes,
    const std::function<Trained(const ProcessGroup&)>& run,
    double tolerance) {
  const auto alone = run(ProcessGroup());
  for (const auto size : sizes) {
    as_ranks(size, [&](const ProcessGroup& group) {
      const auto together = run(group);
      EXPECT_LT(largest_gap(together.losses, alone.losses), tolerance) << size;
      EXPECT_LT(largest_gap(together.valid, alone.valid), tolerance) << size;
      for (size_t i = 0; i < alone.parameters.size(); ++i) {
        const auto& a = alone.parameters[i];
        EXPECT_TRUE(close_each(together.parameters[i], a, 0, tolerance * a.abs().max().item<double>() + 1e-30)) << i;
      }
    });
  }
}

BarlowTwinsModel double_model(const std::string& encoder, int64_t width, int64_t checkpoint_nchunks = 0) {
  auto model = create_barlow_twins_model(
      create_encoder(encoder, {.n_in = 1, .checkpoint_nchunks = checkpoint_nchunks}),
      {.hidden_size = width, .projection_size = width});
  model->to(torch::kDouble);
  fill_by_name(*model);
  return model;
}

BarlowTwinsModel small_double_model() {
  auto model = small_model();
  model->to(torch::kDouble);
  fill_by_name(*model);
  return model;
}

// The last batch for validation has 5 - 4 = 1 row, which is left out, or 7 - 4 = 3, fewer than some groups.
// Threads share torch's generator, so that these are not drawn from it.
DataLoaders small_double_data(int64_t valid = 7) {
  return DataLoaders(
      tensor_loader(hashed("train", {60, 1, 6, 6}) + 0.5, {.batch_size = 12, .shuffle = true, .drop_last = true}),
      tensor_loader(hashed("valid", {valid, 1, 6, 6}) + 0.5, {.batch_size = 4}));
}

TEST(DistributedLearner, TwentyStepsAreThoseOfOneProcess) {
  const auto run = [](const ProcessGroup& group) {
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 4, {.lr = 1e-3});
  };
  expect_the_same({2, 3, 4, 6}, run, 1e-11);
}

TEST(DistributedLearner, SoAreMoreThanAReducerLives) { // 1010 steps
  const auto run = [](const ProcessGroup& group) {
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 202, {.lr = 1e-4});
  };
  expect_the_same({2}, run, 1e-9);
}

TEST(DistributedLearner, AlsoOfXResNet) {
  const auto images = hashed("images", {24, 1, 40, 40}) + 0.5;
  const auto pipelines =
      get_barlow_twins_aug_pipelines({.size = 32, .jitter = false, .bw = false, .stats = std::nullopt});
  const auto run = [&](const ProcessGroup& group) {
    const DataLoaders dls(tensor_loader(images, {.batch_size = 12, .shuffle = true, .drop_last = true}));
    return train(group, double_model("xresnet18", 64), dls, pipelines, 10, {.lr = 1e-4});
  };
  expect_the_same({2, 3}, run, 1e-9);
}

TEST(DistributedLearner, AlsoInMicroBatchesWithAccumulationAndCheckpointing) {
  const auto run = [](const ProcessGroup& group) {
    auto accumulate = [](Learner& learn) { learn.add(GradientAccumulation(24)); };
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 2, {.lr = 1e-3}, accumulate);
  };
  expect_the_same({2, 3}, run, 1e-11);

  const auto images = hashed("images", {24, 1, 32, 32}) + 0.5;
  const auto resnet = [&](const ProcessGroup& group, int64_t nchunks, int64_t micro_batch) {
    const DataLoaders dls(tensor_loader(images, {.batch_size = 12, .drop_last = true}));
    const auto pipelines =
        get_barlow_twins_aug_pipelines({.size = 32, .jitter = false, .bw = false, .stats = std::nullopt});
    auto model = double_model("resnet10t", 16, nchunks);
    return train(group, std::move(model), dls, pipelines, 2, {.lr = 1e-4, .micro_batch = micro_batch});
  };
  expect_the_same({2, 3}, [&](const ProcessGroup& group) { return resnet(group, 3, 0); }, 1e-9);
  // Batch norms see parts of 8 rows in all, whoever has them.
  expect_the_same({2}, [&](const ProcessGroup& group) { return resnet(group, 0, 8 / group.size()); }, 1);
}

TEST(DistributedLearner, EveryProcessHasTheSameParametersToTheBit) {
  const auto data = small_data(60, 7, 12);
  std::mutex mutex;
  std::vector<std::vector<Tensor>> all;
  as_ranks(3, [&](const ProcessGroup& group) {
    auto trained = train(group, small_model(), data, small_pipelines(), 3);
    const std::lock_guard lock(mutex);
    all.push_back(trained.parameters);
  });
  for (size_t r = 1; r < all.size(); ++r) {
    for (size_t i = 0; i < all[r].size(); ++i) {
      EXPECT_TRUE(all[r][i].equal(all[0][i]));
    }
  }
}

TEST(DistributedLearner, TakesRankZerosParameters) {
  as_ranks(2, [](const ProcessGroup& group) {
    auto model = small_double_model();
    const torch::NoGradGuard no_grad;
    model->projector->parameters()[0].mul_(group.rank() + 1);
    const auto expected = small_double_model()->projector->parameters()[0].clone();
    LearnerOptions options = quiet();
    options.process_group = group;
    options.lr = 1e-30;
    Learner learn(small_double_data(), model, options);
    learn.add(BarlowTwins(small_pipelines()));
    const torch::AutoGradMode with_grad(true);
    learn.fit(1);
    EXPECT_TRUE(close_each(model->projector->parameters()[0].detach(), expected, 1e-12));
  });
}

TEST(DistributedLearner, UnusedParametersKeepNoGradient) {
  class Half : public EncoderImpl {
   public:
    Half() : EncoderImpl({.name = "half", .n_in = 1, .num_features = 6}) {
      used_ = register_module("used", nn::Linear(16, 6));
      unused_ = register_module("unused", nn::Linear(16, 6));
    }
    Tensor forward(const Tensor& x) override {
      return used_->forward(x.flatten(1));
    }

   private:
    nn::Linear used_{nullptr}, unused_{nullptr};
  };
  const auto run = [](const ProcessGroup& group) {
    auto model = create_barlow_twins_model(Encoder(std::make_shared<Half>()), {.hidden_size = 8, .projection_size = 4});
    model->to(torch::kDouble);
    fill_by_name(*model);
    return train(group, model, small_double_data(), small_pipelines(), 1, {.lr = 1e-3});
  };
  expect_the_same({2}, run, 1e-11);
}

TEST(DistributedLearner, SkipsTheStepTogetherWhenOneHasABadImage) {
  as_ranks(2, [](const ProcessGroup& group) {
    auto images = (hashed("images", {24, 1, 6, 6}) + 0.5).to(torch::kFloat);
    images[0].fill_(std::nan(""));
    LearnerOptions options = quiet();
    options.process_group = group;
    options.non_finite = NonFinite::Skip;
    Learner learn(DataLoaders(tensor_loader(images, {.batch_size = 8})), small_model(), options);
    learn.add(BarlowTwins(small_pipelines()));
    learn.fit(1);
    EXPECT_EQ(learn.skipped, 1);
    EXPECT_EQ(learn.recorder.raw_losses.size(), 2U);
  });
}

TEST(DistributedLearner, GoesOnFromACheckpointToTheBit) {
  for (const int64_t size : {2, 3}) {
    const auto data = small_data(60, 7, 12);
    const auto folder = std::filesystem::temp_directory_path() / fmt::format("barlow_dist_{}_{}", ::getpid(), size);
    std::filesystem::remove_all(folder);
    std::mutex mutex;
    std::map<int64_t, std::vector<Tensor>> whole, resumed;
    const auto fit = [&](const ProcessGroup& group, const std::filesystem::path& to, Resume resume, bool cut) {
      LearnerOptions options = quiet();
      options.process_group = group;
      Learner learn(data, small_model(), options);
      learn.add(BarlowTwins(small_pipelines()));
      learn.add(Checkpoints({.folder = to, .resume = resume, .every_steps = 1, .keep = 100, .signals = false}));
      learn.fit(3);
      if (cut && group.is_main()) { // as if the run had ended at step 7
        for (int step = 8; step <= 15; ++step) {
          std::filesystem::remove(to / fmt::format("step-{:09}.safetensors", step));
        }
      }
      std::vector<Tensor> parameters;
      for (const auto& p : learn.model->parameters()) {
        parameters.push_back(p.detach().clone());
      }
      return parameters;
    };
    as_ranks(size, [&](const ProcessGroup& group) {
      auto parameters = fit(group, folder, Resume::Never, true);
      const std::lock_guard lock(mutex);
      whole[group.rank()] = std::move(parameters);
    });
    as_ranks(size, [&](const ProcessGroup& group) {
      // Only rank 0 has the folder.
      auto parameters = fit(group, group.is_main() ? folder : folder / "elsewhere", Resume::Auto, false);
      const std::lock_guard lock(mutex);
      resumed[group.rank()] = std::move(parameters);
    });
    for (const auto& [rank, parameters] : whole) {
      for (size_t i = 0; i < parameters.size(); ++i) {
        EXPECT_TRUE(parameters[i].equal(resumed[rank][i])) << rank << ' ' << i;
      }
    }
    std::filesystem::remove_all(folder);
  }
}

TEST(DistributedLearner, GoesOnWithAnotherNumberOfProcesses) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("barlow_other_number_{}", ::getpid());
  std::filesystem::remove_all(folder);
  const auto checkpointed = [&](int64_t every) {
    return [folder, every](Learner& learn) {
      learn.add(Checkpoints(
          {.folder = folder,
           .resume = every > 0 ? Resume::Never : Resume::Auto,
           .every_epochs = 0,
           .every_steps = every,
           .keep = 9,
           .signals = false}));
    };
  };
  const auto run = [](const ProcessGroup& group, const std::function<void(Learner&)>& prepare = {}) {
    return train(group, small_double_model(), small_double_data(), small_pipelines(), 2, {.lr = 1e-3}, prepare);
  };
  const auto whole = run(ProcessGroup());
  as_ranks(2, [&](const ProcessGroup& group) { run(group, checkpointed(4)); });
  for (const int step : {8, 10}) {
    std::filesystem::remove(folder / fmt::format("step-{:09}.safetensors", step));
  }
  as_ranks(3, [&](const ProcessGroup& group) {
    const auto resumed = run(group, checkpointed(0));
    EXPECT_EQ(resumed.losses.size(), 10U);
    EXPECT_LT(largest_gap(resumed.losses, whole.losses), 1e-11);
    for (size_t i = 0; i < whole.parameters.size(); ++i) {
      EXPECT_TRUE(close_each(resumed.parameters[i], whole.parameters[i], 0, 1e-11)) << i;
    }
  });
  std::filesystem::remove_all(folder);
}

TEST(DistributedLearner, GoesOnInTheMiddleOfAnAccumulation) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("barlow_accumulated_{}", ::getpid());
  std::filesystem::remove_all(folder);
  const auto run = [&](const ProcessGroup& group, std::optional<Resume> resume) {
    return train(
        group, small_double_model(), small_double_data(), small_pipelines(), 2, {.lr = 1e-3}, [&](Learner& learn) {
          learn.add(GradientAccumulation(24));
          if (resume) {
            learn.add(
                Checkpoints({.folder = folder, .resume = *resume, .every_steps = 1, .keep = 99, .signals = false}));
          }
        });
  };
  const auto whole = run(ProcessGroup(), std::nullopt);
  as_ranks(2, [&](const ProcessGroup& group) { run(group, Resume::Never); });
  for (int step = 6; step <= 10; ++step) { // step 5 is the first of a pair
    std::filesystem::remove(folder / fmt::format("step-{:09}.safetensors", step));
  }
  as_ranks(3, [&](const ProcessGroup& group) {
    const auto resumed = run(group, Resume::Auto);
    EXPECT_LT(largest_gap(resumed.losses, whole.losses), 1e-11);
    for (size_t i = 0; i < whole.parameters.size(); ++i) {
      EXPECT_TRUE(close_each(resumed.parameters[i], whole.parameters[i], 0, 1e-11)) << i;
    }
  });
  std::filesystem::remove_all(folder);
}

TEST(DistributedErrors, OptionsThatDifferAreNamed) {
  std::mutex mutex;
  std::map<int64_t, std::string> errors;
  const auto data = small_data(12, 5, 4);
  as_ranks(2, [&](const ProcessGroup& group) {
    LearnerOptions options = quiet();
    options.process_group = group;
    options.lr = group.rank() == 1 ? 0.5 : 0.25;
    Learner learn(data, small_model(), options);
    learn.add(BarlowTwins(small_pipelines()));
    auto error = error_of([&] { learn.fit(1); });
    const std::lock_guard lock(mutex);
    errors[group.rank()] = std::move(error);
  });
  for (const auto rank : {0, 1}) {
    EXPECT_THAT(errors[rank], HasSubstr("[Learner::fit] the run must be the same in all processes"));
    EXPECT_THAT(errors[rank], HasSubstr("fit at 0.25"));
    EXPECT_THAT(errors[rank], HasSubstr("fit at 0.5"));
    EXPECT_THAT(errors[rank], HasSubstr("from rank 1"));
  }
}

TEST(DistributedErrors, BatchThatCannotBeDivided) {
  as_ranks(3, [](const ProcessGroup& group) {
    LearnerOptions options = quiet();
    options.process_group = group;
    const auto error = error_of([&] { const Learner learn(small_data(12, 5, 4), small_model(), options); });
    EXPECT_THAT(error, HasSubstr("must be a multiple of their number, received 4 and 3; take 6"));
  });
}

} // namespace
} // namespace barlow
