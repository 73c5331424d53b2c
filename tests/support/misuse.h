// SPDX-License-Identifier: Apache-2.0
// Calls as they must not be: each must be a barlow::Error whose text begins with a public name in brackets, never a
// crash and never another library's exception. What is wrong wherever it comes: tensors, numbers, paths, encoders.
#pragma once

#include <functional>
#include <limits>
#include <source_location>
#include <string>
#include <vector>

#include <torch/torch.h>

#include <barlow/data.h>
#include <barlow/encoder.h>

#include "in_memory.h"
#include "small_run.h"

namespace barlow::testing {

using Here = std::source_location;

/// Expects the call to throw an Error "[name] ...".
void refuses(const std::string& name, const std::function<void()>& call, const Here& here = Here::current());

// --- tensors

struct BadTensor {
  std::string what;
  torch::Tensor x;
};

struct BadTensors : std::vector<BadTensor> {
  using vector::vector;
};
BadTensors operator+(BadTensors some, const BadTensors& others);

BadTensors other_kinds(const torch::Tensor& good); ///< of a floating tensor with data
BadTensors other_shapes(const torch::Tensor& good); ///< of images [N,C,H,W] or an image [C,H,W]
BadTensors other_rows(const torch::Tensor& good); ///< of rows [N,F]: kinds, shapes and NaN
BadTensors other_labels(const torch::Tensor& good); ///< of labels [N], int64, N at least 2

/// Expects each of them to be refused.
void refuses(
    const std::string& name,
    const BadTensors& bad,
    const std::function<void(const torch::Tensor&)>& call,
    const Here& here = Here::current());

// --- numbers

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

void refuses(
    const std::string& name,
    const std::vector<double>& bad,
    const std::function<void(double)>& call,
    const Here& here = Here::current());

// --- paths

/// Paths that nothing can be read from or written to, in a folder for what tests write.
struct Paths {
  TemporaryFolder root{};
  std::filesystem::path folder = root.path() / "folder.npy", missing = root.path() / "missing",
                        empty = root.path() / "empty", text = root.path() / "text",
                        too_long = root.path() / std::string(300, 'x'), below_a_file = "/dev/null/x.npy";
  Paths();
};
const Paths& paths();

using PathFunction = std::function<void(const std::filesystem::path&)>;
void refuses_to_read(const std::string& name, const PathFunction& read, const Here& here = Here::current());
void refuses_to_write(const std::string& name, const PathFunction& write, const Here& here = Here::current());

// --- encoders

/// Of images [N,1,2,2], normally with 4 features.
using Network = std::function<torch::Tensor(const torch::Tensor&)>;
Encoder free_encoder(Network network, int64_t n_in = 1, int64_t num_features = 4);
inline Encoder linear_encoder() {
  return Encoder(std::make_shared<LinearEncoder>());
}

/// Expects that the encoders whose features are not [N,4] are refused.
void refuses_broken_encoders(
    const std::string& name,
    const std::function<void(const Encoder&)>& use,
    const Here& here = Here::current());

/// In evaluation mode, for all tests: a convolutional one, [N,1,H,W] -> [N,512], and a transformer, -> [N,64], for
/// sides of multiples of 16.
const Encoder& xresnet18();
const Encoder& small_vit();
constexpr auto kSmallVit = "test_vit";

// --- data

/// Two samples, from a function of their number.
class Made : public Dataset {
 public:
  explicit Made(std::function<Sample(int64_t)> make) : make_(std::move(make)) {}
  int64_t size() const override {
    return 2;
  }
  Sample get(int64_t index) const override {
    return make_(index);
  }

 private:
  std::function<Sample(int64_t)> make_;
};

} // namespace barlow::testing
