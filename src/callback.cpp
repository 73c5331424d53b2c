// SPDX-License-Identifier: Apache-2.0
#include <barlow/callback.h>

namespace barlow {

const char* event_name(Event event) {
  switch (event) {
#define BARLOW_EVENT(name) \
  case Event::name:        \
    return #name;
    BARLOW_EVENTS(BARLOW_EVENT)
#undef BARLOW_EVENT
  }
  return "unknown event";
}

} // namespace barlow
