// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include "../check.h"

namespace barlow {

void EncoderRegistry::add(const std::string& name, Entry entry) {
  check(!name.empty(), "register_encoder", "the name must not be empty");
  check(entry.builder != nullptr, "register_encoder", "the builder of '{}' must not be empty", name);
  const bool is_new = entries_.emplace(name, std::move(entry)).second;
  check(is_new, "register_encoder", "there is an encoder '{}' already; choose another name", name);
}

const EncoderRegistry::Entry* EncoderRegistry::find_in(Library library, const std::string& name) const {
  const auto found = entries_.find(name);
  return found != entries_.end() && found->second.library == library ? &found->second : nullptr;
}

const EncoderRegistry::Entry* EncoderRegistry::find(const std::string& name) const {
  if (const auto found = entries_.find(name); found != entries_.end()) {
    return &found->second;
  }
  const auto colon = name.find(':');
  const auto library = name.substr(0, colon == std::string::npos ? 0 : colon);
  const auto rest = name.substr(colon == std::string::npos ? 0 : colon + 1);
  if (library == "fastai") {
    return find_in(Library::Fastai, rest);
  }
  if (!library.empty() && library != "timm") {
    return nullptr;
  }
  const auto* renamed = renamed_encoder(rest);
  const std::string present = renamed != nullptr ? renamed : rest;
  return find_in(Library::Timm, present.substr(0, present.find('.')));
}

EncoderRegistry& encoder_registry() {
  static EncoderRegistry registry = [] {
    EncoderRegistry filled;
    add_convnexts(filled);
    add_densenets(filled);
    add_efficientnets(filled);
    add_mlp_mixers(filled);
    add_regnets(filled);
    add_resnets(filled);
    add_resnetv2s(filled);
    add_senets(filled);
    add_swins(filled);
    add_torchvision_nets(filled);
    add_vggs(filled);
    add_vits(filled);
    add_xresnets(filled);
    return filled;
  }();
  return registry;
}

} // namespace barlow
