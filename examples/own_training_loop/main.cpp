// SPDX-License-Identifier: Apache-2.0
// Pretraining inside a training program that is there already: model, loss and views, without the Learner.
#include <iostream>

#include <torch/torch.h>

#include <barlow/barlow.h>

int main() try {
  torch::manual_seed(42);
  const auto dls =
      barlow::DataLoaders::from_folder(BARLOW_EXAMPLE_DATA "/mnist_tiny", {.batch_size = 50, .channels = 1});
  const auto pipelines = barlow::get_gray_aug_pipelines({.size = 28});
  auto encoder = barlow::create_encoder("xresnet18", {.n_in = 1});
  auto model = barlow::create_barlow_twins_model(encoder, {.hidden_size = 1024, .projection_size = 1024});
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(1e-3));

  const auto loader = dls.train.with_views(pipelines); // files are decoded and cropped by worker threads
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    double total = 0;
    auto batches = loader.epoch(epoch);
    while (const auto batch = batches.next()) {
      const auto z1 = model->forward(barlow::make_view(pipelines[0], *batch, 0));
      const auto z2 = model->forward(barlow::make_view(pipelines[1], *batch, 1));
      const auto loss = barlow::barlow_twins_loss(z1, z2);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      total += loss.item<double>();
    }
    std::cout << "epoch " << epoch << ", mean loss " << total / static_cast<double>(loader.batches()) << '\n';
  }
  barlow::save_encoder(encoder, "encoder.safetensors", {.size = 28});
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
