// SPDX-License-Identifier: Apache-2.0
// Long and large: barlow_load list PATH lists a data set, steps COUNT FOLDER trains a tiny model for that many steps
// with log and checkpoints, as one of several processes if a launcher started it. Each prints a JSON line, with the
// memory at several points (MB); run.py judges.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

#include "support/tiny_encoder.h"

namespace {

double megabytes(const std::string& what) { // VmRSS, now, or VmHWM, at most
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(what + ":")) {
      constexpr double kKilobyte = 1024, kMegabyte = 1e6;
      return std::stod(line.substr(what.size() + 1)) * kKilobyte / kMegabyte;
    }
  }
  return 0;
}

int list(const std::string& path) {
  const double before = megabytes("VmRSS");
  const auto start = std::chrono::steady_clock::now();
  const barlow::LoaderOptions options{.batch_size = 64, .num_workers = 0};
  const auto dls = std::filesystem::is_directory(path) ? barlow::DataLoaders::from_folder(path, options)
                                                       : barlow::DataLoaders::from_list(path, options);
  const double listed = megabytes("VmRSS");
  const auto stream = dls.train.epoch(0); // shuffles
  std::cout
      << fmt::format(
             R"({{"files": {}, "classes": {}, "seconds": {:.1f}, "before": {:.0f}, "listed": {:.0f}, "most": {:.0f}}})",
             dls.train.samples(),
             dls.classes.size(),
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
             before,
             listed,
             megabytes("VmHWM"))
      << '\n';
  return 0;
}

// Memory at twenty moments of the fit, the first after a twentieth of it.
class Memory : public barlow::Callback {
 public:
  explicit Memory(int64_t steps) : every_(std::max<int64_t>(1, steps / 20)) {}
  std::string name() const override {
    return "Memory";
  }
  void after_batch(barlow::Learner& learn) override {
    if (learn.training && learn.train_iter % every_ == 0 && learn.train_iter > 0) {
      megabytes_.push_back(fmt::format("{:.1f}", megabytes("VmRSS")));
    }
  }
  std::string json() const {
    return fmt::format("[{}]", fmt::join(megabytes_, ", "));
  }

 private:
  int64_t every_;
  std::vector<std::string> megabytes_;
};

int train(int64_t steps, const std::filesystem::path& folder) {
  constexpr int64_t kBatch = 48, kBatches = 100;
  auto group_options = barlow::process_group_from_environment();
  group_options.device = torch::kCPU;
  const barlow::ProcessGroup group(group_options);
  torch::manual_seed(0);
  const auto data = barlow::tensor_dataset(torch::rand({kBatch * kBatches, 1, 12, 12}));
  const barlow::DataLoaders dls(
      barlow::DataLoader(data, {.batch_size = kBatch, .shuffle = true, .drop_last = true, .num_workers = 1}));
  const auto model = barlow::create_barlow_twins_model(
      barlow::Encoder(std::make_shared<barlow::testing::TinyEncoder>()), {.hidden_size = 16, .projection_size = 16});
  barlow::Learner learn(dls, model, {.device = torch::kCPU, .progress = false, .process_group = group});
  learn.add(
      barlow::BarlowTwins(
          barlow::get_barlow_twins_aug_pipelines(
              {.size = 12, .rotate = false, .jitter = false, .bw = false, .stats = std::nullopt})));
  learn.add(barlow::JsonLog(folder / "log.jsonl"));
  constexpr int64_t kSaves = 50;
  learn.add(
      barlow::Checkpoints(
          {.folder = folder / "checkpoints", .every_epochs = 0, .every_steps = std::max<int64_t>(1, steps / kSaves)}));
  const auto& memory = learn.add(Memory(steps));
  const auto start = std::chrono::steady_clock::now();
  learn.fit(std::max<int64_t>(1, steps / kBatches), 1e-3);
  if (!group.is_main()) {
    return 0;
  }
  std::cout << fmt::format(
                   R"({{"steps": {}, "loss": {:.6f}, "seconds": {:.0f}, "megabytes": {}}})",
                   learn.train_iter,
                   learn.recorder.losses.back(),
                   std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                   memory.json())
            << '\n';
  return 0;
}

} // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "list") {
    return list(arguments[1]);
  }
  if (arguments.size() == 3 && arguments[0] == "steps") {
    return train(std::stoll(arguments[1]), arguments[2]);
  }
  std::cerr << "usage: barlow_load list FOLDER | steps COUNT FOLDER\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
