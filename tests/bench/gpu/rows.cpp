// SPDX-License-Identifier: Apache-2.0
// What a GPU does of a training step, a row a line: name, milliseconds, GiB of memory at the peak. gpu.py runs it and
// the same work in Python.
#include <chrono>
#include <functional>
#include <iostream>
#include <numeric>
#include <regex>

#include <ATen/autocast_mode.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

namespace {

using torch::Tensor;

constexpr int64_t kImages = 256, kSize = 224, kWide = 8192;
constexpr int kRounds = 5;

double now() {
  torch::cuda::synchronize();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void reset_peak() {
  c10::cuda::CUDACachingAllocator::emptyCache();
  c10::cuda::CUDACachingAllocator::resetPeakStats(0);
}

double peak() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
  return static_cast<double>(stats.allocated_bytes[0].peak) / (1 << 30);
}

void print(const std::string& name, double milliseconds, double gib) {
  std::cout << fmt::format("{:<40} {:9.3f} ms {:7.2f} GiB", name, milliseconds, gib) << std::endl;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The median of rounds of `calls` calls.
void time(const std::string& name, int calls, const std::function<void()>& work) {
  reset_peak();
  for (int i = 0; i < 3; ++i) {
    work();
  }
  std::vector<double> rounds;
  for (int r = 0; r < kRounds; ++r) {
    const double start = now();
    for (int i = 0; i < calls; ++i) {
      work();
    }
    rounds.push_back((now() - start) / calls);
  }
  print(name, median(rounds), peak());
}

// The median time on the device, which has other work first: the host is well ahead.
double device_time(const std::function<void()>& work) {
  const auto square = torch::randn({8192, 8192}, torch::TensorOptions(torch::kCUDA).dtype(torch::kBFloat16));
  auto product = torch::empty_like(square);
  std::vector<double> rounds;
  for (int r = 0; r < 15; ++r) {
    torch::cuda::synchronize();
    for (int i = 0; i < 20; ++i) {
      at::mm_out(product, square, square);
    }
    at::cuda::CUDAEvent start(cudaEventDefault), end(cudaEventDefault);
    start.record();
    work();
    end.record();
    end.synchronize();
    rounds.push_back(start.elapsed_time(end));
  }
  return median(rounds);
}

// ---- views

void views() {
  const auto images =
      torch::randint(0, 256, {kImages, 3, 256, 256}, torch::TensorOptions(torch::kCUDA).dtype(torch::kByte));
  const auto paper = barlow::get_barlow_twins_paper_aug_pipelines({.size = kSize});
  barlow::ViewKeys keys{.index = std::vector<int64_t>(kImages)};
  std::iota(keys.index.begin(), keys.index.end(), 0);
  const auto run = [&](const std::string& name, const Tensor& x, const std::vector<barlow::Pipeline>& pipelines) {
    const auto work = [&] {
      keys.epoch = (keys.epoch + 1) % 20;
      for (size_t v = 0; v < pipelines.size(); ++v) {
        keys.view = static_cast<int64_t>(v);
        pipelines[v](x, keys);
      }
    };
    time(name, 20, work);
    print(name + ", on the device", device_time(work), 0);
  };
  for (const auto type : {torch::kFloat, torch::kHalf}) {
    const auto x = images.to(type).div(255);
    const std::string name = type == torch::kFloat ? "float32" : "float16";
    run("views/paper/" + name, x, paper);
    // As many bytes as both views read and write.
    const auto bytes = 2 * kImages * 3 * (int64_t{256} * 256 + kSize * kSize) * x.element_size();
    const auto from = torch::empty({bytes / 2}, images.options()), to = torch::empty_like(from);
    time("views/copy/" + name, 20, [&] { to.copy_(from); });
  }
  run("views/paper/uint8", images, paper);
  run("views/documented/float32",
      images.to(torch::kFloat).div(255),
      barlow::get_barlow_twins_aug_pipelines({.size = kSize}));
}

// ---- loss

Tensor documented_loss(const Tensor& z1, const Tensor& z2) {
  const auto a = (z1 - z1.mean(0)) / z1.std(0, /*unbiased=*/false), b = (z2 - z2.mean(0)) / z2.std(0, false);
  const auto c = a.t().mm(b) / z1.size(0);
  const auto eye = torch::eye(c.size(0), c.options());
  const auto difference = (c - eye).square();
  return (difference * eye + difference * (1 - eye) * 0.005).sum();
}

void losses() {
  const auto options = torch::TensorOptions(torch::kCUDA).requires_grad(true);
  const auto z1 = torch::randn({kImages, kWide}, options), z2 = torch::randn({kImages, kWide}, options);
  const auto run = [&](const std::string& name, const std::function<Tensor()>& loss) {
    const auto work = [&] {
      z1.mutable_grad().reset();
      z2.mutable_grad().reset();
      loss().backward();
    };
    time(name, 20, work);
    print(name + ", on the device", device_time(work), 0);
  };
  run("loss/256/8192", [&] { return barlow::barlow_twins_loss_terms(z1, z2, {.check_finite = false}).loss; });
  run("loss/256/8192/documented formula", [&] { return documented_loss(z1, z2); });
}

// ---- a step

class Noise : public barlow::Dataset {
 public:
  Noise(int64_t n, int64_t channels, int64_t size)
      : images_(torch::randint(0, 256, {n, channels, size, size}, torch::kByte)) {}
  int64_t size() const override {
    return images_.size(0);
  }
  barlow::Sample get(int64_t index) const override {
    return {.image = images_[index]};
  }

 private:
  Tensor images_;
};

// Milliseconds of a step, without the first ones.
class Clock : public barlow::Callback {
 public:
  std::string name() const override {
    return "Clock";
  }
  int order() const override {
    return 100;
  }
  void before_batch(barlow::Learner& learn) override {
    if (learn.train_iter == kWarm) {
      start_ = now();
    }
  }
  void after_train(barlow::Learner& learn) override {
    rounds.push_back((now() - start_) / static_cast<double>(learn.train_iter - kWarm));
  }
  std::vector<double> rounds;

 private:
  static constexpr int64_t kWarm = 5;
  double start_ = 0;
};

void step(barlow::Precision precision, const std::string& name) {
  constexpr int64_t kBatches = 20;
  torch::manual_seed(0);
  auto model = barlow::create_barlow_twins_model(
      barlow::create_encoder("resnet50", {.pool_type = barlow::PoolingType::Fast}),
      {.hidden_size = kWide, .projection_size = kWide, .bias = false, .last_bias = false});
  const barlow::DataLoader data(
      std::make_shared<Noise>(kImages * kBatches, 3, 256), {.batch_size = kImages, .shuffle = true, .drop_last = true});
  barlow::Learner learn(barlow::DataLoaders(data), model, {.progress = false, .precision = precision});
  learn.add(barlow::BarlowTwins(barlow::get_barlow_twins_paper_aug_pipelines({.size = kSize})));
  auto& clock = learn.add(Clock());

  const auto x = torch::rand({2 * kImages, 3, kSize, kSize}, torch::kCUDA);
  std::vector<double> bare, whole;
  double bare_peak = 0, whole_peak = 0;
  const auto run_bare = [&](int steps) {
    for (int i = 0; i < steps; ++i) {
      at::autocast::set_autocast_enabled(at::kCUDA, precision == barlow::Precision::BFloat16);
      at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
      const auto z = model->forward(x);
      at::autocast::clear_cache();
      at::autocast::set_autocast_enabled(at::kCUDA, false);
      z.backward(torch::ones_like(z));
      model->zero_grad();
    }
  };
  for (int round = 0; round < 3; ++round) {
    reset_peak();
    learn.fit(1, 1e-4);
    whole_peak = peak();
    reset_peak();
    model->train();
    run_bare(3);
    const double start = now();
    run_bare(15);
    bare.push_back((now() - start) / 15);
    bare_peak = peak();
  }
  print("step/resnet50/" + name + "/whole", median(clock.rounds), whole_peak);
  print("step/resnet50/" + name + "/bare", median(bare), bare_peak);
}

void graph(bool graphed) {
  torch::manual_seed(0);
  auto model = barlow::create_barlow_twins_model(
      barlow::create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = 1024});
  const barlow::DataLoader data(
      std::make_shared<Noise>(64 * 200, 1, 28), {.batch_size = 64, .shuffle = true, .drop_last = true});
  barlow::Learner learn(barlow::DataLoaders(data), model, {.progress = false, .cuda_graph = graphed});
  learn.add(
      barlow::BarlowTwins(
          barlow::get_barlow_twins_aug_pipelines(
              {.size = 28, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt})));
  auto& clock = learn.add(Clock());
  reset_peak();
  for (int round = 0; round < 3; ++round) {
    learn.fit(1);
  }
  print(graphed ? "step/page/64/graph" : "step/page/64", median(clock.rounds), peak());
  if (!graphed) {
    const auto x = torch::rand({128, 1, 28, 28}, torch::kCUDA);
    time("step/page/64/bare", 20, [&] {
      const auto z = model->forward(x);
      z.backward(torch::ones_like(z));
      model->zero_grad();
    });
  }
}

} // namespace

int main(int argc, char** argv) try {
  const std::regex wanted(argc > 1 ? argv[1] : ".*");
  const std::vector<std::pair<std::string, std::function<void()>>> rows{
      {"views", views},
      {"loss", losses},
      {"page", [] { graph(false); }},
      {"graph", [] { graph(true); }},
      {"bfloat16", [] { step(barlow::Precision::BFloat16, "bfloat16"); }},
      {"float32", [] { step(barlow::Precision::Float32, "float32"); }}};
  for (const auto& [name, row] : rows) {
    if (std::regex_match(name, wanted)) {
      row();
    }
  }
} catch (const std::exception& e) {
  std::cerr << e.what() << std::endl;
  return 1;
}
