// SPDX-License-Identifier: Apache-2.0
// Our side of exchange.py:
//
//   barlow_exchange write FOLDER NAME...   an encoder's weights, ONNX file, and what it makes of some images
//   barlow_exchange read FOLDER NAME FILE  reads weights; how far its features are from those in FOLDER
#include <iostream>
#include <string>

#include <fmt/format.h>
#include <torch/torch.h>

#include <barlow/barlow.h>

namespace {

using barlow::Encoder;
namespace fs = std::filesystem;

std::string stem(std::string name) {
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

int64_t smallest_size(const Encoder& encoder) {
  constexpr int64_t kLeast = 64;
  const auto& info = encoder->info();
  const int64_t least = std::max(info.smallest_size, kLeast);
  return info.fixed_size ? info.input_size : (least + info.size_multiple - 1) / info.size_multiple * info.size_multiple;
}

void write(const fs::path& folder, const std::string& name) {
  torch::manual_seed(0);
  auto encoder = barlow::create_encoder(name);
  const torch::NoGradGuard no_grad;
  const int64_t size = smallest_size(encoder);
  for (const auto& part : encoder->modules()) { // running statistics of a batch, so that activations keep a size
    if (auto* norm = part->as<torch::nn::BatchNorm2dImpl>()) {
      norm->options.momentum(1);
    }
  }
  encoder->forward(torch::rand({8, 3, size, size}));
  export_onnx(encoder, folder / (stem(name) + ".onnx"), {.size = size});
  save_encoder(encoder, folder / (stem(name) + ".safetensors"), {.size = size});
  encoder->eval();
  const auto images = torch::rand({5, 3, size, size});
  const auto features = encoder->forward(images);
  encoder->to(torch::kDouble);
  const auto exact = encoder->forward(images.to(torch::kDouble));
  barlow::save_safetensors(
      folder / (stem(name) + ".io.safetensors"), {{"images", images}, {"features", features}, {"exact", exact}});
}

double read(const fs::path& folder, const std::string& name, const std::string& file) {
  auto encoder = barlow::create_encoder(name, {.pretrained = true, .weights = file});
  encoder->eval();
  const torch::NoGradGuard no_grad;
  at::Tensor images, expected;
  for (const auto& [what, tensor] : barlow::load_safetensors(folder / (stem(name) + ".io.safetensors"))) {
    (what == "images" ? images : expected) = tensor;
  }
  const auto difference = (encoder->forward(images) - expected).abs().max().item<double>();
  return difference / expected.abs().max().item<double>();
}

} // namespace

int main(int argc, char** argv) try {
  const std::string mode = argc > 3 ? argv[1] : "";
  if (mode == "write") {
    for (int i = 3; i < argc; ++i) {
      write(argv[2], argv[i]);
    }
  } else if (mode == "read" && argc == 5) {
    fmt::print("{:.3g}\n", read(argv[2], argv[3], argv[4]));
  } else {
    std::cerr << "usage: barlow_exchange write FOLDER NAME... | read FOLDER NAME FILE\n";
    return 1;
  }
} catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
