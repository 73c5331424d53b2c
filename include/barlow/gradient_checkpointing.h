// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <barlow/encoder.h>

namespace barlow {

/// The composition of the segments, cut into `nchunks` chunks of about as many segments; every chunk but the last keeps
/// its input alone and computes its activations again in the backward pass. Results are those without checkpointing to
/// the bit: the second pass sees the same random numbers and autocast, and leaves `buffers` (running statistics) as the
/// first one left them. Throws Error for no segments or nchunks < 1. Source: Chen et al., "Training Deep Nets with
/// Sublinear Memory Cost", 2016; torch.utils.checkpoint's checkpoint_sequential.
at::Tensor checkpoint_sequential(
    const std::vector<Segment>& segments,
    int64_t nchunks,
    const at::Tensor& x,
    const std::vector<at::Tensor>& buffers);

} // namespace barlow
