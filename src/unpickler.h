// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <c10/core/ScalarType.h>

namespace barlow {

struct PickleValue;
using PickleRef = const PickleValue*; ///< into the Pickle that holds it; null: Python's None

/// A storage that a pickle names and whose bytes lie elsewhere in the file.
struct PickledStorage {
  c10::ScalarType type{};
  std::string key;
  int64_t numel = 0;
};

/// A tensor as the pickle describes it: nothing of it has been checked.
struct PickledTensor {
  PickledStorage storage;
  int64_t offset = 0;
  std::vector<int64_t> sizes, strides;
};

struct PickledList { ///< or tuple
  std::vector<PickleRef> items;
};
struct PickledDict {
  std::vector<std::pair<PickleRef, PickleRef>> items;
};
struct PickledGlobal { ///< a name that Python would import
  std::string name;
};

struct PickleValue {
  std::variant<
      bool,
      int64_t,
      double,
      std::string,
      PickledList,
      PickledDict,
      PickledGlobal,
      PickledStorage,
      PickledTensor>
      is;
};

constexpr size_t kMostTensors = 1 << 16; ///< in a pickle; the largest networks have a tenth

struct Pickle {
  std::deque<PickleValue> values; ///< all of them; deque: references stay
  PickleRef root = nullptr;
};

/// What a pickle of protocol 2 to 5 describes, of the kinds above. A pickle is a program: of what it may call, only
/// what makes tensors, ordered dictionaries, sizes and devices is known here, and is noted rather than called. Memory
/// and time are proportional to the bytes. Throws FileError for a malformed one and for every other call, naming it;
/// `file` is what errors call the whole.
Pickle unpickle(std::string_view bytes, const std::string& file);

} // namespace barlow
