// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barlow/augment/pipeline.h>
#include <barlow/data.h>

namespace barlow {

/// What a pipeline makes of a batch as its view `number`, on the batch's device: floating [N,C,S,S], also of no rows.
/// Of a loader with views (DataLoader::with_views) `number` must be the pipeline's among them. Throws as Pipeline does.
at::Tensor make_view(const Pipeline& pipeline, const Batch& batch, size_t number);

} // namespace barlow
