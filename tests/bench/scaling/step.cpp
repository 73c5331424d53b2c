// SPDX-License-Identifier: Apache-2.0
// Training steps of the documented page's model by the processes that the environment tells of: rank 0 prints the
// median time of a step and the bytes that a process gave to collective operations in it. scaling.py starts it.
#include <chrono>
#include <iostream>

#include <fmt/format.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

namespace {

class Images : public barlow::Dataset {
 public:
  explicit Images(int64_t count) : images_(torch::rand({count, 1, 28, 28})) {}
  int64_t size() const override {
    return images_.size(0);
  }
  barlow::Sample get(int64_t index) const override {
    return {.image = images_[index]};
  }

 private:
  torch::Tensor images_;
};

class Steps : public barlow::Callback {
 public:
  std::string name() const override {
    return "Steps";
  }
  int order() const override {
    return 100;
  }
  void after_batch(barlow::Learner& learn) override {
    const auto now = std::chrono::steady_clock::now();
    const auto traffic = learn.options.process_group.traffic();
    if (learn.train_iter > 3) { // the first ones allocate, and find out how gradients come
      milliseconds.push_back(std::chrono::duration<double, std::milli>(now - last_).count());
      bytes = traffic.bytes - before_.bytes;
      operations = traffic.operations - before_.operations;
    }
    last_ = now;
    before_ = traffic;
  }
  std::vector<double> milliseconds;
  int64_t bytes = 0, operations = 0;

 private:
  std::chrono::steady_clock::time_point last_;
  barlow::Traffic before_;
};

} // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::cerr << "usage: barlow_scaling BATCH_SIZE PROJECTION_SIZE STEPS\n";
    return 2;
  }
  const int64_t batch_size = std::atoll(argv[1]), width = std::atoll(argv[2]), steps = std::atoll(argv[3]);
  auto of_group = barlow::process_group_from_environment();
  of_group.device = torch::kCPU;
  const barlow::ProcessGroup group(of_group);
  torch::manual_seed(0);
  const auto data = std::make_shared<Images>(batch_size * (steps + 4));
  const auto model = barlow::create_barlow_twins_model(
      barlow::create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = width});
  barlow::Learner learn(
      barlow::DataLoaders(barlow::DataLoader(data, {.batch_size = batch_size, .num_workers = 0})),
      model,
      {.device = torch::kCPU, .progress = false, .process_group = group});
  learn.add(
      barlow::BarlowTwins(
          barlow::get_barlow_twins_aug_pipelines(
              {.size = 28, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt})));
  auto& measured = learn.add(Steps());
  learn.fit(1);
  if (group.is_main()) {
    auto& times = measured.milliseconds;
    std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size()) / 2, times.end());
    fmt::print("{} {:.2f} {} {}\n", group.size(), times[times.size() / 2], measured.operations, measured.bytes);
  }
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
