// SPDX-License-Identifier: Apache-2.0
// A network of your own, trained like any other: derive from EncoderImpl, register a name.
#include <iostream>

#include <torch/torch.h>

#include <barlow/barlow.h>

namespace nn = torch::nn;

// Three convolutions and an average: [N,n_in,H,W] -> [N,64].
class SmallEncoder : public barlow::EncoderImpl {
 public:
  explicit SmallEncoder(int64_t n_in) : EncoderImpl({.name = "small", .n_in = n_in, .num_features = 64}) {
    for (const int64_t width : {16, 32, 64}) {
      layers_->push_back(nn::Conv2d(nn::Conv2dOptions(n_in, width, 3).stride(2).padding(1).bias(false)));
      layers_->push_back(barlow::BatchNorm2d(width));
      layers_->push_back(nn::ReLU());
      n_in = width;
    }
    register_module("layers", layers_);
  }

  torch::Tensor forward(const torch::Tensor& x) override {
    return layers_->forward(x).mean({2, 3});
  }

 private:
  barlow::Sequential layers_;
};

int main() try {
  barlow::register_encoder("small", [](const std::string&, const barlow::EncoderOptions& options) {
    return barlow::Encoder(std::make_shared<SmallEncoder>(options.n_in));
  });

  torch::manual_seed(42);
  auto dls = barlow::DataLoaders::from_folder(BARLOW_EXAMPLE_DATA "/mnist_tiny", {.batch_size = 50, .channels = 1});
  auto model = barlow::create_barlow_twins_model(barlow::create_encoder("small", {.n_in = 1}));
  barlow::Learner learn(dls, model);
  learn.add(
      barlow::BarlowTwins(
          barlow::get_barlow_twins_aug_pipelines(
              {.size = 28, .rotate = false, .jitter = false, .bw = false, .blur = false, .stats = std::nullopt})));
  learn.fit(3);
  std::cout << barlow::count_parameters(*model) << " parameters, loss " << learn.recorder.losses.back() << '\n';
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
