// SPDX-License-Identifier: Apache-2.0
// Round trips, a file written by Python (the oracles), and broken files.
#include <barlow/weights.h>

#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/encoder.h>
#include <barlow/error.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;

std::string file_with(const std::string& header, const std::string& data = "") {
  uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

class Safetensors : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "file.safetensors";

  void write(const std::string& bytes) const {
    std::ofstream(file_, std::ios::binary) << bytes;
  }
  std::string message(const std::string& bytes) const {
    write(bytes);
    return error_of([&] { load_safetensors(file_); });
  }
};

TEST_F(Safetensors, GivesBackWhatWasSaved) {
  torch::manual_seed(0);
  NamedTensors tensors;
  for (const auto type :
       {torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kLong, torch::kInt, torch::kByte}) {
    tensors.emplace_back(c10::toString(type), (torch::rand({2, 3}) * 100).to(type));
  }
  tensors.emplace_back("scalar", torch::tensor(3.5));
  tensors.emplace_back("empty", torch::zeros({0, 4}));
  tensors.emplace_back("strided", torch::rand({4, 6}).t());
  tensors.emplace_back("bool", torch::tensor({true, false}));
  tensors.emplace_back("name with \" and ü", torch::ones({1}));
  save_safetensors(file_, tensors, {{"by", "test"}});
  std::map<std::string, std::string> metadata;
  const auto loaded = load_safetensors(file_, &metadata);
  ASSERT_EQ(loaded.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, expected] = tensors[i];
    const auto found =
        std::find_if(loaded.begin(), loaded.end(), [&, n = name](const auto& item) { return item.first == n; });
    ASSERT_NE(found, loaded.end()) << name;
    EXPECT_EQ(found->second.scalar_type(), expected.scalar_type()) << name;
    EXPECT_TRUE(found->second.equal(expected)) << name;
  }
  EXPECT_EQ(metadata["by"], "test");
}

TEST_F(Safetensors, ReadsWhatPythonWrote) {
  const auto oracle = load_oracle("core/loss");
  for (const auto& [name, entry] : oracle.info["entries"].items()) {
    EXPECT_EQ(oracle.at(name).sizes().vec(), entry["shape"].get<std::vector<int64_t>>()) << name;
  }
}

TEST_F(Safetensors, BrokenFilesAreNamedAndTakeNoMemory) {
  const auto name = file_.string();
  EXPECT_THAT(error_of([&] { load_safetensors(file_); }), HasSubstr("does not exist"));
  EXPECT_THAT(error_of([&] { load_safetensors(folder_.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(message(""), HasSubstr(name));
  EXPECT_THAT(message("1234567"), HasSubstr("7 bytes"));
  EXPECT_THAT(message(std::string(8, '\xff')), HasSubstr("truncated"));
  EXPECT_THAT(message(file_with("{").substr(0, 8)), HasSubstr("truncated"));
  EXPECT_THAT(message(file_with("{")), HasSubstr("malformed header"));
  EXPECT_THAT(message(file_with("[1]")), HasSubstr("malformed header"));
  EXPECT_THAT(message(file_with(R"({"a":{"dtype":"F32","shape":[1]}})")), HasSubstr("malformed header"));
  EXPECT_THAT(
      message(file_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234")),
      HasSubstr("bytes 0 to 8 of 4"));
  EXPECT_THAT(
      message(file_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234")),
      HasSubstr("needs 8 bytes"));
  EXPECT_THAT(
      message(file_with(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})")),
      HasSubstr("impossible shape"));
  EXPECT_THAT(
      message(file_with(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}})")), HasSubstr("impossible shape"));
  for (const auto* number : {"1.5", "1e36", "true", "18446744073709551616"}) {
    const auto shape = fmt::format(R"({{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,4]}}}})", number);
    EXPECT_THAT(message(file_with(shape)), HasSubstr("whole numbers"));
    const auto offsets = fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,{}]}}}})", number);
    EXPECT_THAT(message(file_with(offsets)), HasSubstr("whole numbers"));
  }
  EXPECT_THAT(
      message(file_with(
          R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
          "1234")),
      HasSubstr("'a' and 'b' of"));
  EXPECT_THAT(
      message(file_with(R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})")),
      HasSubstr("impossible shape"));
  const auto deep = std::string(1 << 20, '['), up = std::string(1 << 20, ']');
  EXPECT_THAT(message(file_with("{\"a\":" + deep + up + "}")), HasSubstr("malformed header"));
  std::string many = "{";
  for (int i = 0; i <= 1 << 16; ++i) {
    many += fmt::format("\"{}\":{{}},", i);
  }
  many.back() = '}';
  EXPECT_THAT(message(file_with(many)), HasSubstr("has 65537 tensors"));
  EXPECT_THAT(message(file_with(R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", "1")), HasSubstr("F4"));
}

TEST_F(Safetensors, AFailedSaveLeavesTheOldFile) {
  save_safetensors(file_, {{"a", torch::ones({2})}});
  EXPECT_THAT(
      error_of([&] { save_safetensors(file_, {{"a", torch::ones({2})}, {"a", torch::ones({2})}}); }),
      HasSubstr("two tensors"));
  EXPECT_THAT(
      error_of([&] { save_safetensors(file_, {{"a", torch::ones({2}, torch::kComplexFloat)}}); }), HasSubstr("type"));
  EXPECT_EQ(load_safetensors(file_).size(), 1U);
  EXPECT_THAT(
      error_of([&] { save_safetensors("/dev/null/file", {{"a", torch::ones({2})}}); }), HasSubstr("/dev/null/file"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1); // no temporary file
}

TEST_F(Safetensors, WeightsGoThroughAFileWhole) {
  const auto from = create_encoder("xresnet18", {.n_in = 1}), to = create_encoder("xresnet18", {.n_in = 1});
  save_weights(*from, file_, {{"encoder", "xresnet18"}});
  load_weights(*Encoder(to), file_);
  const auto a = from->named_parameters(), b = to->named_parameters();
  for (const auto& item : a) {
    EXPECT_TRUE(item.value().equal(b[item.key()])) << item.key();
  }
}

TEST_F(Safetensors, WeightsThatDoNotFitChangeNothing) {
  const auto small = create_encoder("xresnet18", {.n_in = 1});
  auto other = create_encoder("xresnet34", {.n_in = 3});
  save_weights(*small, file_);
  const auto before = other->named_parameters()["1.0.weight"].clone();
  const auto text = error_of([&] { load_weights(*other, file_); });
  EXPECT_THAT(text, HasSubstr("nothing was loaded"));
  EXPECT_THAT(text, HasSubstr("missing: 4.2.convpath.0.0.weight"));
  EXPECT_THAT(text, HasSubstr("mis-shaped: 0.0.weight is Float [32, 1, 3, 3] in the file"));
  EXPECT_TRUE(other->named_parameters()["1.0.weight"].equal(before));
}

TEST_F(Safetensors, WeightsOfAnotherKindAreRefused) {
  auto linear = torch::nn::Linear(2, 1);
  const auto one = torch::ones({1}, torch::kHalf);
  save_safetensors(file_, {{"weight", torch::ones({1, 2}, torch::kLong)}, {"bias", one}, {"other", one}});
  const auto text = error_of([&] { load_weights(*linear, file_); });
  EXPECT_THAT(text, HasSubstr("mis-typed: weight is Long [1, 2] in the file, Float [1, 2] in the module"));
  EXPECT_THAT(text, HasSubstr("unexpected: other"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("bias")));
}

} // namespace
} // namespace barlow
