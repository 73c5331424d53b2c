// SPDX-License-Identifier: Apache-2.0
// Files that torch.save wrote (tests/oracles/pytorch), and ones that no honest program writes.
#include <caffe2/serialize/inline_container.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include <barlow/error.h>
#include <barlow/weights.h>

#include "support/in_memory.h"
#include "support/oracle.h"
#include "unpickler.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

const std::filesystem::path kFiles = std::filesystem::path(BARLOW_TEST_ORACLES) / "pytorch";

void expect_same(const NamedTensors& given, const NamedTensors& expected) {
  ASSERT_EQ(given.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    const auto found = std::find_if(given.begin(), given.end(), [&, n = name](const auto& g) { return g.first == n; });
    ASSERT_NE(found, given.end()) << name;
    EXPECT_EQ(found->second.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(found->second.equal(tensor)) << name;
  }
}

TEST(PyTorchFile, StateDictOfEveryType) {
  for (const auto* name : {"state_dict", "types"}) {
    expect_same(
        load_tensors(kFiles / (name + std::string(".pth"))),
        load_tensors(kFiles / (name + std::string(".safetensors"))));
  }
}

TEST(PyTorchFile, CheckpointsHaveNamesWithPointsAndAPartForTheEncoder) {
  const auto all = load_tensors(kFiles / "checkpoint.pth");
  EXPECT_THAT(all.front().first, "model.module.backbone.0.weight");
  EXPECT_THAT(all.back().first, HasSubstr("optimizer.state."));
  expect_same(
      under_common_prefix(all, {"0.weight", "1.weight", "1.bias"}), load_tensors(kFiles / "checkpoint.safetensors"));
  EXPECT_TRUE(under_common_prefix(all, {"conv1.weight"}).empty());
}

TEST(PyTorchFile, ThePartIsTheOneOfMostNames) {
  const auto tensor = [](float value) { return torch::full({2}, value); };
  const NamedTensors all{
      {"ema.0.weight", tensor(0)},
      {"model.0.weight", tensor(1)},
      {"model.1.weight", tensor(2)},
      {"queue.1.weight", tensor(3)}};
  expect_same(under_common_prefix(all, {"0.weight", "1.weight"}), {{"0.weight", tensor(1)}, {"1.weight", tensor(2)}});
}

// --- hostile ones

class HostileFile : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "file.pth";

  void write(const std::string& pickle, const std::string& storage = std::string(16, '\1'), bool compress = false)
      const {
    caffe2::serialize::PyTorchStreamWriter writer(file_.string());
    writer.writeRecord("data.pkl", pickle.data(), pickle.size(), compress);
    writer.writeRecord("data/0", storage.data(), storage.size(), compress);
    writer.writeEndOfFile();
  }
  std::string message(const std::string& pickle) const {
    write(pickle);
    return error_of([&] { load_tensors(file_); });
  }
};

std::string integer(int64_t value) {
  std::string bytes("\x8a\x08");
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xff);
  }
  return bytes;
}

std::string text(const std::string& value) {
  return std::string("\x8c") + static_cast<char>(value.size()) + value;
}

std::string tuple(const std::vector<int64_t>& values) {
  std::string bytes("(");
  for (const auto v : values) {
    bytes += integer(v);
  }
  return bytes + "t";
}

// {"w": a float tensor of storage 0}
std::string one_tensor(
    int64_t offset,
    const std::vector<int64_t>& sizes,
    const std::vector<int64_t>& strides,
    const std::string& type = "FloatStorage") {
  const auto storage = "(" + text("storage") + "ctorch\n" + type + "\n" + text("0") + text("cpu") + integer(4) + "tQ";
  return "\x80\x02}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + tuple(sizes) +
      tuple(strides) + "\x89Nt" + "Rs.";
}

TEST_F(HostileFile, TheHonestOneIsRead) {
  write(one_tensor(0, {2, 2}, {2, 1}));
  EXPECT_EQ(load_tensors(file_)[0].second.sizes(), (std::vector<int64_t>{2, 2}));
}

TEST_F(HostileFile, NothingIsCalledButWhatMakesTensors) {
  for (const auto* call : {"os\nsystem", "builtins\neval", "torch\nload", "numpy.core.multiarray\n_reconstruct"}) {
    const auto refused = message("\x80\x02" + std::string("c") + call + "\n" + text("touch /tmp/owned") + "\x85R.");
    EXPECT_THAT(refused, HasSubstr("is not called; save the state_dict alone")) << call;
  }
  EXPECT_THAT(message("\x80\x04" + text("os") + text("system") + "\x93."), HasSubstr("asks Python for 'os.system'"));
  EXPECT_THAT(message("\x80\x02}}b."), HasSubstr("holds no tensors by name"));
}

TEST_F(HostileFile, TensorsStayWithinTheirStorage) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  for (const auto& pickle :
       {one_tensor(1, {2, 2}, {2, 1}),
        one_tensor(-1, {1}, {1}),
        one_tensor(5, {0}, {1}),
        one_tensor(0, {5}, {1}),
        one_tensor(0, {2}, {4}),
        one_tensor(0, {1000000}, {0}),
        one_tensor(0, {-1}, {1}),
        one_tensor(0, {2}, {-1}),
        one_tensor(0, {2, 2}, {1}),
        one_tensor(0, {2}, {kHuge}),
        one_tensor(0, {3, 3}, {kHuge, kHuge}),
        one_tensor(0, {kHuge, 4}, {1, 1}),
        one_tensor(0, {4}, {1}, "DoubleStorage")}) {
    EXPECT_THAT(message(pickle), HasSubstr("reaches beyond its"));
  }
  EXPECT_THAT(message(one_tensor(0, {1}, {1}, "ComplexFloatStorage")), HasSubstr("torch.ComplexFloatStorage"));
}

std::string long_text(const std::string& value) {
  std::string bytes("X");
  for (int i = 0; i < 4; ++i) {
    bytes += static_cast<char>(value.size() >> (8 * i) & 0xff);
  }
  return bytes + value;
}

// one_tensor(...), and the same tensor again under the same name.
std::string again_and_again(std::string pickle, int times) {
  pickle.resize(pickle.size() - 2);
  pickle += "q\x01s"; // remembers it
  const auto once = text("w") + "h\x01s";
  for (int i = 0; i < times; ++i) {
    pickle += once;
  }
  return pickle + ".";
}

TEST_F(HostileFile, MemoryIsThatOfTheFile) {
  constexpr int64_t kNumbers = 1 << 18;
  const auto whole = one_tensor(0, {kNumbers}, {1});
  const std::string storage(kNumbers * 4, '\0');
  write(again_and_again(whole, 9), storage);
  EXPECT_EQ(load_tensors(file_).size(), 10U);
  write(again_and_again(whole, 20), storage);
  EXPECT_THAT(error_of([&] { load_tensors(file_); }), HasSubstr("has tensors of more than 16 times its size"));
  EXPECT_THAT(message(again_and_again(one_tensor(0, {0}, {1}), 1 << 16)), HasSubstr("has too many tensors"));

  auto endless = one_tensor(0, {1}, {1});
  endless.replace(endless.find(text("0")), 3, text(std::string(101, '0')));
  EXPECT_THAT(message(endless), HasSubstr("a storage with an endless name"));

  const auto key = long_text(std::string(501, 'k'));
  const auto tensor = one_tensor(0, {1}, {1});
  const auto value = tensor.substr(3, tensor.size() - 4); // without the start and the end
  EXPECT_THAT(message("\x80\x02}" + key + "}" + key + "}" + value + "ss."), HasSubstr("a name of 1002 characters"));
}

TEST_F(HostileFile, WhatLibTorchSaysOfAnArchiveIsAnErrorOfOurs) {
  const auto file = std::filesystem::path(BARLOW_TEST_FUZZ) / "seeds" / "pytorch" / "version.pth";
  EXPECT_THAT(error_of([&] { load_tensors(file); }), HasSubstr("version.pth' cannot be read"));
}

TEST_F(HostileFile, ZipBombsAreNotUnpacked) {
  write(one_tensor(0, {4}, {1}), std::string(64 << 20, '\0'), /*compress=*/true);
  EXPECT_THAT(error_of([&] { load_tensors(file_); }), HasSubstr("holds more than its own size"));
}

TEST_F(HostileFile, BrokenPicklesAreErrors) {
  const auto good = one_tensor(0, {2, 2}, {2, 1});
  for (size_t i = 0; i + 1 < good.size(); ++i) {
    EXPECT_THROW(unpickle({good.data(), i}, "cut"), FileError) << i;
  }
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      auto bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      try {
        unpickle(bad, "flipped");
      } catch (const FileError&) { // NOLINT(bugprone-empty-catch): or it is another good one
      }
    }
  }
  for (const auto* pickle : {".", "0.", "e.", "(u.", "R.", "b.", "Q.", "h\x01.", "\x85.", "}a.", "]s.", "N\x80\x09."}) {
    EXPECT_THROW(unpickle(pickle, "short"), FileError) << pickle;
  }
}

TEST_F(HostileFile, OtherFilesSayWhatTheyAre) {
  write_bytes(file_, "PK\x03\x04 and no archive");
  EXPECT_THAT(error_of([&] { load_tensors(file_); }), HasSubstr("cannot be read"));
  write_bytes(file_, std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", 10));
  EXPECT_THAT(error_of([&] { load_tensors(file_); }), HasSubstr("format before 1.6; write it anew"));
  torch::jit::Module script("Net");
  script.define("def forward(self, x):\n  return x\n");
  script.save(file_.string());
  EXPECT_THAT(error_of([&] { load_tensors(file_); }), HasSubstr("TorchScript"));
  EXPECT_THAT(error_of([&] { load_tensors(folder_.path() / "none.pth"); }), HasSubstr("does not exist"));
}

} // namespace
} // namespace barlow
