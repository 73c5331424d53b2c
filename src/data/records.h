// SPDX-License-Identifier: Apache-2.0
// Contents of the files of MNIST and CIFAR. `name` is the file's, in errors.
#pragma once

#include <string_view>

#include <barlow/datasets.h>

namespace barlow {

/// Plain or gzip.
at::Tensor parse_idx(std::string_view bytes, std::string_view name);

CifarRecords parse_cifar(std::string_view bytes, Cifar kind, std::string_view name);

} // namespace barlow
