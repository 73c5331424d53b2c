// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace torch::nn {
class Module;
}

namespace barlow {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// The tensors of a safetensors file, on the CPU, in the order of the file's data; `metadata`, if not null, receives
/// the file's strings. Every offset is checked against the file before memory is taken.
/// Throws FileError for a file that is missing, truncated or malformed.
NamedTensors load_safetensors(
    const std::filesystem::path& path,
    std::map<std::string, std::string>* metadata = nullptr);

/// The tensors of a file of weights: safetensors, or what PyTorch's torch.save made of a state_dict (.pt, .pth, .ckpt;
/// the zip format it has had since 1.6), alone or within a checkpoint, whose dictionaries become "model.conv1.weight".
/// A PyTorch file is a pickle, a program for Python: nothing of it is executed, and one that calls other than what
/// makes tensors is refused, by the name of what it calls. Tensors may share memory. Throws FileError.
NamedTensors load_tensors(const std::filesystem::path& path);

/// Writes a safetensors file: under a temporary name first, then renamed, so that no half-written file is left.
/// Throws FileError if the file cannot be written, Error for two tensors of one name or an unsupported type.
void save_safetensors(
    const std::filesystem::path& path,
    const NamedTensors& tensors,
    const std::map<std::string, std::string>& metadata = {});

/// Copies a file's tensors into a module's parameters and buffers, by name. All or nothing: throws Error with every
/// missing, unexpected, mis-shaped and mis-typed name before the first copy.
void load_weights(torch::nn::Module& module, const std::filesystem::path& path);

/// The same of tensors at hand; errors call them `source`.
void load_weights(torch::nn::Module& module, const NamedTensors& tensors, const std::string& source);

/// The part of a checkpoint that belongs to a module: of the beginnings of names ("", "model.", "module.backbone." ...)
/// the one that leads to most of `names`, cut off. Empty if none leads to any.
NamedTensors under_common_prefix(const NamedTensors& tensors, const std::vector<std::string>& names);

/// Throws as load_weights would, and copies nothing.
void check_weights(const torch::nn::Module& module, const NamedTensors& tensors, const std::string& source);

/// Writes a module's parameters and buffers, with the names of state_dict, which are timm's or fastai's for encoders.
void save_weights(
    const torch::nn::Module& module,
    const std::filesystem::path& path,
    const std::map<std::string, std::string>& metadata = {});

} // namespace barlow
