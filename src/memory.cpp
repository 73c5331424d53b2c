// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <cstdlib> // defines __GLIBC__
#include <limits>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace barlow {

void keep_freed_memory() {
#if defined(__GLIBC__)
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

} // namespace barlow
