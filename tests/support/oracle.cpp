// SPDX-License-Identifier: Apache-2.0
#include "support/oracle.h"

#include <array>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <barlow/barlow.h>

#include "file.h"

namespace barlow::testing {

uint32_t crc32(const std::string& text) {
  return barlow::crc32(std::string_view(text));
}

namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

torch::Tensor value_of(const std::string& name, const torch::Tensor& like) {
  if (ends_with(name, "num_batches_tracked") || !like.is_floating_point()) { // Module::to(dtype) takes counters along
    return torch::zeros_like(like);
  }
  auto v = hashed(name, like.sizes());
  if (like.dim() >= 2) {
    const int64_t fan_in = like.numel() / like.size(0);
    v = v * std::sqrt(12.) * std::sqrt(2. / static_cast<double>(fan_in));
  } else if (ends_with(name, "running_var")) {
    v = 1. + 0.5 * v;
  } else if (ends_with(name, "weight") && !ends_with(name, "running_mean")) {
    v = 1. + 0.1 * v;
  } else {
    v = 0.1 * v;
  }
  return v;
}

} // namespace

const torch::Tensor& Oracle::at(const std::string& key) const {
  const auto found = tensors.find(key);
  if (found == tensors.end()) {
    throw std::runtime_error("the oracle has no '" + key + "'");
  }
  return found->second;
}

Oracle load_oracle(const std::filesystem::path& stem) {
  const auto path = (std::filesystem::path(BARLOW_TEST_ORACLES) / stem).string();
  Oracle oracle;
  std::ifstream(path + ".json") >> oracle.info;
  for (auto& [name, tensor] : load_safetensors(path + ".safetensors")) {
    oracle.tensors.emplace(name, tensor);
  }
  return oracle;
}

torch::Tensor hashed(const std::string& name, at::IntArrayRef shape) {
  auto out = torch::empty(shape, torch::kDouble);
  const uint32_t h = crc32(name);
  auto* values = out.data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    uint32_t u = static_cast<uint32_t>(i) * 2654435761u + h;
    u ^= u >> 16;
    u *= 0x7feb352du;
    u ^= u >> 15;
    u *= 0x846ca68bu;
    u ^= u >> 16;
    values[i] = u / 4294967296.0 - 0.5;
  }
  return out;
}

void fill_by_name(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : state_dict(module)) {
    torch::Tensor(tensor).copy_(value_of(name, tensor));
  }
}

std::string largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.sizes() != b.sizes()) {
    return fmt::format("shapes differ: {} and {}", fmt::join(a.sizes(), "x"), fmt::join(b.sizes(), "x"));
  }
  const auto x = a.detach().to(torch::kDouble).flatten(), y = b.detach().to(torch::kDouble).flatten();
  if (x.numel() == 0) {
    return "empty";
  }
  const auto difference = (x - y).abs();
  const auto where = difference.argmax().item<int64_t>();
  return fmt::format(
      "largest difference {:.3e} at element {} of {}: {:.9g} against {:.9g}; scale {:.3e}",
      difference[where].item<double>(),
      where,
      x.numel(),
      x[where].item<double>(),
      y[where].item<double>(),
      y.abs().max().item<double>());
}

::testing::AssertionResult
close_each(const torch::Tensor& a, const torch::Tensor& b, double relative, double absolute) {
  if (a.sizes() == b.sizes()) {
    const auto x = a.detach().to(torch::kDouble), y = b.detach().to(torch::kDouble);
    if (((x - y).abs() <= y.abs() * relative + absolute).all().item<bool>()) {
      return ::testing::AssertionSuccess();
    }
  }
  return ::testing::AssertionFailure() << largest_difference(a, b) << "; allowed " << relative << " relative + "
                                       << absolute;
}

::testing::AssertionResult close_to_scale(const torch::Tensor& a, const torch::Tensor& b, double tolerance) {
  const double scale = b.numel() == 0 ? 0 : b.detach().to(torch::kDouble).abs().max().item<double>();
  return close_each(a, b, 0, tolerance * scale);
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no barlow::Error was thrown";
  return {};
}

} // namespace barlow::testing
