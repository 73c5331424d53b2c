// SPDX-License-Identifier: Apache-2.0
// Pretrains on MNIST-5k and measures, after each epoch, what the encoder's neighbours know: see ../mnist5k.py.
#include <chrono>
#include <cstdlib>
#include <iostream>

#include <fmt/format.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

namespace {

using barlow::Learner;

double accuracy(const barlow::Embeddings& bank, const barlow::Embeddings& queries) {
  return barlow::knn_accuracy(bank, queries, {20}, 0.1)[0].top1;
}

// A line of JSON after each epoch: what it took to train, and the accuracy, whose time does not count.
class Measure : public barlow::Callback {
 public:
  std::string name() const override {
    return "Measure";
  }
  void before_train(Learner&) override {
    start_ = std::chrono::steady_clock::now();
  }
  void after_train(Learner& learn) override {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start_;
    const auto bank = embed(learn.model->encoder, learn.dls.train),
               queries = embed(learn.model->encoder, *learn.dls.valid);
    fmt::print(
        "{{\"epoch\": {}, \"seconds\": {:.2f}, \"knn\": {:.3f}}}\n",
        learn.epoch + 1,
        seconds.count(),
        accuracy(bank, queries));
    std::cout.flush();
    throw barlow::CancelEpoch(); // no validation of the loss
  }

 private:
  std::chrono::steady_clock::time_point start_;
};

} // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::cerr << "usage: barlow_mnist5k FOLDER EPOCHS SEED\n";
    return 1;
  }
  const int64_t epochs = std::atoll(argv[2]), seed = std::atoll(argv[3]);
  torch::manual_seed(seed);
  auto dls =
      barlow::DataLoaders::from_mnist(argv[1], {.batch_size = 64, .channels = 1, .seed = static_cast<uint64_t>(seed)});
  auto encoder = barlow::create_encoder("xresnet18", {.n_in = 1});
  const auto pixels = accuracy(barlow::embed_pixels(dls.train), barlow::embed_pixels(*dls.valid));
  const auto random = accuracy(embed(encoder, dls.train), embed(encoder, *dls.valid));
  fmt::print("{{\"pixels\": {:.3f}, \"random\": {:.3f}}}\n", pixels, random);

  auto model = barlow::create_barlow_twins_model(encoder, {.hidden_size = 1024, .projection_size = 1024});
  Learner learn(dls, model, {.lr = 1e-3, .progress = false});
  barlow::AugOptions views{.size = 28, .jitter = false, .bw = false, .blur = false};
  views.resize_scale = {0.5, 1};
  views.rotate_deg = 15;
  views.rotate_p = 0.5;
  views.flip_p = 0;
  views.stats.reset();
  learn.add(barlow::BarlowTwins(barlow::get_barlow_twins_aug_pipelines(views)));
  learn.add(Measure());
  learn.fit(epochs);
} catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
