// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoder.h>

#include <barlow/weights.h>

#include "check.h"
#include "encoders/registry.h"
#include "nearest.h"

namespace barlow {
namespace {

bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) {
    return text.empty();
  }
  if (pattern[0] == '*') {
    return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) && matches(pattern.substr(1), text.substr(1));
}

} // namespace

EncoderImpl::EncoderImpl(EncoderInfo info) : torch::nn::Module(info.name), info_(std::move(info)) {
  check(info_.n_in >= 1, "create_encoder", "n_in must be at least 1, received {} for '{}'", info_.n_in, info_.name);
  check(
      info_.num_features >= 1,
      "EncoderImpl",
      "num_features must be at least 1, received {} for '{}'",
      info_.num_features,
      info_.name);
}

Encoder create_encoder(const std::string& name, const EncoderOptions& options) {
  constexpr auto here = "create_encoder";
  check(options.n_in >= 1, here, "n_in must be at least 1, received {} for '{}'", options.n_in, name);
  check(
      options.pretrained != options.weights.empty(),
      here,
      "pretrained and weights go together, received pretrained = {} and weights = '{}' for '{}'; weights is a "
      "safetensors file, nothing is downloaded",
      options.pretrained,
      options.weights,
      name);
  const auto* builder = encoder_registry().find(name);
  if (builder == nullptr) {
    const auto names = list_encoders();
    check(
        false,
        here,
        "unknown encoder '{}'; did you mean '{}'? (list_encoders() names all {})",
        name,
        nearest(name, names),
        names.size());
  }
  auto encoder = (*builder)(name, options);
  if (options.pretrained) {
    load_weights(*encoder, options.weights);
  }
  return encoder;
}

std::vector<std::string> list_encoders(const std::string& pattern) {
  std::vector<std::string> names;
  for (const auto& [name, builder] : encoder_registry().all()) {
    if (matches(pattern, name)) {
      names.push_back(name);
    }
  }
  return names;
}

void register_encoder(const std::string& name, EncoderBuilder builder) {
  encoder_registry().add(name, std::move(builder));
}

} // namespace barlow
