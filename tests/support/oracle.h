// SPDX-License-Identifier: Apache-2.0
// Reference values that the scripts in tests/oracles wrote, and the hashed tensors that they were computed from.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

namespace barlow::testing {

struct Oracle {
  nlohmann::json info; // parameters, tolerances, names
  std::map<std::string, torch::Tensor> tensors;

  const torch::Tensor& at(const std::string& key) const; // throws with the key if it is missing
};

/// STEM.json and STEM.safetensors, in tests/oracles unless the stem is absolute.
Oracle load_oracle(const std::filesystem::path& stem);

uint32_t crc32(const std::string& text);

/// The hashed tensor of this name: float64, uniform in [-0.5, 0.5).
torch::Tensor hashed(const std::string& name, at::IntArrayRef shape);

/// Every parameter and buffer from the hash of its state-dict name, rounded to its own type.
void fill_by_name(torch::nn::Module& module);

/// Largest |a - b|, where it is, and both values there: for messages.
std::string largest_difference(const torch::Tensor& a, const torch::Tensor& b);

/// max |a - b| <= tolerance * max |b|
::testing::AssertionResult close_to_scale(const torch::Tensor& a, const torch::Tensor& b, double tolerance);

/// Every |a - b| <= relative * |b| + absolute
::testing::AssertionResult
close_each(const torch::Tensor& a, const torch::Tensor& b, double relative, double absolute = 0);

/// The message of the barlow::Error that f throws; a failure if it throws none.
std::string error_of(const std::function<void()>& f);

} // namespace barlow::testing
