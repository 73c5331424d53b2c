// SPDX-License-Identifier: Apache-2.0
// Barlow Twins on handwritten 3s and 7s: the documented library's page, line by line.
#include <iostream>

#include <torch/torch.h>
#include <CLI/CLI.hpp>

#include <barlow/barlow.h>

int main(int argc, char** argv) try {
  std::string data = BARLOW_EXAMPLE_DATA "/mnist_tiny", out = "mnist_tiny_out", device;
  int64_t epochs = 1, batch_size = 5;
  double fraction = 1;
  CLI::App app("Pretrains xresnet18 on MNIST-tiny");
  app.add_option("--data", data, "Folder with train/ and valid/")->capture_default_str();
  app.add_option("--epochs", epochs, "Epochs")->capture_default_str();
  app.add_option("--short", fraction, "Fraction of each epoch to do")->capture_default_str();
  app.add_option("--batch-size", batch_size, "Samples in a batch")->capture_default_str();
  app.add_option("--out", out, "Folder of what is written")->capture_default_str();
  app.add_option("--device", device, "cpu, cuda, cuda:1, ...; without it CUDA if there is one");
  CLI11_PARSE(app, argc, argv);

  torch::manual_seed(42);
  auto dls = barlow::DataLoaders::from_folder(data, {.batch_size = batch_size, .channels = 1});
  auto encoder = barlow::create_encoder("xresnet18", {.n_in = 1});
  auto model = barlow::create_barlow_twins_model(encoder, {.hidden_size = 1024, .projection_size = 1024});
  auto aug_pipelines = barlow::get_barlow_twins_aug_pipelines(
      {.size = 28, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt});

  barlow::LearnerOptions options;
  if (!device.empty()) {
    options.device = torch::Device(device);
  }
  barlow::Learner learn(dls, model, options);
  learn.add(barlow::ShortEpochCallback(fraction));
  learn.add(barlow::JsonLog(out + "/log.jsonl"));
  auto& barlow_twins = learn.add(barlow::BarlowTwins(aug_pipelines, {.print_augs = true}));

  barlow_twins.show(std::min<int64_t>(5, batch_size), out + "/views.png");
  learn.fit(epochs);

  const auto x = dls.train.epoch(0).next()->x.to(torch::kFloat).div(255).to(learn.device);
  std::cout << "images " << x.sizes() << " -> features " << encoder->forward(x).sizes() << " -> embeddings "
            << model->forward(x).sizes() << "\nfirst loss " << learn.recorder.raw_losses.front() << '\n';
  barlow::plot_curves(out + "/loss.png", {{"loss", learn.recorder.losses}}, "step", "loss");
  barlow::save_weights(*encoder, out + "/encoder.safetensors");
  std::cout << "wrote views.png, loss.png, log.jsonl and encoder.safetensors to " << out << '\n';
} catch (const c10::Error& e) { // LibTorch's own, without its stack trace
  std::cerr << "error: " << e.what_without_backtrace() << '\n';
  return 1;
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
