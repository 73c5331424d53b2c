// SPDX-License-Identifier: Apache-2.0
// Times of the pieces and of a whole training step. Threads: OMP_NUM_THREADS, or --threads of compare.py.
// Names are family/parameters; compare.py runs the same work in the Python peers.
#include <cstdlib>
#include <numeric>

#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

#include "memory.h"

namespace {

using torch::Tensor;

// Times the work after three calls that are not counted, as compare.py does with the peer's: the first ones allocate.
template <class Work>
void time_warm(benchmark::State& state, const Work& work) {
  for (int i = 0; i < 3; ++i) {
    work();
  }
  for (auto _ : state) {
    work();
  }
}

Tensor embeddings(int64_t n, int64_t d) {
  return torch::randn({n, d}).requires_grad_();
}

// loss/N/D: loss and gradients of both views' embeddings.
void loss(benchmark::State& state) {
  const auto z1 = embeddings(state.range(0), state.range(1)), z2 = embeddings(state.range(0), state.range(1));
  for (auto _ : state) {
    z1.mutable_grad().reset();
    z2.mutable_grad().reset();
    barlow::barlow_twins_loss(z1, z2).backward();
  }
}
BENCHMARK(loss)
    ->Args({5, 1024})
    ->Args({128, 2048})
    ->Args({256, 8192})
    ->Args({1024, 8192})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

barlow::BarlowTwinsModel page_model() {
  torch::manual_seed(0);
  auto model = barlow::create_barlow_twins_model(
      barlow::create_encoder("xresnet18", {.n_in = 1}), {.hidden_size = 1024, .projection_size = 1024});
  model->train();
  return model;
}

// seed_step/N: the documented page's model, views given: encoder, projector, loss, backward, optimiser.
void seed_step(benchmark::State& state) {
  auto model = page_model();
  const auto optimizer = barlow::make_adam(*model);
  const auto views = torch::rand({2 * state.range(0), 1, 28, 28});
  time_warm(state, [&] {
    optimizer->zero_grad();
    const auto z = model->forward(views).chunk(2);
    barlow::barlow_twins_loss(z[0], z[1]).backward();
    optimizer->step();
  });
}
BENCHMARK(seed_step)->Arg(5)->Arg(64)->Unit(benchmark::kMillisecond)->UseRealTime();

// Images in memory: noise, 8 bits.
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

// page_step/N: a whole training step of the documented page, by a Learner: batch from memory, views, model, loss,
// optimiser, record.
void page_step(benchmark::State& state) {
  constexpr int64_t kBatches = 40;
  const int64_t n = state.range(0);
  const barlow::DataLoader loader(
      std::make_shared<Noise>(n * kBatches, 1, 28),
      {.batch_size = n, .shuffle = true, .drop_last = true, .num_workers = 0});
  barlow::Learner learn(barlow::DataLoaders(loader), page_model(), {.progress = false});
  auto& barlow_twins = learn.add(
      barlow::BarlowTwins(
          barlow::get_barlow_twins_aug_pipelines(
              {.size = 28, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt})));
  learn.add(barlow::ShortEpochCallback(3. / kBatches)); // warm: three steps
  learn.fit(1);
  barlow_twins.before_fit(learn);
  learn.training = true;
  learn.iter = 0;
  int64_t epoch = 0;
  auto stream = loader.epoch(epoch);
  for (auto _ : state) {
    auto batch = stream.next();
    if (!batch) {
      stream = loader.epoch(++epoch);
      batch = stream.next();
    }
    learn.one_batch(std::move(*batch));
  }
  barlow_twins.after_fit(learn);
}
BENCHMARK(page_step)->Arg(5)->Arg(64)->Unit(benchmark::kMillisecond)->UseRealTime();

// cifar_step/N: lightly's recipe for CIFAR-10, views given, with a projector of three layers: both views through the
// model one after the other, loss, SGD. cifar_joint_step/N: both views in one pass, as dlib has them.
void cifar_step(benchmark::State& state, bool joint) {
  barlow::keep_freed_memory(); // as a Learner does
  torch::manual_seed(0);
  const barlow::EncoderOptions options{.pool_type = barlow::PoolingType::Fast, .stem = barlow::StemType::Small};
  auto model = barlow::create_barlow_twins_model(
      barlow::create_encoder("resnet18", options), {.hidden_size = 2048, .projection_size = 2048});
  model->train();
  const auto optimizer = barlow::make_sgd(*model, {.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4});
  const auto x1 = torch::rand({state.range(0), 3, 32, 32}), x2 = torch::rand({state.range(0), 3, 32, 32});
  const auto both = at::cat({x1, x2});
  time_warm(state, [&] {
    const auto z = joint ? model->forward(both).chunk(2) : std::vector<Tensor>{model->forward(x1), model->forward(x2)};
    barlow::barlow_twins_loss(z[0], z[1]).backward();
    optimizer->step();
    optimizer->zero_grad();
  });
}
BENCHMARK_CAPTURE(cifar_step, separate, false)
    ->Name("cifar_step")
    ->Arg(64)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(cifar_step, joint, true)
    ->Name("cifar_joint_step")
    ->Arg(32)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// encoder/NAME/N/size: forward and backward of an encoder in training mode.
void encoder(benchmark::State& state, const char* name, int64_t n, int64_t size) {
  torch::manual_seed(0);
  auto network = barlow::create_encoder(name);
  network->train();
  const auto x = torch::rand({n, 3, size, size});
  const auto grad = torch::randn({n, network->num_features()});
  time_warm(state, [&] {
    network->zero_grad();
    network->forward(x).backward(grad);
  });
}
BENCHMARK_CAPTURE(encoder, resnet18, "resnet18", 16, 128)
    ->Name("encoder/resnet18/16/128")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(encoder, efficientnet_b0, "efficientnet_b0", 8, 224)
    ->Name("encoder/efficientnet_b0/8/224")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// optimizer/adam: one step of the page's 14.3 million parameters.
void optimizer_adam(benchmark::State& state) {
  auto model = page_model();
  for (auto& p : model->parameters()) {
    p.mutable_grad() = torch::randn_like(p);
  }
  const auto optimizer = barlow::make_adam(*model);
  for (auto _ : state) {
    optimizer->step();
  }
}
BENCHMARK(optimizer_adam)->Name("optimizer/adam")->Unit(benchmark::kMillisecond)->UseRealTime();

// views/NAME/N/from/to: one view of a batch by the documented library's pipeline, 20 drawn in turn.
void views(benchmark::State& state, const barlow::AugOptions& options, int64_t n, int64_t from) {
  torch::manual_seed(0);
  const auto x = torch::rand({n, 3, from, from});
  const auto pipeline = barlow::get_batch_augs(options);
  barlow::ViewKeys keys{.index = std::vector<int64_t>(static_cast<size_t>(n))};
  std::iota(keys.index.begin(), keys.index.end(), 0);
  time_warm(state, [&] {
    keys.epoch = (keys.epoch + 1) % 20;
    benchmark::DoNotOptimize(pipeline(x, keys));
  });
}
barlow::AugOptions all_steps(int64_t size) {
  return {.size = size, .rotate_p = 1, .jitter_p = 1, .bw_p = 1, .blur_p = 1};
}
BENCHMARK_CAPTURE(views, documented, {.size = 224}, 64, 256)
    ->Name("views/documented/64/256/224")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(views, kornia, {.size = 224}, 64, 256) // the peer's other preset
    ->Name("views/kornia/64/256/224")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(views, all, all_steps(224), 64, 256)
    ->Name("views/all/64/256/224")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(views, small, {.size = 32}, 64, 32)
    ->Name("views/documented/64/32/32")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// load/WHAT/N: batches of N images from the JPEG files of the folder BARLOW_BENCH_IMAGES, by as many workers as the
// process has cores, or in the calling thread for one. crop: a crop of 224 pixels and its mirroring; paper: both views
// of the paper, whole.
void load(benchmark::State& state, const std::vector<barlow::Pipeline>& pipelines, int64_t n, bool whole) {
  const char* folder = std::getenv("BARLOW_BENCH_IMAGES"); // NOLINT(concurrency-mt-unsafe)
  if (folder == nullptr) {
    state.SkipWithError("BARLOW_BENCH_IMAGES names no folder; compare.py makes one");
    return;
  }
  const auto dls = barlow::DataLoaders::from_folder(folder, {.batch_size = n});
  auto options = dls.train.options();
  options.num_workers = dls.train.workers() == 1 ? 0 : dls.train.workers();
  const auto loader = barlow::DataLoaders::from_folder(folder, options).train.with_views(pipelines);
  int64_t epoch = 0;
  auto stream = loader.epoch(epoch);
  time_warm(state, [&] {
    auto batch = stream.next();
    if (!batch) {
      stream = loader.epoch(++epoch);
      batch = stream.next();
    }
    for (size_t v = 0; whole && v < pipelines.size(); ++v) {
      const barlow::ViewKeys keys{batch->seed, batch->epoch, static_cast<int64_t>(v), batch->index};
      benchmark::DoNotOptimize(pipelines[v](batch->views[v], keys, pipelines[v].leading_crop()));
    }
  });
}
std::vector<barlow::Pipeline> crop_and_mirror() {
  return {barlow::Pipeline(
      {std::make_shared<barlow::RandomResizedCrop>(224), std::make_shared<barlow::RandomHorizontalFlip>()})};
}
BENCHMARK_CAPTURE(load, crop, crop_and_mirror(), 64, false)
    ->Name("load/crop/64")
    ->Iterations(18) // three epochs
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(load, paper, barlow::get_barlow_twins_paper_aug_pipelines(), 64, true)
    ->Name("load/paper/64")
    ->Iterations(18)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// conv/N/C/O/size/stride: forward and backward of one 3x3 convolution; conv_torch is at::conv2d of the same.
template <bool kOurs>
void conv(benchmark::State& state) {
  const int64_t n = state.range(0), c = state.range(1), o = state.range(2), size = state.range(3);
  const auto x = torch::randn({n, c, size, size}).requires_grad_();
  const auto w = torch::randn({o, c, 3, 3}).requires_grad_();
  const std::vector<int64_t> stride{state.range(4)}, padding{1};
  Tensor grad;
  for (auto _ : state) {
    x.mutable_grad().reset();
    w.mutable_grad().reset();
    const auto y = kOurs ? barlow::conv2d(x, w, {}, stride, padding) : at::conv2d(x, w, {}, stride, padding);
    if (!grad.defined()) {
      grad = torch::randn_like(y);
    }
    y.backward(grad);
  }
}
void conv_shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t n : {10, 128}) {
    b->Args({n, 64, 64, 7, 1})->Args({n, 128, 128, 4, 1})->Args({n, 128, 256, 4, 2});
    b->Args({n, 256, 256, 2, 1})->Args({n, 256, 512, 2, 2})->Args({n, 512, 512, 1, 1});
  }
  b->Unit(benchmark::kMillisecond)->UseRealTime();
}
BENCHMARK(conv<true>)->Name("conv")->Apply(conv_shapes);
BENCHMARK(conv<false>)->Name("conv_torch")->Apply(conv_shapes);

} // namespace
