// SPDX-License-Identifier: Apache-2.0
#include "pytorch_file.h"

#include <unordered_map>
#include <unordered_set>

#include <caffe2/serialize/inline_container.h>
#include <torch/torch.h>

#include "check.h"
#include "unpickler.h"

// Source: PyTorch 2.11 torch/serialization.py; LibTorch reads the zip archive, whose records torch.save never
// compresses.

namespace barlow {
namespace {

using caffe2::serialize::PyTorchStreamReader;
using caffe2::serialize::ReadAdapterInterface;
using torch::Tensor;

constexpr auto kHere = "load_tensors";
constexpr uint64_t kMostShown = 16;

class PyTorchFile {
 public:
  PyTorchFile(std::shared_ptr<ReadAdapterInterface> source, const std::string& file)
      : file_(file), size_(source->size()), bytes_left_(size_), reader_(std::move(source)) {}

  NamedTensors read() {
    constexpr uint64_t kLargestPickle = 8 << 20; // a thousand bytes for each tensor of the largest network
    check<FileError>(
        reader_.hasRecord("data.pkl") && !reader_.hasRecord("constants.pkl"),
        kHere,
        "'{}' is a TorchScript file or another archive, not a state_dict; name it to create_encoder, or in Python: "
        "torch.save(model.state_dict(), FILE)",
        file_);
    check<FileError>(byte_order() == "little", kHere, "'{}' was written on a big-endian machine", file_);
    check<FileError>(reader_.getRecordSize("data.pkl") <= kLargestPickle, kHere, "'{}' has an endless index", file_);
    const Tensor bytes = record("data.pkl");
    const auto pickle =
        unpickle({static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())}, file_);
    collect(pickle.root, "", 0);
    check<FileError>(!tensors_.empty(), kHere, "'{}' holds no tensors by name", file_);
    return std::move(tensors_);
  }

 private:
  // All records together are no larger than the file, or some lie compressed or upon each other: a zip bomb.
  Tensor record(const std::string& name) {
    const uint64_t size = reader_.getRecordSize(name);
    check<FileError>(
        size <= bytes_left_, kHere, "'{}' holds more than its own size: it is compressed or malicious", file_);
    bytes_left_ -= size;
    auto bytes = torch::empty(static_cast<int64_t>(size), torch::kChar);
    if (size > 0) {
      reader_.getRecord(name, bytes.data_ptr(), size);
    }
    return bytes;
  }

  std::string byte_order() {
    if (!reader_.hasRecord("byteorder")) {
      return "little";
    }
    const Tensor bytes = record("byteorder");
    return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())};
  }

  void collect(PickleRef value, const std::string& name, int depth) {
    constexpr int kDeepest = 8;
    if (value == nullptr || depth > kDeepest) {
      return;
    }
    if (const auto* tensor = std::get_if<PickledTensor>(&value->is)) {
      check<FileError>(tensors_.size() < kMostTensors, kHere, "'{}' has too many tensors", file_);
      tensors_.emplace_back(name, view(*tensor, name));
      return;
    }
    const auto below = [&](const std::string& key, PickleRef item) {
      constexpr size_t kLongestName = 1000;
      const auto length = name.size() + key.size();
      check<FileError>(length <= kLongestName, kHere, "'{}' has a name of {} characters", file_, length);
      collect(item, name.empty() ? key : name + "." + key, depth + 1);
    };
    if (!seen_.insert(value).second) {
      return; // one that holds itself, or is meant to take long
    }
    if (const auto* dict = std::get_if<PickledDict>(&value->is)) {
      for (const auto& [key, item] : dict->items) {
        below(text(key), item);
      }
    } else if (const auto* list = std::get_if<PickledList>(&value->is)) {
      for (size_t i = 0; i < list->items.size(); ++i) {
        below(std::to_string(i), list->items[i]);
      }
    }
  }

  static std::string text(PickleRef key) {
    if (key != nullptr) {
      if (const auto* name = std::get_if<std::string>(&key->is)) {
        return *name;
      }
      if (const auto* number = std::get_if<int64_t>(&key->is)) {
        return std::to_string(*number);
      }
    }
    return "?";
  }

  Tensor storage(const PickledStorage& wanted) {
    auto& bytes = storages_[wanted.key];
    if (!bytes.defined()) {
      bytes = record("data/" + wanted.key);
    }
    return bytes;
  }

  // Of the storage, not copied: a small file cannot ask for much memory.
  Tensor view(const PickledTensor& tensor, const std::string& name) {
    const Tensor bytes = storage(tensor.storage);
    const auto item = static_cast<int64_t>(torch::elementSize(tensor.storage.type));
    const int64_t capacity = bytes.numel() / item;
    const auto refuse = [&](bool ok) {
      check<FileError>(
          ok, kHere, "'{}' of '{}' reaches beyond its {} stored numbers", name.substr(0, 200), file_, capacity);
    };
    refuse(tensor.sizes.size() == tensor.strides.size() && tensor.offset >= 0 && tensor.offset <= capacity);
    int64_t numel = 1, last = 0;
    for (size_t i = 0; i < tensor.sizes.size(); ++i) {
      int64_t step = 0;
      refuse(
          tensor.sizes[i] >= 0 && tensor.strides[i] >= 0 && !__builtin_mul_overflow(numel, tensor.sizes[i], &numel) &&
          numel <= capacity &&
          !__builtin_mul_overflow(std::max<int64_t>(tensor.sizes[i] - 1, 0), tensor.strides[i], &step) &&
          !__builtin_add_overflow(last, step, &last));
    }
    refuse(numel == 0 || last < capacity - tensor.offset);
    shown_ += static_cast<uint64_t>(numel * item);
    check<FileError>(
        shown_ / kMostShown <= size_, kHere, "'{}' has tensors of more than {} times its size", file_, kMostShown);
    const auto whole = bytes.narrow(0, 0, capacity * item).view(tensor.storage.type);
    if (numel == 0) {
      return torch::empty(tensor.sizes, whole.options());
    }
    return whole.as_strided(tensor.sizes, tensor.strides, tensor.offset);
  }

  const std::string& file_;
  uint64_t size_, bytes_left_;
  uint64_t shown_ = 0; // bytes of all tensors, of which several may lie in the same place
  PyTorchStreamReader reader_;
  std::unordered_map<std::string, Tensor> storages_;
  std::unordered_set<PickleRef> seen_;
  NamedTensors tensors_;
};

} // namespace

NamedTensors read_pytorch(std::shared_ptr<ReadAdapterInterface> source, const std::string& file) {
  try {
    return PyTorchFile(std::move(source), file).read();
  } catch (const c10::Error& e) {
    throw FileError(fmt::format("[{}] '{}' cannot be read: {}", kHere, file, e.what_without_backtrace()));
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) { // of LibTorch's reader: a version that is no number, say
    throw FileError(fmt::format("[{}] '{}' cannot be read: {}", kHere, file, e.what()));
  }
}

} // namespace barlow
