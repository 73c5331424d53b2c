// SPDX-License-Identifier: Apache-2.0
#include "choose.h"

#include <algorithm>

#include <torch/torch.h>

namespace barlow::cli {
namespace {

constexpr int64_t kSmallImage = 64; // pixels a side up to which networks keep the resolution in their first layers

// Takes the choices in turn; each may look at those before.
class Chooser {
 public:
  Chooser(Run& run_, const Look& look_, const std::function<bool(const char*)>& given)
      : run(run_), look(look_), cuda(device_of(run_.device).is_cuda()), given_(given) {}

  template <class T, class Rule>
  void choose(const char* option, T& field, Rule rule) {
    if (!given_(option)) {
      auto [value, text, why] = rule();
      field = value;
      if (!why.empty()) {
        choices.push_back({std::string(option).substr(2), text, why});
      }
    }
  }

  template <class T>
  struct Of {
    T value;
    std::string text, why;
  };

  Run& run;
  const Look& look;
  bool cuda;
  std::vector<Choice> choices;

 private:
  const std::function<bool(const char*)>& given_;
};

using Size = Chooser::Of<int64_t>;

Size channels(const Look& look) {
  if (look.channels == 1) {
    return {1, "1", fmt::format("none of {} images has colour", look.shown)};
  }
  return {look.channels, fmt::format("{}", look.channels), "the images have colour"};
}

Size size(const Look& look, bool cuda) {
  const int64_t side = look.median, most = cuda ? 224 : 96;
  if (side <= kSmallImage) {
    return {side, fmt::format("{}", side), "the images' own"};
  }
  const int64_t multiple = std::min(most, side / 32 * 32);
  return {
      multiple,
      fmt::format("{}", multiple),
      cuda ? "a multiple of 32, at most 224" : "a multiple of 32, at most 96 on a CPU; the papers' is 224"};
}

Chooser::Of<std::string> encoder(const Run& run, const Look& look, bool cuda) {
  if (run.recipe.size <= kSmallImage && !cuda) {
    return {"xresnet18", "xresnet18", "small images on a CPU"};
  }
  constexpr int64_t kManyImages = 50'000;
  if (cuda && run.recipe.size > kSmallImage && look.train >= kManyImages) {
    return {"resnet50", "resnet50", fmt::format("the paper's, for {} images or more", kManyImages)};
  }
  return {"resnet18", "resnet18", cuda ? "the smaller ResNet, for fewer images" : "the fastest ResNet on a CPU"};
}

Chooser::Of<StemType> stem(const Run& run, bool cuda) {
  if (run.recipe.size <= kSmallImage && cuda && run.recipe.encoder.rfind("resnet", 0) == 0) {
    return {StemType::Small, "small", "small images"};
  }
  return {StemType::Network, "network", ""};
}

Chooser::Of<RecipeViews> views(const Run& run) {
  using Of = Chooser::Of<RecipeViews>;
  const bool is_small = run.recipe.size <= kSmallImage;
  if (run.recipe.n_in != 3) {
    return is_small ? Of{RecipeViews::Documented, "documented", "small images without colour"}
                    : Of{RecipeViews::Gray, "gray", "images without colour"};
  }
  if (is_small) {
    return {RecipeViews::SoloLearnCifar, "solo-learn-cifar", "small colour images"};
  }
  return {RecipeViews::Paper, "paper", "colour images"};
}

// Digits, letters and symbols: on MNIST-5k four epochs of these end at .88 of the neighbours, of gray views, which
// mirror them, at .74.
void choose_for_symbols(Chooser& c) {
  auto& aug = c.run.recipe.aug;
  c.choose("--flip-p", aug.flip_p, [] { return Chooser::Of<double>{0, "0", "symbols have a left and a right"}; });
  c.choose("--rotate-deg", aug.rotate_deg, [] { return Chooser::Of<double>{15, "15", "and an upright"}; });
  c.choose("--crop-min", c.run.crop_min, [] { return Chooser::Of<double>{0.35, "0.35", "less is only a stroke"}; });
  c.choose("--blur", aug.blur, [] { return Chooser::Of<bool>{false, "no", "strokes are a few pixels wide"}; });
}

Size batch_size(const Look& look, bool cuda) {
  const int64_t most = cuda ? 256 : 64;
  int64_t batch = most;
  while (batch > 4 && batch * 4 > look.train) {
    batch /= 2;
  }
  return {batch, fmt::format("{}", batch), batch < most ? "few images: four steps an epoch" : cuda ? "CUDA" : "a CPU"};
}

Size epochs(const Look& look, bool cuda) {
  const int64_t seen = cuda ? 5'000'000 : 20'000, least = cuda ? 100 : 10, most = cuda ? 1000 : 100;
  const auto number = std::clamp((seen + look.train - 1) / std::max<int64_t>(look.train, 1), least, most);
  return {
      number,
      fmt::format("{}", number),
      fmt::format("about {} images seen, {} to {} epochs; more is better", seen, least, most)};
}

} // namespace

std::vector<Choice> choose(Run& run, const Look& look, const std::function<bool(const char*)>& given) {
  Chooser c(run, look, given);
  auto& r = run.recipe;
  c.choose("--channels", r.n_in, [&] { return channels(look); });
  c.choose("--size", r.size, [&] { return size(look, c.cuda); });
  c.choose("--encoder", r.encoder, [&] { return encoder(run, look, c.cuda); });
  c.choose("--stem", r.stem, [&] { return stem(run, c.cuda); });
  c.choose("--pool", r.pool_type, [] {
    return Chooser::Of<std::optional<PoolingType>>{PoolingType::Avg, "avg", "the paper's"};
  });
  c.choose("--views", r.views, [&] { return views(run); });
  if (!given("--views") && r.views == RecipeViews::Documented) {
    choose_for_symbols(c);
  }
  c.choose("--batch-size", r.batch_size, [&] { return batch_size(look, c.cuda); });
  c.choose("--epochs", r.epochs, [&] { return epochs(look, c.cuda); });
  const int64_t width = c.cuda ? 2048 : 1024;
  for (auto [option, field] :
       {std::pair{"--hidden-size", &r.projector.hidden_size},
        std::pair{"--projection-size", &r.projector.projection_size}}) {
    c.choose(option, *field, [&] {
      return Size{width, fmt::format("{}", width), "wide enough to gain by, narrow enough to be quick"};
    });
  }
  c.choose("--schedule", r.rate.kind, [] {
    return Chooser::Of<RecipeRate::Kind>{RecipeRate::Kind::WarmupCosine, "warmup-cosine", "the paper's"};
  });
  c.choose("--warmup-epochs", r.rate.warmup_epochs, [&] {
    const double warmup = std::min(10., static_cast<double>(r.epochs) / 10);
    return Chooser::Of<double>{warmup, fmt::format("{}", warmup), "a tenth of the epochs, at most 10"};
  });
  if (run.optimizer == "adam") {
    c.choose("--lr", r.rate.lr, [] { return Chooser::Of<double>{1e-3, "0.001", "Adam's, of the documented example"}; });
  } else if (run.optimizer == "sgd") {
    c.choose("--lr", r.rate.lr, [&] {
      const double lr = 0.06 * static_cast<double>(r.batch_size) / 128;
      return Chooser::Of<double>{lr, fmt::format("{:.4g}", lr), "lightly's 0.06 for batches of 128"};
    });
  } else {
    c.choose("--lr", r.rate.lr, [&] {
      const double lr = 0.2 * static_cast<double>(r.batch_size) / 256;
      return Chooser::Of<double>{lr, fmt::format("{:.4g}", lr), "the paper's 0.2 for batches of 256"};
    });
  }
  const int64_t every = std::max<int64_t>(1, r.epochs / 10);
  c.choose("--knn-epochs", run.knn_epochs, [&] { return Size{every, fmt::format("{}", every), "ten times a run"}; });
  return std::move(c.choices);
}

} // namespace barlow::cli
