// SPDX-License-Identifier: Apache-2.0
// What a program that uses barlow needs at least: its headers found, its symbols linked, LibTorch loaded.
#include <iostream>

#include <barlow/barlow.h>

int main() {
  auto encoder = barlow::create_encoder("resnet18");
  const auto features = encoder->forward(at::ones({2, 3, 32, 32}));
  std::cout << features.sizes() << '\n';
  return features.size(1) == encoder->num_features() ? 0 : 1;
}
