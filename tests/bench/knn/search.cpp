// SPDX-License-Identifier: Apache-2.0
// One search for nearest neighbours: seconds and peak memory, as JSON. See ../knn.py.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include <fmt/format.h>
#include <torch/torch.h>

#include <barlow/knn.h>

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::cerr << "usage: barlow_knn ROWS QUERIES K\n";
    return 1;
  }
  constexpr int64_t kWidth = 1024;
  torch::manual_seed(0);
  const auto bank = torch::randn({std::atoll(argv[1]), kWidth}), query = torch::randn({std::atoll(argv[2]), kWidth});
  const auto start = std::chrono::steady_clock::now();
  const auto found = barlow::nearest(query, bank, std::atoll(argv[3]));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "{{\"seconds\": {:.3f}, \"peak_mb\": {:.0f}}}\n", seconds.count(), static_cast<double>(usage.ru_maxrss) / 1024);
} catch (const std::exception& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
