// SPDX-License-Identifier: Apache-2.0
// The paper's recipe on a folder of images or on tar shards, by any number of processes: README.md has the commands.
#include <iostream>

#include <torch/torch.h>
#include <CLI/CLI.hpp>

#include <barlow/barlow.h>

namespace {

// Images anywhere under a folder, or shards named by a pattern: "imagenet-{000000..001281}.tar".
barlow::DataLoaders open_data(const std::string& data, const barlow::LoaderOptions& options) {
  return data.ends_with(".tar") ? barlow::DataLoaders::from_tar(barlow::expand_shards(data), options)
                                : barlow::DataLoaders::from_folder(data, options);
}

} // namespace

int main(int argc, char** argv) try {
  std::string data, name = "paper-imagenet", out = "imagenet_out";
  int64_t epochs = 0, batch_size = 0, workers = -1;
  CLI::App app("Pretrains by a recipe; started by torchrun, srun or mpirun, by several processes");
  app.add_option("data", data, "Folder of images, or a pattern of tar shards")->required();
  app.add_option("--recipe", name, "paper-imagenet, solo-learn-cifar10, ...")->capture_default_str();
  app.add_option("--epochs", epochs, "Instead of the recipe's");
  app.add_option("--batch-size", batch_size, "Of all processes together; the rates grow with it");
  app.add_option("--workers", workers, "Threads that read images, a process; -1: one for each core");
  app.add_option("--out", out, "Folder of the log, checkpoints and the encoder")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const auto group = barlow::ProcessGroup::from_environment();
  torch::manual_seed(42);
  auto recipe = barlow::find_recipe(name);
  if (batch_size > 0) {
    recipe.rate.lr *= static_cast<double>(batch_size) / static_cast<double>(recipe.batch_size);
    recipe.batch_size = batch_size;
  }
  recipe.epochs = epochs > 0 ? epochs : recipe.epochs;

  auto options = barlow::learner_options(recipe);
  options.process_group = group;
  barlow::Learner learn(
      open_data(data, {.batch_size = recipe.batch_size, .channels = recipe.n_in, .num_workers = workers}),
      barlow::create_model(recipe),
      options);
  learn.add(barlow::barlow_twins(recipe));
  learn.add(barlow::JsonLog(out + "/log.jsonl"));
  learn.add(barlow::Checkpoints({.folder = out + "/checkpoints", .resume = barlow::Resume::Auto}));
  barlow::fit(learn, recipe);
  if (group.is_main()) {
    barlow::save_weights(*learn.model->encoder, out + "/encoder.safetensors");
  }
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
