// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/augment/pipeline.h>
#include <barlow/data.h>

namespace barlow {

/// What a pipeline makes of a batch as its view `number`, also of no rows.
at::Tensor make_view(const Pipeline& pipeline, const Batch& batch, size_t number);

} // namespace barlow
