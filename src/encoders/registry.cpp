// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include "../check.h"

namespace barlow {

void EncoderRegistry::add(const std::string& name, EncoderBuilder builder) {
  check(!name.empty(), "register_encoder", "the name must not be empty");
  check(builder != nullptr, "register_encoder", "the builder of '{}' must not be empty", name);
  const bool is_new = builders_.emplace(name, std::move(builder)).second;
  check(is_new, "register_encoder", "there is an encoder '{}' already; choose another name", name);
}

const EncoderBuilder* EncoderRegistry::find(const std::string& name) const {
  const auto found = builders_.find(name);
  return found == builders_.end() ? nullptr : &found->second;
}

EncoderRegistry& encoder_registry() {
  static EncoderRegistry registry = [] {
    EncoderRegistry filled;
    add_resnets(filled);
    add_xresnets(filled);
    return filled;
  }();
  return registry;
}

} // namespace barlow
