// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace barlow {

/// Lets malloc keep what is freed. By itself it gives large blocks back to the system at once, and each step of
/// training then waits for new pages to be mapped and zeroed: a quarter of the time of ResNet-18 on 32x32. glibc;
/// elsewhere nothing happens.
void keep_freed_memory();

} // namespace barlow
