// SPDX-License-Identifier: Apache-2.0
// Oracle files (tests/oracles/encoders; its script's text is the specification), and properties over the registry.
#include <barlow/encoder.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/nn.h>
#include <barlow/weights.h>

#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;
namespace fs = std::filesystem;

PoolingType pooling(const std::string& name) {
  const std::map<std::string, PoolingType> types{
      {"fast", PoolingType::Fast},
      {"avg", PoolingType::Avg},
      {"avgmax", PoolingType::AvgMax},
      {"catavgmax", PoolingType::CatAvgMax},
      {"max", PoolingType::Max}};
  return types.at(name);
}

// As create_encoder is called for a case: "fastai:resnet18" where the package is not the plain name's.
std::string encoder_name(const nlohmann::json& info) {
  const auto name = info["name"].get<std::string>();
  const bool plain_is_fastai = name.rfind("xres", 0) == 0 || name.rfind("xse", 0) == 0;
  return info["package"] == "fastai" && !plain_is_fastai ? "fastai:" + name : name;
}

std::vector<std::string> oracle_cases() {
  std::vector<std::string> stems;
  for (const auto& entry : fs::directory_iterator(fs::path(BARLOW_TEST_ORACLES) / "encoders")) {
    if (entry.path().extension() != ".json") {
      continue;
    }
    nlohmann::json info;
    std::ifstream(entry.path()) >> info;
    if (!list_encoders(encoder_name(info)).empty()) {
      stems.push_back(entry.path().stem().string());
    }
  }
  std::sort(stems.begin(), stems.end());
  return stems;
}

struct Outcome {
  Tensor eval, train, loss, grad_norm, grad_head, mean_norm, var_norm;
};

Outcome run(Encoder encoder, const Tensor& x) {
  Outcome out;
  encoder->eval();
  {
    const torch::NoGradGuard no_grad;
    out.eval = encoder->forward(x);
  }
  encoder->train();
  out.train = encoder->forward(x);
  const auto weight = hashed("loss_weight", out.train.sizes()).to(torch::kFloat).to(x.scalar_type());
  const auto loss = (out.train * weight).mean();
  loss.backward();
  out.loss = loss.detach().to(torch::kDouble).reshape({1});
  std::vector<Tensor> norms, heads, means, vars;
  for (const auto& p : encoder->parameters()) {
    const auto g = p.grad().defined() ? p.grad() : torch::zeros_like(p);
    norms.push_back(g.to(torch::kDouble).norm());
    auto head = torch::zeros({4}, torch::kDouble);
    const auto n = std::min<int64_t>(4, g.numel());
    head.narrow(0, 0, n).copy_(g.contiguous().flatten().narrow(0, 0, n));
    heads.push_back(head);
  }
  for (const auto& b : encoder->named_buffers()) {
    const auto& key = b.key();
    if (key.size() >= 12 && key.compare(key.size() - 12, 12, "running_mean") == 0) {
      means.push_back(b.value().to(torch::kDouble).norm());
    } else if (key.size() >= 11 && key.compare(key.size() - 11, 11, "running_var") == 0) {
      vars.push_back(b.value().to(torch::kDouble).norm());
    }
  }
  out.grad_norm = torch::stack(norms);
  out.grad_head = torch::stack(heads);
  out.mean_norm = means.empty() ? torch::zeros({0}, torch::kDouble) : torch::stack(means);
  out.var_norm = vars.empty() ? torch::zeros({0}, torch::kDouble) : torch::stack(vars);
  return out;
}

class EncoderOracles : public ::testing::TestWithParam<std::string> {
 protected:
  Oracle oracle_ = load_oracle("encoders/" + GetParam());

  Encoder make() const {
    const auto& info = oracle_.info;
    EncoderOptions options{.n_in = info["n_in"].get<int64_t>(), .pool_type = std::nullopt};
    if (info["pool_type"] != "default") {
      options.pool_type = pooling(info["pool_type"]);
    }
    auto encoder = create_encoder(encoder_name(info), options);
    fill_by_name(*encoder);
    return encoder;
  }

  Tensor input() const {
    return (hashed("input", oracle_.info["input"].get<std::vector<int64_t>>()) * std::sqrt(12.)).to(torch::kFloat);
  }
};

INSTANTIATE_TEST_SUITE_P(Cases, EncoderOracles, ::testing::ValuesIn(oracle_cases()), [](const auto& test) {
  auto name = test.param;
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

TEST_P(EncoderOracles, StateDictIsPythons) {
  const auto encoder = make();
  const auto entries = state_dict(*encoder);
  const auto& expected = oracle_.info["state_dict"];
  ASSERT_EQ(entries.size(), expected.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto& [name, tensor] = entries[i];
    EXPECT_EQ(name, expected[i]["name"].get<std::string>()) << "entry " << i;
    EXPECT_EQ(tensor.sizes().vec(), expected[i]["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(
        std::string(tensor.scalar_type() == torch::kLong ? "int64" : "float32"),
        expected[i]["dtype"].get<std::string>())
        << name;
    EXPECT_EQ(tensor.requires_grad(), expected[i]["parameter"].get<bool>()) << name;
  }
  EXPECT_EQ(count_parameters(*encoder), oracle_.info["parameters"].get<int64_t>());
  EXPECT_EQ(encoder->num_features(), oracle_.info["features"].get<int64_t>());
}

// The file's float32 tensors hold 6e-8 of rounding; a float64 run must agree to 1e-6 of the scale, norms to 1e-7.
TEST_P(EncoderOracles, EqualInFloat64) {
  auto encoder = make();
  encoder->to(torch::kDouble);
  const auto r = run(encoder, input().to(torch::kDouble));
  EXPECT_TRUE(close_to_scale(r.eval, oracle_.at("eval_features"), 1e-6));
  EXPECT_TRUE(close_to_scale(r.train, oracle_.at("train_features"), 1e-6));
  EXPECT_TRUE(close_each(r.loss, oracle_.at("loss"), 1e-7));
  EXPECT_TRUE(close_each(r.mean_norm, oracle_.at("running_mean_norm"), 1e-7));
  EXPECT_TRUE(close_each(r.var_norm, oracle_.at("running_var_norm"), 1e-7));
  // A bias before a batch norm has gradient zero up to rounding: the floor is 1e-12 of the largest norm.
  const auto& norm = oracle_.at("grad_norm");
  const double floor = 1e-12 * norm.max().item<double>();
  EXPECT_TRUE(close_each(r.grad_norm, norm, 1e-7, floor));
  const auto scaled = [&](const Tensor& head) { return head / (norm + floor * 1e6).unsqueeze(1); };
  EXPECT_TRUE(close_each(scaled(r.grad_head), scaled(oracle_.at("grad_head").to(torch::kDouble)), 0, 1e-6));
}

// Within ten times what Python itself loses in float32. The loss is a mean of features times weights of both signs, so
// that the file's number for it can be small by chance (Python misses it too on another processor): it may also differ
// by what the features may, over the square root of their number.
TEST_P(EncoderOracles, RoundLikePythonInFloat32) {
  const auto r = run(make(), input());
  const auto& rounding = oracle_.info["float32"];
  const auto allowed = [&](const char* key) { return std::max(10 * rounding[key].get<double>(), 1e-6); };
  EXPECT_TRUE(close_to_scale(r.eval, oracle_.at("eval_features"), allowed("eval")));
  EXPECT_TRUE(close_to_scale(r.train, oracle_.at("train_features"), allowed("train")));
  const double of_features = allowed("train") * oracle_.at("train_features").abs().max().item<double>() /
      std::sqrt(static_cast<double>(r.train.numel()));
  EXPECT_TRUE(close_each(r.loss, oracle_.at("loss"), allowed("loss"), of_features));
  EXPECT_TRUE(close_to_scale(r.mean_norm, oracle_.at("running_mean_norm"), allowed("running_mean")));
  EXPECT_TRUE(close_to_scale(r.var_norm, oracle_.at("running_var_norm"), allowed("running_var")));
  const auto& norm = oracle_.at("grad_norm");
  const auto some = norm >= 1e-3 * norm.max();
  EXPECT_TRUE(close_each(r.grad_norm.masked_select(some), norm.masked_select(some), allowed("grad_norm")));
}

class EveryEncoder : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Registry, EveryEncoder, ::testing::ValuesIn(list_encoders()), [](const auto& test) {
  auto name = test.param;
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

TEST_P(EveryEncoder, AnnouncesItsTrueWidth) {
  const torch::NoGradGuard no_grad;
  auto encoder = create_encoder(GetParam(), {.n_in = 2});
  encoder->eval();
  const auto y = encoder->forward(torch::rand({1, 2, 64, 64}));
  EXPECT_EQ(y.sizes().vec(), (std::vector<int64_t>{1, encoder->num_features()}));
  EXPECT_TRUE(y.isfinite().all().item<bool>());
  EXPECT_EQ(encoder->n_in(), 2);
  EXPECT_EQ(encoder->info().name, GetParam());
}

TEST(Encoder, EveryPoolingHasItsFormula) {
  torch::manual_seed(0);
  const auto x = torch::rand({2, 3, 48, 48});
  for (const auto* name : {"resnet18", "xresnet18"}) {
    const auto features = [&](std::optional<PoolingType> type) {
      torch::manual_seed(1);
      auto encoder = create_encoder(name, {.pool_type = type});
      encoder->eval();
      return encoder->forward(x).detach();
    };
    const auto average = features(PoolingType::Avg), maximum = features(PoolingType::Max);
    const bool max_first = std::string(name) == "xresnet18";
    EXPECT_TRUE(close_to_scale(features(PoolingType::Fast), average, 1e-6)) << name;
    EXPECT_TRUE(close_to_scale(features(PoolingType::AvgMax), (average + maximum) / 2, 1e-6)) << name;
    EXPECT_TRUE(close_to_scale(
        features(PoolingType::CatAvgMax),
        max_first ? torch::cat({maximum, average}, 1) : torch::cat({average, maximum}, 1),
        1e-6))
        << name;
    EXPECT_TRUE(features(std::nullopt).equal(average)) << name;
  }
}

// Moments of 30,000 and more weights: the standard deviation within 2 %, the mean within 5 standard errors.
void expect_normal(const Tensor& weight, double std) {
  const auto n = static_cast<double>(weight.numel());
  EXPECT_NEAR(weight.std().item<double>(), std, 0.02 * std);
  EXPECT_NEAR(weight.mean().item<double>(), 0, 5 * std / std::sqrt(n));
}

TEST(Encoder, InitialisationsAreTheFamilys) {
  torch::manual_seed(0);
  const auto timm = create_encoder("resnet50")->named_parameters();
  expect_normal(timm["layer2.0.conv2.weight"], std::sqrt(2. / (128 * 9)));
  expect_normal(timm["layer2.0.downsample.0.weight"], std::sqrt(2. / 512)); // fan out
  EXPECT_EQ(timm["layer2.0.bn3.weight"].abs().max().item<double>(), 0);
  EXPECT_EQ(timm["layer2.0.bn2.weight"].min().item<double>(), 1);
  const auto fastai = create_encoder("xresnet50", {.n_in = 1})->named_parameters();
  expect_normal(fastai["5.0.convpath.1.0.weight"], std::sqrt(2. / (128 * 9)));
  expect_normal(fastai["5.0.idpath.1.0.weight"], std::sqrt(2. / 256)); // fan in
  EXPECT_EQ(fastai["5.0.convpath.2.1.weight"].abs().max().item<double>(), 0);
  // A replaced first convolution keeps torch's default: uniform in +-1/sqrt(fan_in) = 1/3.
  EXPECT_LE(fastai["0.0.weight"].abs().max().item<double>(), 1. / 3);
  EXPECT_GT(fastai["0.0.weight"].abs().max().item<double>(), 0.3);
}

TEST(Encoder, UnknownNamesNameTheNearest) {
  const auto message = error_of([] { create_encoder("resnet5"); });
  EXPECT_THAT(message, ::testing::StartsWith("[create_encoder] unknown encoder 'resnet5'; did you mean 'resnet50'?"));
}

TEST(Encoder, BadOptionsAreNamed) {
  EXPECT_THAT(
      error_of([] { create_encoder("resnet18", {.n_in = 0}); }), ::testing::HasSubstr("n_in must be at least 1"));
  EXPECT_THAT(error_of([] { create_encoder("resnet18", {.pretrained = true}); }), ::testing::HasSubstr("weights"));
}

TEST(Encoder, ListTakesWildcards) {
  EXPECT_THAT(list_encoders("resnet1?"), ::testing::ElementsAre("resnet18"));
  EXPECT_THAT(list_encoders("x*18"), ::testing::Contains("xresnet18"));
  EXPECT_TRUE(list_encoders("no such").empty());
}

class Flatten : public EncoderImpl {
 public:
  explicit Flatten(int64_t n_in) : EncoderImpl({.name = "flatten", .n_in = n_in, .num_features = n_in * 4}) {}
  Tensor forward(const Tensor& x) override {
    return x.flatten(1);
  }
};

TEST(Encoder, UsersRegisterTheirOwn) {
  const auto build = [](const std::string&, const EncoderOptions& options) {
    return Encoder(std::make_shared<Flatten>(options.n_in));
  };
  register_encoder("test_flatten", build);
  EXPECT_EQ(create_encoder("test_flatten", {.n_in = 2})->forward(torch::rand({3, 2, 2, 2})).size(1), 8);
  EXPECT_THAT(error_of([&] { register_encoder("resnet18", build); }), ::testing::HasSubstr("already"));
}

TEST(Encoder, PretrainedLoadsAFile) {
  const auto file = fs::temp_directory_path() / "barlow_encoder_test.safetensors";
  const auto first = create_encoder("resnet18", {.n_in = 1});
  save_weights(*first, file);
  auto second = create_encoder("resnet18", {.n_in = 1, .pretrained = true, .weights = file.string()});
  EXPECT_TRUE(second->named_parameters()["conv1.weight"].equal(first->named_parameters()["conv1.weight"]));
  fs::remove(file);
}

} // namespace
} // namespace barlow
