// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include <barlow/encoder.h>

namespace barlow {

/// The names that exist and how each is built.
class EncoderRegistry {
 public:
  void add(const std::string& name, EncoderBuilder builder); // throws Error if the name is taken
  const EncoderBuilder* find(const std::string& name) const;
  const std::map<std::string, EncoderBuilder>& all() const {
    return builders_;
  }

 private:
  std::map<std::string, EncoderBuilder> builders_;
};

// One function a family; registry.cpp lists them.
void add_resnets(EncoderRegistry& registry);
void add_xresnets(EncoderRegistry& registry);

/// The registry of this process, filled with every family at first use.
EncoderRegistry& encoder_registry();

} // namespace barlow
