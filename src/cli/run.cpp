// SPDX-License-Identifier: Apache-2.0
#include "run.h"

#include "choose.h"
#include "config_file.h"

namespace barlow::cli {
namespace {

// What the recipe's variant is called, and back.
std::string optimizer_name(const Recipe& recipe) {
  if (const auto* lars = std::get_if<LarsOptions>(&recipe.optimizer)) {
    return lars->clip ? "lars-solo-learn" : "lars";
  }
  return std::holds_alternative<SgdOptions>(recipe.optimizer) ? "sgd" : "adam";
}

double weight_decay(const Recipe& recipe) {
  if (const auto* adam = std::get_if<AdamOptions>(&recipe.optimizer)) {
    return adam->wd;
  }
  if (const auto* sgd = std::get_if<SgdOptions>(&recipe.optimizer)) {
    return sgd->weight_decay;
  }
  return std::get<LarsOptions>(recipe.optimizer).weight_decay;
}

void set_optimizer(Recipe& recipe, const std::string& name) {
  if (name == optimizer_name(recipe)) {
    return; // with what the recipe says of it
  }
  if (name == "adam") {
    recipe.optimizer = AdamOptions();
  } else if (name == "sgd") {
    recipe.optimizer = SgdOptions{.momentum = 0.9, .weight_decay = 5e-4};
  } else {
    recipe.optimizer = name == "lars" ? LarsOptions() : LarsOptions::solo_learn();
  }
}

void set_weight_decay(Recipe& recipe, double value) {
  if (auto* adam = std::get_if<AdamOptions>(&recipe.optimizer)) {
    adam->wd = value;
  } else if (auto* sgd = std::get_if<SgdOptions>(&recipe.optimizer)) {
    sgd->weight_decay = value;
  } else {
    std::get<LarsOptions>(recipe.optimizer).weight_decay = value;
  }
}

void set_views(Run& run) {
  auto& r = run.recipe;
  auto range =
      r.views == RecipeViews::Documented ? r.aug.resize_scale : r.view_options.resize_scale.value_or(Range{0.08, 1});
  range = {run.crop_min > 0 ? run.crop_min : range.first, run.crop_max > 0 ? run.crop_max : range.second};
  if (run.crop_min > 0 || run.crop_max > 0) {
    r.aug.resize_scale = range;
    r.view_options.resize_scale = range;
  }
  if (!run.normalize || r.n_in != 3) {
    r.aug.stats.reset();
    r.view_options.normalize = false;
  }
}

void bind_views(CLI::App& app, Run& run) {
  constexpr auto group = "Views";
  auto& r = run.recipe;
  add_choice(app, "--views", r.views, "Kind of augmentations")->group(group);
  add_positive(app, "--size", r.size, "Pixels a side of a view")->group(group);
  add(app, "--crop-min", run.crop_min, "Smallest crop, share of the image's area; 0: the views' own")->group(group);
  add(app, "--crop-max", run.crop_max, "Largest crop, the same")->group(group);
  add_flag(app, "normalize", run.normalize, "Normalise the pixels as the views do")->group(group);
  add_flag(app, "rotate", r.aug.rotate, "Documented views: rotation")->group(group);
  add_flag(app, "jitter", r.aug.jitter, "Documented views: brightness, contrast, saturation, hue")->group(group);
  add_flag(app, "bw", r.aug.bw, "Documented views: grey")->group(group);
  add_flag(app, "blur", r.aug.blur, "Documented views: Gaussian blur")->group(group);
  add(app, "--flip-p", r.aug.flip_p, "Documented views: probability of a mirrored one")->group(group);
  add(app, "--rotate-deg", r.aug.rotate_deg, "Documented views: largest angle, degrees")->group(group);
}

void bind_model(CLI::App& app, Run& run) {
  constexpr auto group = "Model";
  auto& r = run.recipe;
  add(app, "--encoder", r.encoder, "Network; `barlow encoders` lists them")->group(group);
  add_positive(app, "--channels", r.n_in, "Of the images: 1 grey, 3 colour, or the files' own")->group(group);
  auto* pool = app.add_option_function<std::string>(
      "--pool",
      [&r](const std::string& word) { r.pool_type = word == "own" ? std::nullopt : value_of<PoolingType>(word); },
      "Pooling of the encoder's features");
  only(pool, {"own", "fast", "avg", "avgmax", "catavgmax", "max"})
      ->default_str(r.pool_type ? word_of(*r.pool_type) : "own")
      ->group(group);
  add_choice(app, "--stem", r.stem, "What a ResNet begins with")->group(group);
  add(app, "--weights", run.weights, "File of weights to begin with: safetensors, .pth; without it random ones")
      ->group(group);
  add_positive(app, "--hidden-size", r.projector.hidden_size, "Width of the projector's hidden layers")->group(group);
  add_positive(app, "--projection-size", r.projector.projection_size, "Width of the embeddings")->group(group);
  add_positive(app, "--nlayers", r.projector.nlayers, "Layers of the projector")->group(group);
}

void bind_training(CLI::App& app, Run& run) {
  constexpr auto group = "Training";
  auto& r = run.recipe;
  add_positive(app, "--epochs", r.epochs, "Epochs")->group(group);
  add_positive(app, "--batch-size", r.batch_size, "Samples in a batch, of all processes together")->group(group);
  add_positive(app, "--lr", r.rate.lr, "Learning rate")->group(group);
  add_choice(app, "--schedule", r.rate.kind, "How the rate goes")->group(group);
  add(app, "--warmup-epochs", r.rate.warmup_epochs, "Epochs in which the rate rises")->group(group);
  only(add(app, "--optimizer", run.optimizer, "Optimiser"), {"adam", "sgd", "lars", "lars-solo-learn"})->group(group);
  add(app, "--weight-decay", run.weight_decay, "Weight decay")->group(group);
  add_positive(app, "--lambda", r.lmb, "Weight of the loss's off-diagonal part")->group(group);
  add_choice(app, "--precision", r.precision, "Arithmetic on a GPU; a CPU takes float32")->group(group);
  add(app, "--micro-batch", run.micro_batch, "Images through the model at once; 0: all")->group(group);
  add_positive(app, "--accumulate", run.accumulate, "Samples of a step, from several batches; 1: each batch is a step")
      ->group(group);
  add(app, "--clip", run.clip, "Largest norm of the gradient; 0: any")->group(group);
  add_flag(app, "skip-non-finite", run.skip_non_finite, "Leave a step out whose loss is not finite, and go on")
      ->group(group);
  add_positive(app, "--short", run.fraction, "Share of each epoch to do")->group(group);
  add(app, "--max-minutes", run.max_minutes, "End after this time; 0: no limit")->group(group);
  add_device(app, run.device)->group(group);
  add(app, "--threads", run.threads, "Threads of computation; 0: LibTorch's choice")->group(group);
}

void bind_results(CLI::App& app, Run& run) {
  constexpr auto group = "Results";
  app.add_option("--out", run.out, "Folder of all that is written")->default_str(run.out.string())->group(group);
  add_flag(app, "resume", run.resume, "Go on from the newest checkpoint in the folder, if there is one")->group(group);
  add(app, "--checkpoint-steps", run.checkpoint_steps, "Save every so many steps too; 0: after epochs")->group(group);
  add_flag(app, "tensorboard", run.tensorboard, "Write event files for TensorBoard")->group(group);
  add_flag(app, "report", run.report, "Write a report at the end")->group(group);
  add(app, "--knn-epochs", run.knn_epochs, "Accuracy of neighbours every so many epochs, with labels; 0: never")
      ->group(group);
}

std::unique_ptr<CLI::App>
bind(const std::string& command, const std::string& what, const std::string& example, Run& run) {
  auto app = make_app(command, what, example);
  add_config(*app);
  auto names = list_recipes();
  names.insert(names.begin(), "auto");
  only(
      add(*app, "--recipe", run.recipe_name, "A published way of training; auto: chosen by what the images are"),
      names);
  run.optimizer = optimizer_name(run.recipe);
  run.weight_decay = weight_decay(run.recipe);
  add_data_options(*app, run.data);
  bind_views(*app, run);
  bind_model(*app, run);
  bind_training(*app, run);
  bind_results(*app, run);
  return app;
}

} // namespace

Resolved
resolve(const std::string& command, const std::string& what, const std::string& example, const Arguments& arguments) {
  Run asked;
  const auto first = bind(command, what, example, asked);
  parse(*first, arguments);
  const auto given = [&](const char* name) { return first->count(name) > 0; };

  Resolved resolved;
  auto& run = resolved.run;
  if (asked.recipe_name == "auto") {
    run = asked;
    run.data.channels = given("--channels") ? asked.recipe.n_in : 3;
    resolved.look = look_at(run.data);
    resolved.choices = choose(run, *resolved.look, given);
  } else {
    run.recipe = find_recipe(asked.recipe_name);
  }

  auto chosen = run; // the options' defaults; what was given is put over them
  const auto second = bind(command, what, example, chosen);
  parse(*second, arguments);
  set_optimizer(chosen.recipe, chosen.optimizer);
  if (given("--weight-decay")) {
    set_weight_decay(chosen.recipe, chosen.weight_decay);
  }
  chosen.weight_decay = weight_decay(chosen.recipe);
  set_views(chosen);
  if (chosen.recipe.n_in != 3) { // what colour alone has
    chosen.recipe.aug.jitter = chosen.recipe.aug.bw = false;
  }
  chosen.data.channels = chosen.recipe.n_in;
  run = std::move(chosen);
  return resolved;
}

std::string to_toml(const Run& run) {
  auto copy = run;
  return bind("pretrain", "", "", copy)->config_to_str(/*default_also=*/true, /*write_description=*/false);
}

} // namespace barlow::cli
