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
  bool resume = false;
  CLI::App app("Pretrains xresnet18 on MNIST-tiny");
  app.add_option("--data", data, "Folder with train/ and valid/")->capture_default_str();
  app.add_option("--epochs", epochs, "Epochs")->capture_default_str();
  app.add_option("--short", fraction, "Fraction of each epoch to do")->capture_default_str();
  app.add_option("--batch-size", batch_size, "Samples in a batch")->capture_default_str();
  app.add_option("--out", out, "Folder of what is written")->capture_default_str();
  app.add_option("--device", device, "cpu, cuda, cuda:1, ...; without it CUDA if there is one");
  app.add_flag("--resume", resume, "Save checkpoints in the folder, and go on from the newest that is there");
  CLI11_PARSE(app, argc, argv);

  torch::manual_seed(42);
  auto recipe = barlow::find_recipe("mnist-tiny");
  recipe.batch_size = batch_size;
  recipe.epochs = epochs;
  auto dls = barlow::DataLoaders::from_folder(data, {.batch_size = recipe.batch_size, .channels = recipe.n_in});
  auto model = barlow::create_model(recipe);

  auto options = barlow::learner_options(recipe);
  if (!device.empty()) {
    options.device = torch::Device(device);
  }
  barlow::Learner learn(dls, model, options);
  learn.add(barlow::ShortEpochCallback(fraction));
  learn.add(barlow::JsonLog(out + "/log.jsonl"));
  if (resume) {
    learn.add(barlow::Checkpoints({.folder = out + "/checkpoints", .resume = barlow::Resume::Auto, .every_steps = 50}));
  }
  auto& barlow_twins =
      learn.add(barlow::BarlowTwins(barlow::aug_pipelines(recipe), {.lmb = recipe.lmb, .print_augs = true}));

  barlow_twins.show(std::min<int64_t>(5, batch_size), out + "/views.png");
  barlow::fit(learn, recipe);

  const auto x = dls.train.epoch(0).next()->x.to(torch::kFloat).div(255).to(learn.device);
  std::cout << "images " << x.sizes() << " -> features " << model->encoder->forward(x).sizes() << " -> embeddings "
            << model->forward(x).sizes() << "\nfirst loss " << learn.recorder.raw_losses.front() << '\n';
  barlow::plot_curves(out + "/loss.png", {{"loss", learn.recorder.losses}}, "step", "loss");
  barlow::save_weights(*model->encoder, out + "/encoder.safetensors");
  std::cout << "wrote views.png, loss.png, log.jsonl and encoder.safetensors to " << out << '\n';
} catch (const barlow::Interrupted& e) {
  std::cerr << e.what() << '\n';
  return barlow::kExitInterrupted;
} catch (const c10::Error& e) { // LibTorch's own, without its stack trace
  std::cerr << "error: " << e.what_without_backtrace() << '\n';
  return 1;
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
