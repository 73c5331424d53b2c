// SPDX-License-Identifier: Apache-2.0
// Precompiled: a file that includes torch/torch.h costs about 20 s without it.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <torch/torch.h>
