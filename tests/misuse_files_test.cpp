// SPDX-License-Identifier: Apache-2.0
// Weights, checkpoints, ONNX, the feature extractor and recipes, called as they must not be; and what only looks so.
#include <barlow/barlow.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/misuse.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using torch::Tensor;
namespace fs = std::filesystem;
namespace nn = torch::nn;

TEST(Misuse, Weights) {
  constexpr auto save = "save_safetensors", load = "load_weights", load_file = "load_safetensors";
  constexpr auto save_state = "save_checkpoint", load_state = "load_checkpoint";
  const auto file = paths().root.path() / "weights.safetensors";
  const auto w = torch::rand({2, 3});
  const nn::Linear linear(3, 2);
  refuses(save, [&] { save_safetensors(file, {{"a", w}, {"a", w}}); });
  const BadTensors bad{
      {"undefined", {}}, {"complex", w.to(torch::kComplexFloat)}, {"without data", w.to(torch::kMeta)}};
  refuses(save, bad, [&](const Tensor& x) { save_safetensors(file, {{"a", x}}); });
  for (const auto* name : {"\xff", "__metadata__"}) {
    refuses(save, [&] { save_safetensors(file, {{name, w}}); });
  }
  refuses(save, [&] { save_safetensors(file, {{"a", w}}, {{"key", "\xff"}}); });
  refuses(save, [&] {
    nn::Module module;
    module.register_buffer("mean", w.to(torch::kMeta));
    save_weights(module, file);
  });
  const auto take = [](const Tensor& weight, const char* bias) {
    load_weights(*nn::Linear(3, 2), {{"weight", weight}, {bias, torch::rand({2})}}, "here");
  };
  refuses(load, other_kinds(w) + BadTensors{{"turned", w.t()}}, [&](const Tensor& x) { take(x, "bias"); });
  refuses(load, [&] { take(w, "other"); });
  refuses(load, [&] { check_weights(*linear, {}, "here"); });
  refuses(save_state, [&] { save_checkpoint(file, {.tensors = {}, .info = {{"key", "\xff"}}}); });
  refuses(load_state, [] { parse_checkpoint({}, "here"); });

  refuses_to_read(load_file, [](const fs::path& path) { load_safetensors(path); });
  refuses_to_read(load_file, [](const fs::path& path) { load_tensors(path); });
  refuses_to_read(load_file, [](const fs::path& path) { load_weights(*nn::Linear(3, 2), path); });
  refuses_to_read(load_file, [](const fs::path& path) {
    create_encoder(kSmallVit, {.pretrained = true, .weights = path.string()});
  });
  refuses_to_read(load_state, [](const fs::path& path) { load_checkpoint(path); });
  refuses_to_write(save, [&](const fs::path& path) { save_safetensors(path, {{"a", w}}); });
  refuses_to_write(save, [&](const fs::path& path) { save_weights(*linear, path); });
  refuses_to_write(save_state, [](const fs::path& path) { save_checkpoint(path, {.tensors = {}, .info = {}}); });
}

TEST(Misuse, Onnx) {
  constexpr auto name = "export_onnx";
  const auto file = paths().root.path() / "encoder.onnx";
  const auto good = free_encoder([](const Tensor& x) { return x.flatten(1) * 2; });
  refuses(name, [&] { export_onnx(nullptr, file); });
  refuses(name, [&] { export_onnx(good, file, {.size = -1}); });
  refuses("Encoder::forward", [&] { export_onnx(small_vit(), file, {.size = 24}); });
  for (const auto type : {torch::kDouble, torch::kHalf}) {
    refuses(name, [&] {
      auto encoder = linear_encoder();
      encoder->to(type);
      export_onnx(encoder, file, {.size = 4});
    });
  }
  refuses(name, [&] {
    auto encoder = linear_encoder();
    encoder->register_buffer("mean", torch::empty({2}, torch::kMeta));
    export_onnx(encoder, file, {.size = 4});
  });
  refuses_broken_encoders(name, [&](const Encoder& encoder) { export_onnx(encoder, file); });
  refuses_to_write(name, [&](const fs::path& path) { export_onnx(good, path); });
}

TEST(Misuse, SavedEncoders) {
  constexpr auto name = "FeatureExtractor", save = "save_encoder";
  const auto file = paths().root.path() / "saved.safetensors";
  const Stats half{{0.5}, {0.5}};
  const auto put = [&](const SaveEncoderOptions& options) { save_encoder(small_vit(), file, options); };
  refuses(save, [&] { save_encoder(nullptr, file); });
  refuses(save, [&] { save_encoder(linear_encoder(), file); }); // which create_encoder does not know
  refuses(save, [&] { put({.size = -1}); });
  for (const auto& stats : {Stats{{0.5, 0.5}, {0.5}}, kImagenetStats, Stats{{0.5}, {0}}, Stats{{kNaN}, {0.5}}}) {
    refuses(save, [&] { put({.stats = stats}); });
  }
  refuses(save, [&] { put({.metadata = {{"size", "3"}}}); });
  refuses_to_write("save_safetensors", [](const fs::path& path) { save_encoder(small_vit(), path); });
  refuses_to_read("load_safetensors", [](const fs::path& path) { FeatureExtractor{path}; });

  const auto open = [&](const FeatureExtractorOptions& options = {}) { FeatureExtractor(file, options); };
  save_weights(*small_vit(), file);
  refuses(name, [&] { open(); });
  put({.size = 32, .stats = half});
  refuses(name, [&] { open({.batch_size = 0}); });
  refuses(name, [&] { open({.device = torch::kMeta}); });
  if (!torch::cuda::is_available()) {
    refuses(name, [&] { open({.device = torch::kCUDA}); });
  }
  struct Told {
    const char *key, *value, *name;
  };
  for (const auto& [key, value, error] :
       {Told{"encoder", "resnet5", "create_encoder"},
        Told{"encoder", "test_vit2", "load_weights"},
        Told{"size", "0", name},
        Told{"size", "-32", name},
        Told{"mean", "0.5 0.5", name},
        Told{"std", "0", name},
        Told{"std", "nan", name}}) {
    put({.size = 32, .stats = half});
    std::map<std::string, std::string> metadata;
    const auto tensors = load_safetensors(file, &metadata);
    metadata[key] = value;
    save_safetensors(file, tensors, metadata);
    refuses(error, [&] { open({.device = torch::kCPU}); });
  }

  put({.size = 32, .stats = half});
  const FeatureExtractor extract(file, {.device = torch::kCPU});
  const auto images = torch::rand({2, 1, 32, 32});
  const BadTensors shapes{{"of three dimensions", images[0]}, {"of five dimensions", images.unsqueeze(0)}};
  refuses(name, other_kinds(images) + shapes, [&](const Tensor& x) { extract(x); });
  refuses("normalize", [&] { extract(torch::rand({2, 3, 32, 32})); });
  refuses("DataLoader", [&] { extract({paths().missing}); });
  refuses("DataLoader", [&] { extract({paths().folder}); });
  refuses("read_image", [&] { extract({paths().text}); });
  EXPECT_THAT(extract(std::vector<fs::path>()).sizes(), ElementsAre(0, 64)); // which is no misuse, nor is
  EXPECT_THAT(extract(images.narrow(0, 0, 0)).sizes(), ElementsAre(0, 64));
}

TEST(Misuse, Recipes) {
  const auto with = [](const std::function<void(Recipe&)>& change) {
    auto recipe = find_recipe("mnist-tiny");
    change(recipe);
    return recipe;
  };
  refuses("find_recipe", [] { find_recipe("mnist"); });
  refuses("find_recipe", [] { find_recipe(""); });
  refuses("create_encoder", [&] { create_model(with([](Recipe& r) { r.encoder = "xresnet5"; })); });
  refuses("get_batch_augs", [&] { aug_pipelines(with([](Recipe& r) { r.size = -1; })); });
  refuses("BarlowTwins", [&] { barlow_twins(with([](Recipe& r) { r.lmb = kNaN; })); });
  refuses("constant", [&] { schedule(with([](Recipe& r) { r.rate.lr = kNaN; })); });
  const auto no_text = with([](Recipe& r) { r.name = "\xff"; });
  refuses("to_json", [&] { to_json(no_text); });
  refuses("to_json", [&] { recipe_id(no_text); });
  refuses("Learner::fit", [&] {
    Learner learn(small_data(), small_model(), quiet());
    fit(learn, with([](Recipe& r) { r.epochs = 0; }));
  });
}

} // namespace
} // namespace barlow
