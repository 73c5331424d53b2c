// SPDX-License-Identifier: Apache-2.0
#include "autocast.h"

#include <ATen/autocast_mode.h>

namespace barlow {

Autocast::Autocast(at::DeviceType device, std::optional<at::ScalarType> type)
    : device_(device),
      was_enabled_(at::autocast::is_autocast_enabled(device)),
      old_type_(at::autocast::get_autocast_dtype(device)) {
  at::autocast::set_autocast_enabled(device, type.has_value());
  if (type) {
    at::autocast::set_autocast_dtype(device, *type);
  }
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (at::autocast::decrement_nesting() == 0) {
    at::autocast::clear_cache();
  }
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, old_type_);
}

std::optional<at::ScalarType> Autocast::current(at::DeviceType device) {
  return at::autocast::is_autocast_enabled(device) ? std::optional(at::autocast::get_autocast_dtype(device))
                                                   : std::nullopt;
}

} // namespace barlow
