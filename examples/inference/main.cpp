// SPDX-License-Identifier: Apache-2.0
// A trained encoder in use: features of images, and which of them are alike.
//
//     inference ENCODER.safetensors IMAGE IMAGE...
#include <iostream>

#include <torch/torch.h>

#include <barlow/barlow.h>

int main(int argc, char** argv) try {
  const barlow::FeatureExtractor features(argc > 1 ? argv[1] : "encoder.safetensors");
  const std::vector<std::filesystem::path> files(argv + std::min(argc, 2), argv + argc);
  const auto x = torch::nn::functional::normalize(features(files)); // [N,F]
  const auto similarity = x.mm(x.t()).fill_diagonal_(-1);
  for (size_t i = 0; i < files.size(); ++i) {
    const auto nearest = similarity[static_cast<int64_t>(i)].argmax().item<int64_t>();
    std::cout << files[i].string() << " is most like " << files[static_cast<size_t>(nearest)].string() << '\n';
  }
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
