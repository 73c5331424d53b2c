// SPDX-License-Identifier: Apache-2.0
// The recipe of a run whose person gave none: stated rules on what the images are.
#pragma once

#include <functional>

#include "run.h"

namespace barlow::cli {

/// Fills what was not given; choices that go without saying are not among those returned. `given` is asked for an
/// option's name; what is given stands in `run` already.
std::vector<Choice> choose(Run& run, const Look& look, const std::function<bool(const char*)>& given);

} // namespace barlow::cli
