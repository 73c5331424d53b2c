// SPDX-License-Identifier: Apache-2.0
#include "unpickler.h"

#include <array>
#include <bit>
#include <optional>
#include <type_traits>
#include <unordered_map>

#include "check.h"

// Source of the opcodes: CPython's Lib/pickletools.py; of what torch writes with them: PyTorch 2.11 torch/_utils.py.

namespace barlow {
namespace {

constexpr auto kHere = "load_tensors";

struct StorageName {
  std::string_view name;
  c10::ScalarType type;
};
constexpr std::array<StorageName, 10> kStorages{{
    {"torch.DoubleStorage", c10::ScalarType::Double},
    {"torch.FloatStorage", c10::ScalarType::Float},
    {"torch.HalfStorage", c10::ScalarType::Half},
    {"torch.BFloat16Storage", c10::ScalarType::BFloat16},
    {"torch.LongStorage", c10::ScalarType::Long},
    {"torch.IntStorage", c10::ScalarType::Int},
    {"torch.ShortStorage", c10::ScalarType::Short},
    {"torch.CharStorage", c10::ScalarType::Char},
    {"torch.ByteStorage", c10::ScalarType::Byte},
    {"torch.BoolStorage", c10::ScalarType::Bool},
}};

class Unpickler {
 public:
  Unpickler(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  Pickle run() {
    while (!step(take(1)[0])) {
    }
    require(stack_.size() == 1, "it ends with other than one value");
    pickle_.root = stack_.back();
    return std::move(pickle_);
  }

 private:
  // --- bytes

  void require(bool ok, std::string_view what) const {
    check<FileError>(ok, kHere, "'{}' holds a malformed pickle: {} at byte {} of {}", file_, what, at_, bytes_.size());
  }
  std::string_view take(uint64_t count) {
    require(count <= bytes_.size() - at_, "it is cut off");
    const auto taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  template <class T>
  T number() { // little-endian
    const auto raw = take(sizeof(T));
    std::make_unsigned_t<T> value = 0;
    for (size_t i = sizeof(T); i-- > 0;) {
      value = static_cast<std::make_unsigned_t<T>>(uint64_t{value} << 8 | static_cast<unsigned char>(raw[i]));
    }
    return static_cast<T>(value);
  }
  int64_t long_number() {
    const auto raw = take(number<uint8_t>());
    require(raw.size() <= 8, "an integer of more than 64 bits");
    uint64_t value = !raw.empty() && static_cast<signed char>(raw.back()) < 0 ? ~uint64_t{0} : 0;
    for (size_t i = raw.size(); i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(raw[i]);
    }
    return static_cast<int64_t>(value);
  }
  double real_number() { // big-endian
    uint64_t bits = 0;
    for (const char byte : take(8)) {
      bits = bits << 8 | static_cast<unsigned char>(byte);
    }
    return std::bit_cast<double>(bits);
  }
  std::string_view line() {
    const auto end = bytes_.find('\n', at_);
    require(end != std::string_view::npos, "it is cut off");
    const auto text = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  // --- values

  template <class T>
  void push(T value) {
    constexpr size_t kMost = 1 << 21; // a tensor has a dozen
    require(pickle_.values.size() < kMost, "too many values");
    pickle_.values.push_back({std::move(value)});
    stack_.push_back(&pickle_.values.back());
  }
  void push_text(uint64_t length) {
    push(std::string(take(length)));
  }
  PickleRef pop() {
    require(stack_.size() > lowest(), "a value is missing");
    const auto* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  size_t lowest() const {
    return marks_.empty() ? 0 : marks_.back();
  }
  std::vector<PickleRef> pop_to_mark() {
    require(!marks_.empty(), "a mark is missing");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_last(size_t count) { // as a tuple
    std::vector<PickleRef> items(count);
    for (size_t i = count; i-- > 0;) {
      items[i] = pop();
    }
    push(PickledList{std::move(items)});
  }
  void remember(uint32_t name) {
    require(stack_.size() > lowest(), "a value is missing");
    memo_[name] = stack_.back();
  }
  void recall(uint32_t name) {
    const auto found = memo_.find(name);
    require(found != memo_.end(), "it refers to a value that is not there");
    stack_.push_back(found->second);
  }

  template <class T>
  const T& as(PickleRef value, std::string_view what) const {
    require(value != nullptr && std::holds_alternative<T>(value->is), what);
    return std::get<T>(value->is);
  }
  // The container on top, to be filled.
  template <class T>
  T& top(std::string_view what) {
    require(stack_.size() > lowest(), what);
    return const_cast<T&>(as<T>(stack_.back(), what)); // of values_, which is ours
  }
  std::vector<int64_t> integers(PickleRef value) const {
    constexpr size_t kDims = 64;
    const auto& items = as<PickledList>(value, "a shape that is none").items;
    require(items.size() <= kDims, "a shape of too many dimensions");
    std::vector<int64_t> all;
    all.reserve(items.size());
    for (const auto* item : items) {
      all.push_back(as<int64_t>(item, "a shape that is none"));
    }
    return all;
  }

  void append(std::vector<PickleRef> items) {
    auto& list = top<PickledList>("items for other than a list").items;
    list.insert(list.end(), items.begin(), items.end());
  }
  void set(const std::vector<PickleRef>& items) {
    auto& dict = top<PickledDict>("items for other than a dictionary").items;
    require(items.size() % 2 == 0, "a key without a value");
    for (size_t i = 0; i < items.size(); i += 2) {
      dict.emplace_back(items[i], items[i + 1]);
    }
  }

  // --- what torch.save calls

  void load_storage() { // by its persistent id: ("storage", type, key, location, numel)
    const auto& id = as<PickledList>(pop(), "a reference that is no storage").items;
    require(id.size() >= 5 && as<std::string>(id[0], "a reference that is no storage") == "storage", "a reference");
    const auto& type = as<PickledGlobal>(id[1], "a storage without a type").name;
    const auto* const known =
        std::find_if(kStorages.begin(), kStorages.end(), [&](const StorageName& s) { return s.name == type; });
    check<FileError>(known != kStorages.end(), kHere, "'{}' holds a {}, which is not supported", file_, type);
    const auto& key = as<std::string>(id[2], "a storage without a name");
    constexpr size_t kLongestKey = 100; // each tensor has it
    require(key.size() <= kLongestKey, "a storage with an endless name");
    push(PickledStorage{known->type, key, as<int64_t>(id[4], "a storage without a size")});
  }

  void call() {
    const auto& arguments = as<PickledList>(pop(), "arguments that are no tuple").items;
    const auto& name = as<PickledGlobal>(pop(), "a call of other than a function").name;
    const auto argument = [&](size_t i) {
      require(i < arguments.size(), "an argument is missing");
      return arguments[i];
    };
    if (name == "torch._utils._rebuild_tensor_v2") {
      require(++tensors_ <= kMostTensors, "too many tensors");
      push(
          PickledTensor{
              as<PickledStorage>(argument(0), "a tensor without a storage"),
              as<int64_t>(argument(1), "a tensor without an offset"),
              integers(argument(2)),
              integers(argument(3))});
    } else if (name == "torch._utils._rebuild_parameter" || name == "torch.Size") {
      stack_.push_back(argument(0));
    } else if (name == "collections.OrderedDict") {
      require(arguments.empty(), "a dictionary with arguments");
      push(PickledDict{});
    } else if (name == "torch.device") {
      push(std::string("device"));
    } else {
      refuse(name);
    }
  }

  // What follows a call: the attributes of an OrderedDict (_metadata), which hold nothing that is needed.
  void build() {
    pop();
    top<PickledDict>("attributes of other than a dictionary");
  }

  void push_global(std::string name) {
    const bool storage =
        std::any_of(kStorages.begin(), kStorages.end(), [&](const StorageName& s) { return s.name == name; });
    constexpr std::array<std::string_view, 5> kKnown{
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        "torch.device",
        "collections.OrderedDict"};
    if (!storage && std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end()) {
      refuse(name);
    }
    push(PickledGlobal{std::move(name)});
  }
  [[noreturn]] void refuse(const std::string& name) const {
    throw FileError(
        fmt::format(
            "[{}] '{}' asks Python for '{}', which is not needed for weights and is not called; save the state_dict "
            "alone, "
            "in Python: torch.save(model.state_dict(), FILE)",
            kHere,
            file_,
            name.substr(0, 200)));
  }

  // --- opcodes; true: the end

  bool step(char opcode) {
    switch (opcode) {
      case '\x80': // PROTO
        require(number<uint8_t>() <= 5, "a protocol beyond 5");
        break;
      case '\x95': // FRAME
        take(8);
        break;
      case '.':
        return true;
      case '(':
        marks_.push_back(stack_.size());
        break;
      case '0':
        pop();
        break;
      case '1':
        pop_to_mark();
        break;
      case 'N':
        stack_.push_back(nullptr);
        break;
      case '\x88':
        push(true);
        break;
      case '\x89':
        push(false);
        break;
      case 'J':
        push(int64_t{number<int32_t>()});
        break;
      case 'K':
        push(int64_t{number<uint8_t>()});
        break;
      case 'M':
        push(int64_t{number<uint16_t>()});
        break;
      case '\x8a':
        push(long_number());
        break;
      case 'G':
        push(real_number());
        break;
      case 'X':
      case 'T': // BINSTRING
      case 'B': // BINBYTES
        push_text(number<uint32_t>());
        break;
      case '\x8c':
      case 'U':
      case 'C':
        push_text(number<uint8_t>());
        break;
      case '\x8d':
      case '\x8e':
        push_text(number<uint64_t>());
        break;
      case ']':
      case ')':
        push(PickledList{});
        break;
      case '}':
        push(PickledDict{});
        break;
      case 'l':
      case 't':
        push(PickledList{pop_to_mark()});
        break;
      case 'd': {
        const auto items = pop_to_mark();
        push(PickledDict{});
        set(items);
        break;
      }
      case '\x85':
      case '\x86':
      case '\x87':
        push_last(static_cast<unsigned char>(opcode) - 0x84);
        break;
      case 'a':
        append({pop()});
        break;
      case 'e':
        append(pop_to_mark());
        break;
      case 's': {
        const auto* value = pop();
        const auto* key = pop();
        set({key, value});
        break;
      }
      case 'u':
        set(pop_to_mark());
        break;
      case 'q':
        remember(number<uint8_t>());
        break;
      case 'r':
        remember(number<uint32_t>());
        break;
      case '\x94': // MEMOIZE
        remember(static_cast<uint32_t>(memo_.size()));
        break;
      case 'h':
        recall(number<uint8_t>());
        break;
      case 'j':
        recall(number<uint32_t>());
        break;
      case 'c': {
        const auto module = line();
        const auto name = line();
        push_global(std::string(module) + "." + std::string(name));
        break;
      }
      case '\x93': { // STACK_GLOBAL
        const auto& name = as<std::string>(pop(), "a function without a name");
        const auto& module = as<std::string>(pop(), "a function without a module");
        push_global(module + "." + name);
        break;
      }
      case 'Q':
        load_storage();
        break;
      case 'R':
        call();
        break;
      case 'b':
        build();
        break;
      default:
        require(
            false,
            fmt::format("the opcode 0x{:02x}, which state dicts do not have,", static_cast<unsigned char>(opcode)));
    }
    return false;
  }

  std::string_view bytes_;
  const std::string& file_;
  size_t at_ = 0, tensors_ = 0;
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleRef> memo_;
};

} // namespace

Pickle unpickle(std::string_view bytes, const std::string& file) {
  return Unpickler(bytes, file).run();
}

} // namespace barlow
