// SPDX-License-Identifier: Apache-2.0
// A short training run, of one or several processes, that can be killed at any moment and started again: kill.py and
// kill_rank.py do so.
#include <csignal>
#include <cstdlib>
#include <iostream>

#include <torch/torch.h>

#include <barlow/barlow.h>

#include "support/tiny_encoder.h"

namespace {

// Noise images, the same in every process.
class Noise : public barlow::Dataset {
 public:
  int64_t size() const override {
    return images_.size(0);
  }
  barlow::Sample get(int64_t index) const override {
    return {.image = images_[index]};
  }

 private:
  torch::Tensor images_ = [] {
    torch::manual_seed(1);
    return torch::rand({48, 1, 32, 32});
  }();
};

// Dies in the first attempt of a launcher at the step that BARLOW_CRASH_AT names, if it is not rank 0.
class Dies : public barlow::Callback {
 public:
  std::string name() const override {
    return "Dies";
  }
  void before_batch(barlow::Learner& learn) override {
    const char* step = std::getenv("BARLOW_CRASH_AT");
    const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
    if (step != nullptr && attempt != nullptr && *attempt == '0' && !learn.options.process_group.is_main() &&
        learn.train_iter == std::atoll(step)) {
      std::raise(SIGKILL);
    }
  }
};

barlow::ProcessGroup process_group() {
  auto options = barlow::process_group_from_environment();
  options.device = torch::kCPU;
  options.connect_timeout = 15;
  options.death_after = 2;
  return barlow::ProcessGroup(options);
}

} // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: barlow_crash FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const auto group = process_group();
  const auto data = std::make_shared<Noise>();
  const barlow::DataLoaders dls(
      barlow::DataLoader(data, {.batch_size = 8, .shuffle = true, .drop_last = true, .num_workers = 2}),
      barlow::DataLoader(data, {.batch_size = 16}));
  torch::manual_seed(0);
  const auto model = barlow::create_barlow_twins_model(
      barlow::Encoder(std::make_shared<barlow::testing::TinyEncoder>(/*dropout=*/0.2)),
      {.hidden_size = 32, .projection_size = 32});
  barlow::Learner learn(dls, model, {.device = torch::kCPU, .progress = false, .process_group = group});
  learn.add(
      barlow::BarlowTwins(
          barlow::get_barlow_twins_aug_pipelines(
              {.size = 32, .rotate = false, .jitter = false, .bw = false, .stats = std::nullopt})));
  learn.add(barlow::Ema());
  learn.add(barlow::JsonLog(folder / "log.jsonl"));
  learn.add(
      barlow::Checkpoints(
          {.folder = folder / "checkpoints", .resume = barlow::Resume::Auto, .every_steps = 1, .keep = 3}));
  learn.add(Dies());
  learn.fit_one_cycle(40, 0.01);
  if (group.is_main()) {
    barlow::save_weights(*model, folder / "model.safetensors");
  }
} catch (const barlow::Interrupted& e) {
  std::cerr << e.what() << '\n';
  return barlow::kExitInterrupted;
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
