// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sstream>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <barlow/error.h>

namespace barlow {

/// Throws E("[name] text") unless the condition holds.
template <class E = Error, class... Args>
void check(bool ok, std::string_view name, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) {
    throw E(fmt::format("[{}] {}", name, fmt::format(text, std::forward<Args>(args)...)));
  }
}

/// "float32 [5, 1024]", for error messages.
inline std::string describe(const at::Tensor& x) {
  if (!x.defined()) {
    return "an undefined tensor";
  }
  std::ostringstream out;
  out << x.scalar_type() << ' ' << x.sizes();
  return out.str();
}

} // namespace barlow
