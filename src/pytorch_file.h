// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <caffe2/serialize/read_adapter_interface.h>

#include <barlow/weights.h>

namespace barlow {

/// The tensors of what torch.save wrote (its zip format, since PyTorch 1.6): of a dictionary by their keys, of
/// dictionaries within it by the keys with points between. Throws FileError; `file` is what errors call it.
NamedTensors read_pytorch(std::shared_ptr<caffe2::serialize::ReadAdapterInterface> source, const std::string& file);

} // namespace barlow
