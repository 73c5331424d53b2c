// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include <barlow/encoder.h>

namespace barlow {

/// The names that exist and how each is built. A name of a torchvision network in fastai's layout has the prefix
/// "fastai:"; every other is plain.
class EncoderRegistry {
 public:
  enum class Library { Timm, Fastai, User };
  struct Entry {
    Library library;
    EncoderBuilder builder;
  };

  void add(const std::string& name, Entry entry); // throws Error if the name is taken

  /// Takes plain names, "timm:NAME", "fastai:NAME", a timm name with a tag of weights ("resnet50.a1_in1k"), and names
  /// that timm gave up.
  const Entry* find(const std::string& name) const;

  const std::map<std::string, Entry>& all() const {
    return entries_;
  }

 private:
  const Entry* find_in(Library library, const std::string& name) const;
  std::map<std::string, Entry> entries_;
};

/// A line of a family's table.
template <class Config>
struct Variant {
  const char* name;
  Config config;
};

/// Enters a family's table; Impl is made of (name, config, options).
template <class Impl, class Config>
void add_family(
    EncoderRegistry& registry,
    EncoderRegistry::Library library,
    const std::vector<Variant<Config>>& table) {
  for (const auto& variant : table) {
    const auto build = [config = variant.config](const std::string& name, const EncoderOptions& options) {
      return Encoder(std::make_shared<Impl>(name, config, options));
    };
    registry.add(variant.name, {library, build});
  }
}

// One function a family; registry.cpp lists them.
void add_convnexts(EncoderRegistry& registry);
void add_densenets(EncoderRegistry& registry);
void add_efficientnets(EncoderRegistry& registry);
void add_mlp_mixers(EncoderRegistry& registry);
void add_regnets(EncoderRegistry& registry);
void add_resnets(EncoderRegistry& registry);
void add_resnetv2s(EncoderRegistry& registry);
void add_senets(EncoderRegistry& registry);
void add_swins(EncoderRegistry& registry);
void add_torchvision_nets(EncoderRegistry& registry);
void add_vggs(EncoderRegistry& registry);
void add_vits(EncoderRegistry& registry);
void add_xresnets(EncoderRegistry& registry);

/// The registry of this process, filled with every family at first use.
EncoderRegistry& encoder_registry();

/// The present name of a timm network that was renamed, or nothing. Source: timm 1.0.31.
const char* renamed_encoder(const std::string& old_name);

} // namespace barlow
