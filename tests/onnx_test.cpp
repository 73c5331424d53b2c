// SPDX-License-Identifier: Apache-2.0
// What an ONNX file says, read back field by field; that onnxruntime computes the same: tests/interop.
#include <barlow/onnx.h>

#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <protozero/pbf_message.hpp>

#include <barlow/nn.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using protozero::pbf_reader;
using ::testing::Contains;
using ::testing::HasSubstr;
using torch::Tensor;

struct Model {
  std::multiset<std::string> operators, stored, metadata;
  std::vector<std::string> input, output; // name, then each extent
  int64_t opset = 0;
};

std::vector<std::string> port(pbf_reader value) {
  std::vector<std::string> all;
  while (value.next()) {
    if (value.tag() == 1) {
      all.push_back(value.get_string());
    } else {
      auto type = value.get_message();
      type.next(1);
      auto tensor = type.get_message();
      tensor.next(2);
      auto shape = tensor.get_message();
      while (shape.next(1)) {
        auto dim = shape.get_message();
        dim.next();
        all.push_back(dim.tag() == 1 ? std::to_string(dim.get_int64()) : dim.get_string());
      }
    }
  }
  return all;
}

std::string string_in(pbf_reader message, protozero::pbf_tag_type tag) {
  return message.next(tag) ? message.get_string() : "";
}

Model read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  Model model;
  for (pbf_reader message(bytes); message.next();) {
    if (message.tag() == 8) {
      auto opset = message.get_message();
      opset.next(2);
      model.opset = opset.get_int64();
    } else if (message.tag() == 14) {
      model.metadata.insert(string_in(message.get_message(), 1));
    } else if (message.tag() == 7) {
      for (auto graph = message.get_message(); graph.next();) {
        switch (graph.tag()) {
          case 1:
            model.operators.insert(string_in(graph.get_message(), 4));
            break;
          case 5:
            model.stored.insert(string_in(graph.get_message(), 8));
            break;
          case 11:
            model.input = port(graph.get_message());
            break;
          case 12:
            model.output = port(graph.get_message());
            break;
          default:
            graph.skip();
        }
      }
    } else {
      message.skip();
    }
  }
  return model;
}

class Onnx : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "encoder.onnx";
};

TEST_F(Onnx, SaysWhatTheNetworkIs) {
  auto encoder = create_encoder("resnet18", {.n_in = 1});
  const auto before = state_dict(*encoder);
  export_onnx(encoder, file_, {.size = 64, .metadata = {{"recipe", "mine"}}});
  EXPECT_TRUE(encoder->is_training()); // as it was
  const auto model = read(file_);
  EXPECT_EQ(model.opset, kOnnxOpset);
  EXPECT_THAT(model.input, ::testing::ElementsAre("images", "batch", "1", "64", "64"));
  EXPECT_THAT(model.output, ::testing::ElementsAre("features", "batch", "1024"));
  EXPECT_EQ(model.operators.count("Conv"), 20U);
  EXPECT_EQ(model.operators.count("BatchNormalization"), 20U);
  EXPECT_EQ(model.operators.count("Add"), 8U);
  for (const auto& [name, tensor] : before) {
    EXPECT_EQ(model.stored.count(name), name.find("num_batches") == std::string::npos ? 1U : 0U) << name;
  }
  for (const auto* name : {"name", "recipe"}) {
    EXPECT_THAT(model.metadata, Contains(name));
  }
  EXPECT_THAT(model.metadata, ::testing::Not(Contains("mean"))); // of three channels
  export_onnx(create_encoder("resnet18"), file_, {.size = 64});
  for (const auto* name : {"name", "mean", "std"}) {
    EXPECT_THAT(read(file_).metadata, Contains(name));
  }
}

// An encoder that does what a test asks for.
class Free : public EncoderImpl {
 public:
  explicit Free(std::function<Tensor(const Tensor&)> function)
      : EncoderImpl({.name = "free", .n_in = 1, .num_features = 4, .input_size = 2}), function_(std::move(function)) {}
  Tensor forward(const Tensor& x) override {
    return function_(x);
  }

 private:
  std::function<Tensor(const Tensor&)> function_;
};

TEST_F(Onnx, NetworksOfYourOwnNeedNoCode) {
  const auto scale = torch::rand({4});
  export_onnx(
      Encoder(std::make_shared<Free>([&](const Tensor& x) { return (x.flatten(1) * scale.square()).relu() + 1; })),
      file_);
  const auto model = read(file_);
  EXPECT_THAT(model.operators, ::testing::UnorderedElementsAre("Reshape", "Mul", "Relu", "Add", "Identity"));
}

TEST_F(Onnx, WhatCannotBeSaidIsAnError) {
  const auto message = [&](const std::function<Tensor(const Tensor&)>& function, const OnnxOptions& options = {}) {
    return error_of([&] { export_onnx(Encoder(std::make_shared<Free>(function)), file_, options); });
  };
  EXPECT_THAT(message([](const Tensor& x) { return x.flatten(1).cumsum(1); }), HasSubstr("cumsum cannot be written"));
  EXPECT_THAT(
      message([](const Tensor& x) { return x.size(0) == 2 ? x.flatten(1) : x.flatten(1).relu(); }),
      HasSubstr("does other things for a batch of 2 than of 3"));
  EXPECT_THAT(message([](const Tensor&) { return torch::ones({2, 4}); }), HasSubstr("must depend on the images"));
  EXPECT_THAT(message([](const Tensor& x) { return x; }, {.size = -1}), HasSubstr("size must be positive"));
  auto half = create_encoder("resnet18");
  half->to(torch::kHalf);
  EXPECT_THAT(error_of([&] { export_onnx(half, file_); }), HasSubstr("parameters must be float32"));
  EXPECT_THAT(error_of([&] { export_onnx(Encoder(nullptr), file_); }), HasSubstr("must not be empty"));
  EXPECT_FALSE(std::filesystem::exists(file_));
}

} // namespace
} // namespace barlow
