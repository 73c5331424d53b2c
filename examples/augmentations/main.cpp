// SPDX-License-Identifier: Apache-2.0
// Every transform at three strengths on one photograph, a row each behind the photograph itself.
//
//     augmentations PHOTO OUT.png
#include <iostream>

#include <barlow/barlow.h>
#include <torch/torch.h>

using torch::Tensor;

namespace {

constexpr int64_t kSide = 96;

struct Row {
  std::string name;
  std::function<Tensor(const Tensor& x, int strength)> at; // strength 0, 1, 2
};

std::vector<Row> rows(int64_t photo_side) {
  using namespace barlow;
  const auto one = [](std::array<double, 3> values, int i) {
    return std::vector<double>{values[static_cast<size_t>(i)]};
  };
  return {
      {"resized_crop",
       [=](const Tensor& x, int i) {
         const int64_t side = photo_side * (7 - 2 * i) / 8;
         return resized_crop(x, {{(photo_side - side) / 2, (photo_side - side) / 3, side, side}}, kSide);
       }},
      {"flips, rotate90",
       [](const Tensor& x, int i) {
         return i == 0 ? horizontal_flip(x, {true}) : i == 1 ? vertical_flip(x, {true}) : rotate90(x, {1});
       }},
      {"rotate (reflected)", [=](const Tensor& x, int i) { return rotate(x, one({10, 20, 30}, i)); }},
      {"rotate (rigid)", [=](const Tensor& x, int i) { return rotate(x, one({10, 20, 30}, i), RotationRule::Rigid); }},
      {"adjust_brightness", [=](const Tensor& x, int i) { return adjust_brightness(x, one({0.52, 0.8, 1.48}, i)); }},
      {"adjust_contrast", [=](const Tensor& x, int i) { return adjust_contrast(x, one({0.2, 0.52, 1.48}, i)); }},
      {"adjust_saturation", [=](const Tensor& x, int i) { return adjust_saturation(x, one({0, 0.52, 1.48}, i)); }},
      {"adjust_hue", [=](const Tensor& x, int i) { return adjust_hue(x, one({-0.12, 0.06, 0.12}, i)); }},
      {"adjust_gamma", [=](const Tensor& x, int i) { return adjust_gamma(x, one({0.5, 1.5, 2.5}, i)); }},
      {"apply_window", [](const Tensor& x, int i) { return apply_window(x, {{0.1 * (i + 1), 1 - 0.1 * (i + 1)}}); }},
      {"grayscale, equalize",
       [](const Tensor& x, int i) {
         return i == 0 ? grayscale(x, {true}) : i == 1 ? equalize(x, {true}) : equalize(grayscale(x, {true}), {true});
       }},
      {"solarize", [=](const Tensor& x, int i) { return solarize(x, one({0.8, 0.65, 0.5}, i)); }},
      {"gaussian_blur (sigma 0.5, 1, 2)",
       [](const Tensor& x, int i) {
         return gaussian_blur(x, {i == 0 ? Blur{5, 0.5} : i == 1 ? Blur{7, 1} : Blur{13, 2}});
       }},
      {"gaussian_blur (documented: s 4, 16, 31)",
       [](const Tensor& x, int i) {
         return gaussian_blur(x, {i == 0 ? Blur{3, 4} : i == 1 ? Blur{9, 16} : Blur{15, 31}});
       }},
      {"gaussian_noise", [](const Tensor& x, int i) { return gaussian_noise(x, {{0.04 * (i + 1), 1}}); }},
      {"erase",
       [](const Tensor& x, int i) {
         return erase(x, {Box{20, 30, int64_t{12} * (i + 1), int64_t{16} * (i + 1)}}, 0.5);
       }},
  };
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: augmentations PHOTO OUT.png\n";
    return 2;
  }
  try {
    const auto image = barlow::read_image(argv[1]).unsqueeze(0).to(torch::kFloat).div(255);
    const int64_t side = std::min(image.size(2), image.size(3));
    const auto square = image.narrow(2, (image.size(2) - side) / 2, side).narrow(3, (image.size(3) - side) / 2, side);
    const auto photo = barlow::resized_crop(square, {{0, 0, side, side}}, kSide);
    std::vector<Tensor> tiles;
    for (const auto& row : rows(side)) {
      std::cout << row.name << '\n';
      tiles.push_back(photo[0]);
      for (int strength = 0; strength < 3; ++strength) {
        tiles.push_back(row.at(row.name == "resized_crop" ? square : photo, strength)[0]);
      }
    }
    barlow::write_png(argv[2], barlow::image_grid(tiles, 8));
  } catch (const barlow::Error& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
