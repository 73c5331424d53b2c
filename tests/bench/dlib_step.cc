// SPDX-License-Identifier: Apache-2.0
// A training step of dlib's loss_barlow_twins: ResNet-18 with a 3x3 stem on 32x32, projector 2048-2048-2048, SGD.
// Not part of the build (hence .cc): compare.py builds it and runs it as the peer of cifar_joint_step/32; Debian's libdlib-dev and libopenblas-dev have what it
// needs. Prints the median time of a step in ms.
#include <algorithm>
#include <chrono>
#include <iostream>

#include <dlib/dnn.h>

namespace {

using namespace dlib;

template <long channels, int kernel, int stride, typename SUBNET>
using conv = add_layer<con_<channels, kernel, kernel, stride, stride, kernel / 2, kernel / 2>, SUBNET>;

template <long channels, int stride, typename SUBNET>
using basic = bn_con<conv<channels, 3, 1, relu<bn_con<conv<channels, 3, stride, SUBNET>>>>>;

template <long channels, typename SUBNET>
using same = relu<add_prev1<basic<channels, 1, tag1<SUBNET>>>>;

template <long channels, typename SUBNET>
using smaller =
    relu<add_prev2<bn_con<conv<channels, 1, 2, skip1<tag2<basic<channels, 2, tag1<SUBNET>>>>>>>>;

template <typename SUBNET>
using resnet18 = avg_pool_everything<same<512, smaller<512, same<256, smaller<256,
    same<128, smaller<128, same<64, same<64, relu<bn_con<conv<64, 3, 1, SUBNET>>>>>>>>>>>>;

template <long features, typename SUBNET>
using hidden = relu<bn_fc<fc_no_bias<features, SUBNET>>>;

using network = loss_barlow_twins<fc<2048, hidden<2048, hidden<2048, resnet18<input_rgb_image_pair>>>>>;

matrix<rgb_pixel> noise(dlib::rand& random) {
  matrix<rgb_pixel> image(32, 32);
  for (auto& pixel : image) {
    pixel = {random.get_random_8bit_number(), random.get_random_8bit_number(), random.get_random_8bit_number()};
  }
  return image;
}

} // namespace

int main(int argc, char** argv) {
  const long batch = argc > 1 ? std::stol(argv[1]) : 32, steps = 3;
  dlib::rand random;
  std::vector<std::pair<matrix<rgb_pixel>, matrix<rgb_pixel>>> pairs;
  for (long i = 0; i < batch; ++i) {
    pairs.emplace_back(noise(random), noise(random));
  }
  network net((loss_barlow_twins_(0.0051F)));
  dnn_trainer<network, sgd> trainer(net, sgd(5e-4, 0.9));
  trainer.set_learning_rate(1e-3);
  std::vector<double> times;
  for (long i = 0; i <= steps; ++i) { // the first one allocates
    const auto start = std::chrono::steady_clock::now();
    trainer.train_one_step(pairs);
    trainer.get_net(); // waits for it
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin() + 1, times.end());
  std::cout << times[1 + times.size() / 2 - 1] << '\n';
}
