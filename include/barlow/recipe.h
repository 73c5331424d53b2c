// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <barlow/augment/presets.h>
#include <barlow/callbacks/barlow_twins.h>
#include <barlow/encoder.h>
#include <barlow/learner.h>
#include <barlow/model.h>
#include <barlow/optim.h>
#include <barlow/schedule.h>

namespace barlow {

/// The pair of pipelines that make a recipe's views.
enum class RecipeViews {
  Documented, ///< get_barlow_twins_aug_pipelines, with Recipe::aug
  Paper, ///< get_barlow_twins_paper_aug_pipelines
  SoloLearnCifar, ///< get_cifar_aug_pipelines
  LightlyCifar, ///< get_lightly_cifar_aug_pipelines
  Gray, ///< get_gray_aug_pipelines
};

/// How a recipe's learning rate goes: see schedule.h.
struct RecipeRate {
  enum class Kind { Constant, WarmupCosine, CosineByEpoch };
  Kind kind = Kind::Constant;
  double lr = 1e-3; ///< of the recipe's batch size
  double warmup_epochs = 0;
  double warmup_start = 0; ///< rate to rise from
  double end = 0; ///< share of the rate at the end
  Ramp ramp = Ramp::Authors;
};

/// All that a published way of training consists of, in one place. Change a copy's fields for a variant of your own:
/// its hash changes with them.
struct Recipe {
  std::string name;
  int64_t version = 1; ///< grows when the recipe changes
  std::string source;

  int64_t n_in = 3, size = 224, batch_size = 256, epochs = 100;
  RecipeViews views = RecipeViews::Paper;
  AugOptions aug{}; ///< of the documented views, whose size is `size`
  RecipeOptions view_options{}; ///< of the other views, whose size is `size`

  std::string encoder = "resnet50";
  std::optional<PoolingType> pool_type = PoolingType::Fast;
  StemType stem = StemType::Network;
  ProjectorOptions projector{};

  double lmb = 0.005, eps = 0, loss_scale = 1;
  bool unbiased = false; ///< LossOptions::unbiased
  ViewOrder view_order = ViewOrder::Concatenated;
  int64_t reference_world_size = 1;

  std::variant<AdamOptions, SgdOptions, LarsOptions> optimizer{};
  RecipeRate rate{};
  Precision precision = Precision::Float32; ///< on a GPU; on a CPU Float32
};

/// mnist-tiny, paper-imagenet, solo-learn-cifar10, lightly-cifar10.
std::vector<std::string> list_recipes();

/// Throws Error for an unknown name, naming the nearest.
Recipe find_recipe(const std::string& name);

/// Every field by name: what the hash is of, and what a person reads.
std::string to_json(const Recipe& recipe);

/// "paper-imagenet v1 8c736521": name, version and a hash of all fields. Checkpoints carry it.
std::string recipe_id(const Recipe& recipe);

// What a run is made of:
//
//     const auto recipe = find_recipe("solo-learn-cifar10");
//     Learner learn(dls, create_model(recipe), learner_options(recipe));
//     learn.add(barlow_twins(recipe));
//     fit(learn, recipe);

BarlowTwinsModel create_model(const Recipe& recipe);
std::vector<Pipeline> aug_pipelines(const Recipe& recipe);
std::optional<Stats> stats(const Recipe& recipe); ///< what its views are normalised with; nullopt: nothing
BarlowTwins barlow_twins(const Recipe& recipe);
LearnerOptions learner_options(const Recipe& recipe);
Schedule schedule(const Recipe& recipe);
void fit(Learner& learn, const Recipe& recipe); ///< for the recipe's epochs, by its schedule

} // namespace barlow
