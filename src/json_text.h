// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "check.h"

namespace barlow {

/// The value as text, in one line or indented. Throws Error "[name] ..." for strings that are not UTF-8.
inline std::string json_text(const nlohmann::ordered_json& json, std::string_view name, int indent = -1) {
  try {
    return json.dump(indent);
  } catch (const nlohmann::json::type_error& e) {
    throw Error(fmt::format("[{}] all text must be UTF-8: {}", name, e.what()));
  }
}

} // namespace barlow
