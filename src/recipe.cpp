// SPDX-License-Identifier: Apache-2.0
#include <barlow/recipe.h>

#include <cmath>

#include <fmt/ranges.h>
#include <torch/cuda.h>
#include <nlohmann/json.hpp>

#include "check.h"
#include "file.h"
#include "json_text.h"
#include "names.h"
#include "nearest.h"

namespace barlow {
namespace {

using Kind = RecipeRate::Kind;

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all{
      {.name = "mnist-tiny",
       .source = "self_supervised 1.0.4, the documentation of Barlow Twins",
       .n_in = 1,
       .size = 28,
       .batch_size = 5,
       .epochs = 1,
       .views = RecipeViews::Documented,
       .aug = {.rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt},
       .encoder = "xresnet18",
       .pool_type = PoolingType::CatAvgMax,
       .projector = {.hidden_size = 1024, .projection_size = 1024},
       .optimizer = AdamOptions{},
       .rate = {.lr = 1e-3}},
      // The biases' rate is not adapted, so the published 1/W gradients are part of the recipe. W is that of the 32
      // processes its program was published with.
      {.name = "paper-imagenet",
       .source = "Zbontar et al., 2021; facebookresearch/barlowtwins",
       .batch_size = 2048,
       .epochs = 1000,
       .projector = {.hidden_size = 8192, .projection_size = 8192, .bias = false, .last_bias = false},
       .lmb = 0.0051,
       .eps = 1e-5,
       .view_order = ViewOrder::Separate,
       .reference_world_size = 32,
       .optimizer = LarsOptions{.lr = 0.2, .bias_lr = 0.0048, .weight_decay = 1e-6},
       .rate = {.kind = Kind::WarmupCosine, .lr = 0.2 * 2048 / 256, .warmup_epochs = 10, .end = 0.001},
       .precision = Precision::Float16},
      {.name = "solo-learn-cifar10",
       .source = "solo-learn, CIFAR-10 with Barlow Twins: online linear accuracy 92.10",
       .size = 32,
       .batch_size = 256,
       .epochs = 1000,
       .views = RecipeViews::SoloLearnCifar,
       .encoder = "resnet18",
       .stem = StemType::SmallPadded,
       .projector = {.hidden_size = 2048, .projection_size = 2048},
       .lmb = 0.0051,
       .eps = 1e-5,
       .loss_scale = 0.1,
       .view_order = ViewOrder::Separate,
       .optimizer = LarsOptions::solo_learn(),
       .rate =
           {.kind = Kind::WarmupCosine, .lr = 0.3, .warmup_epochs = 10, .warmup_start = 3e-5, .ramp = Ramp::SoloLearn},
       .precision = Precision::Float16},
      {.name = "lightly-cifar10",
       .source = "lightly, CIFAR-10 benchmark of Barlow Twins: kNN accuracy 84.2 after 200 epochs",
       .size = 32,
       .batch_size = 128,
       .epochs = 200,
       .views = RecipeViews::LightlyCifar,
       .encoder = "resnet18",
       .stem = StemType::SmallLinear,
       .projector = {.hidden_size = 2048, .projection_size = 2048, .nlayers = 2, .bias = false},
       .unbiased = true,
       .view_order = ViewOrder::Separate,
       .optimizer = SgdOptions{.momentum = 0.9, .weight_decay = 5e-4},
       .rate = {.kind = Kind::CosineByEpoch, .lr = 0.06}},
  };
  return all;
}

nlohmann::ordered_json optimizer_json(const Recipe& recipe) {
  struct Visitor {
    nlohmann::ordered_json operator()(const AdamOptions& o) const {
      return {{"name", "adam"}, {"mom", o.mom}, {"sqr_mom", o.sqr_mom}, {"eps", o.eps}, {"wd", o.wd}};
    }
    nlohmann::ordered_json operator()(const SgdOptions& o) const {
      return {{"name", "sgd"}, {"momentum", o.momentum}, {"weight_decay", o.weight_decay}, {"nesterov", o.nesterov}};
    }
    nlohmann::ordered_json operator()(const LarsOptions& o) const {
      return {
          {"name", "lars"},
          {"bias_lr_of_lr", o.bias_lr.value_or(o.lr) / o.lr},
          {"momentum", o.momentum},
          {"weight_decay", o.weight_decay},
          {"eta", o.eta},
          {"eps", o.eps},
          {"clip", o.clip}};
    }
  };
  return std::visit(Visitor(), recipe.optimizer);
}

nlohmann::ordered_json stats_json(const std::optional<Stats>& stats) {
  return stats ? nlohmann::ordered_json{{"mean", stats->mean}, {"std", stats->std}} : nlohmann::ordered_json();
}

nlohmann::ordered_json views_json(const Recipe& r) {
  nlohmann::ordered_json json{{"name", word_of(r.views)}};
  if (r.views == RecipeViews::Documented) {
    const auto& a = r.aug;
    json.update(
        {{"rotate", a.rotate},
         {"jitter", a.jitter},
         {"bw", a.bw},
         {"blur", a.blur},
         {"resize_scale", {a.resize_scale.first, a.resize_scale.second}},
         {"resize_ratio", {a.resize_ratio.first, a.resize_ratio.second}},
         {"rotate_deg", a.rotate_deg},
         {"jitter_s", a.jitter_s},
         {"blur_s", {a.blur_s.first, a.blur_s.second}},
         {"same_on_batch", a.same_on_batch},
         {"crop_same_on_batch", a.crop_same_on_batch},
         {"flip_p", a.flip_p},
         {"rotate_p", a.rotate_p},
         {"jitter_p", a.jitter_p},
         {"bw_p", a.bw_p},
         {"blur_p", a.blur_p},
         {"xtra_tfms", a.xtra_tfms.size()},
         {"stats", stats_json(a.stats)}});
    return json;
  }
  if (const auto& scale = r.view_options.resize_scale) {
    json["resize_scale"] = {scale->first, scale->second};
  }
  json["stats"] = stats_json(stats(r));
  return json;
}

} // namespace

std::vector<std::string> list_recipes() {
  std::vector<std::string> names;
  for (const auto& recipe : recipes()) {
    names.push_back(recipe.name);
  }
  return names;
}

Recipe find_recipe(const std::string& name) {
  for (const auto& recipe : recipes()) {
    if (recipe.name == name) {
      return recipe;
    }
  }
  const auto names = list_recipes();
  throw Error(
      fmt::format(
          "[find_recipe] unknown recipe '{}'; did you mean '{}'? There are {}",
          name,
          nearest(name, names),
          fmt::join(names, ", ")));
}

std::string to_json(const Recipe& r) {
  const nlohmann::ordered_json json{
      {"name", r.name},
      {"version", r.version},
      {"source", r.source},
      {"data", {{"n_in", r.n_in}, {"size", r.size}, {"batch_size", r.batch_size}, {"epochs", r.epochs}}},
      {"views", views_json(r)},
      {"encoder",
       {{"name", r.encoder}, {"pool_type", r.pool_type ? word_of(*r.pool_type) : "own"}, {"stem", word_of(r.stem)}}},
      {"projector",
       {{"hidden_size", r.projector.hidden_size},
        {"projection_size", r.projector.projection_size},
        {"bn", r.projector.bn},
        {"nlayers", r.projector.nlayers},
        {"bias", r.projector.bias},
        {"last_bias", r.projector.last_bias}}},
      {"loss",
       {{"lmb", r.lmb},
        {"eps", r.eps},
        {"unbiased", r.unbiased},
        {"loss_scale", r.loss_scale},
        {"view_order", word_of(r.view_order)},
        {"reference_world_size", r.reference_world_size}}},
      {"optimizer", optimizer_json(r)},
      {"rate",
       {{"kind", word_of(r.rate.kind)},
        {"lr", r.rate.lr},
        {"warmup_epochs", r.rate.warmup_epochs},
        {"warmup_start", r.rate.warmup_start},
        {"end", r.rate.end},
        {"ramp", word_of(r.rate.ramp)}}},
      {"precision", word_of(r.precision)}};
  return json_text(json, "to_json", 2);
}

std::string recipe_id(const Recipe& recipe) {
  return fmt::format("{} v{} {:08x}", recipe.name, recipe.version, crc32(to_json(recipe)));
}

BarlowTwinsModel create_model(const Recipe& r) {
  EncoderOptions options{.n_in = r.n_in, .stem = r.stem};
  options.pool_type = r.pool_type;
  return create_barlow_twins_model(create_encoder(r.encoder, options), r.projector);
}

std::vector<Pipeline> aug_pipelines(const Recipe& r) {
  auto documented = r.aug;
  auto options = r.view_options;
  documented.size = options.size = r.size;
  switch (r.views) {
    case RecipeViews::Documented:
      return get_barlow_twins_aug_pipelines(documented);
    case RecipeViews::Paper:
      return get_barlow_twins_paper_aug_pipelines(options);
    case RecipeViews::SoloLearnCifar:
      return get_cifar_aug_pipelines(options);
    case RecipeViews::LightlyCifar:
      return get_lightly_cifar_aug_pipelines(options);
    case RecipeViews::Gray:
      return get_gray_aug_pipelines(options);
  }
  return {};
}

std::optional<Stats> stats(const Recipe& r) {
  if (r.views == RecipeViews::Documented) {
    return r.aug.stats;
  }
  if (!r.view_options.normalize || r.view_options.stats) {
    return r.view_options.normalize ? r.view_options.stats : std::nullopt;
  }
  switch (r.views) {
    case RecipeViews::Gray:
      return std::nullopt;
    case RecipeViews::SoloLearnCifar:
      return kCifar10Stats;
    default:
      return kImagenetStats;
  }
}

BarlowTwins barlow_twins(const Recipe& r) {
  return BarlowTwins(
      aug_pipelines(r),
      {.lmb = r.lmb,
       .eps = r.eps,
       .unbiased = r.unbiased,
       .loss_scale = r.loss_scale,
       .reference_world_size = r.reference_world_size,
       .view_order = r.view_order});
}

LearnerOptions learner_options(const Recipe& r) {
  LearnerOptions options{.lr = r.rate.lr, .recipe = recipe_id(r)};
  options.opt_func = [optimizer = r.optimizer](const torch::nn::Module& module) -> std::unique_ptr<Optimizer> {
    if (const auto* adam = std::get_if<AdamOptions>(&optimizer)) {
      return make_adam(module, *adam);
    }
    if (const auto* sgd = std::get_if<SgdOptions>(&optimizer)) {
      return make_sgd(module, *sgd);
    }
    return make_lars(module, std::get<LarsOptions>(optimizer));
  };
  if (torch::cuda::is_available()) {
    options.precision = r.precision;
  }
  return options;
}

Schedule schedule(const Recipe& r) {
  const auto& rate = r.rate;
  switch (rate.kind) {
    case Kind::Constant:
      return constant(rate.lr);
    case Kind::CosineByEpoch:
      return by_epoch(warmup_cosine(rate.lr, {.end = rate.end * rate.lr}), r.epochs);
    case Kind::WarmupCosine:
      break;
  }
  return [rate, epochs = r.epochs](int64_t step, int64_t steps) {
    const double steps_an_epoch = static_cast<double>(steps) / static_cast<double>(epochs);
    const WarmupCosineOptions options{
        .warmup_steps = std::llround(rate.warmup_epochs * steps_an_epoch),
        .warmup_start = rate.warmup_start,
        .end = rate.end * rate.lr,
        .ramp = rate.ramp};
    return warmup_cosine(rate.lr, options)(step, steps);
  };
}

void fit(Learner& learn, const Recipe& recipe) {
  learn.fit(recipe.epochs, schedule(recipe));
}

} // namespace barlow
