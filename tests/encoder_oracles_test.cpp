// SPDX-License-Identifier: Apache-2.0
// Encoders against Python's: oracle files (tests/oracles/encoders; its script's text is the specification), and facts
// of every network (tests/oracles/facts).
#include <barlow/encoder.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <barlow/nn.h>

#include "encoders/registry.h"
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

// Cases of your own, made by tests/oracles/encoders/encoder_oracles.py --out FOLDER, are tried with
// BARLOW_ENCODER_CASES=FOLDER.
fs::path case_folder() {
  const char* own = std::getenv("BARLOW_ENCODER_CASES");
  return own != nullptr ? fs::path(own) : fs::path(BARLOW_TEST_ORACLES) / "encoders";
}

// As create_encoder is called for a case: "fastai:resnet18" where the package is not the plain name's.
std::string encoder_name(const nlohmann::json& info) {
  const auto name = info["name"].get<std::string>();
  const bool plain_is_fastai = name.rfind("xres", 0) == 0 || name.rfind("xse", 0) == 0;
  return info["package"] == "fastai" && !plain_is_fastai ? "fastai:" + name : name;
}

std::vector<std::string> oracle_cases() {
  std::vector<std::string> stems;
  for (const auto& entry : fs::directory_iterator(case_folder())) {
    if (entry.path().extension() != ".json") {
      continue;
    }
    nlohmann::json info;
    std::ifstream(entry.path()) >> info;
    if (encoder_registry().find(encoder_name(info)) != nullptr) {
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
  Oracle oracle_ = load_oracle(case_folder() / GetParam());

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

// --- facts

nlohmann::json load_facts(const char* file = "encoder_facts.json") {
  nlohmann::json facts;
  std::ifstream(fs::path(BARLOW_TEST_ORACLES) / "facts" / file) >> facts;
  return facts;
}

// While one lives, random initialisation does nothing: the largest networks have gigabytes of weights, which stay
// untouched memory so.
struct WithoutInitialisation {
  c10::impl::IncludeDispatchKeyGuard guard{c10::DispatchKey::TESTING_ONLY_GenericMode};
};

// The dispatcher wants the generator by value.
Tensor&
no_uniform(Tensor& self, double, double, std::optional<at::Generator>) { // NOLINT(performance-unnecessary-value-param)
  return self;
}
Tensor& no_clamp(Tensor& self, const std::optional<at::Scalar>&, const std::optional<at::Scalar>&) {
  return self;
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, TESTING_ONLY_GenericMode, m) {
  m.impl("uniform_", no_uniform);
  m.impl("normal_", no_uniform);
  m.impl("clamp_", no_clamp);
}

// The CRC of "key:AxBxC;" over the state dict, as the script's.
uint32_t digest(const torch::nn::Module& module) {
  std::string text;
  for (const auto& [name, tensor] : state_dict(module)) {
    text += fmt::format("{}:{};", name, fmt::join(tensor.sizes(), "x"));
  }
  return crc32(text);
}

TEST(EncoderFacts, KeysShapesWidthsAndInputsArePythons) {
  const auto facts = load_facts();
  int64_t timm = 0;
  for (const auto& [name, entry] : encoder_registry().all()) {
    if (entry.library == EncoderRegistry::Library::User) {
      continue;
    }
    const bool is_timm = entry.library == EncoderRegistry::Library::Timm;
    const auto key = is_timm || name.rfind("fastai:", 0) == 0 ? name : "fastai:" + name;
    ASSERT_TRUE(facts.contains(key)) << key << " is none of Python's";
    const auto& fact = facts[key];
    const WithoutInitialisation without;
    const auto encoder = create_encoder(name, {.pool_type = std::nullopt});
    EXPECT_EQ(count_parameters(*encoder), fact["parameters"].get<int64_t>()) << name;
    EXPECT_EQ(encoder->num_features(), fact["features"].get<int64_t>()) << name;
    EXPECT_EQ(digest(*encoder), fact["digest"].get<uint32_t>()) << name;
    if (is_timm) {
      const auto& info = encoder->info();
      EXPECT_EQ(info.input_size, fact["input_size"].get<int64_t>()) << name;
      EXPECT_EQ(info.first_conv, fact["first_conv"].get<std::string>()) << name;
      EXPECT_EQ(info.mean, fact["mean"].get<std::vector<double>>()) << name;
      EXPECT_EQ(info.std, fact["std"].get<std::vector<double>>()) << name;
      ++timm;
    }
  }
  EXPECT_GE(timm, 400);
}

// Every parameter's mean and standard deviation at one seed of Python's and one of ours: of two samples of n numbers,
// within six standard errors of a difference (uniform numbers vary less than normal ones); constants exactly.
TEST(EncoderFacts, InitialisationsHavePythonsMoments) {
  torch::manual_seed(1);
  const auto facts = load_facts("encoder_moments.json");
  for (const auto& [name, moments] : facts.items()) {
    SCOPED_TRACE(name);
    const auto encoder = create_encoder(name, {.pool_type = std::nullopt});
    const auto parameters = encoder->named_parameters();
    ASSERT_EQ(parameters.size(), moments.size());
    for (const auto& item : parameters) {
      const auto values = item.value().detach().to(torch::kDouble);
      const double mean = moments[item.key()][0], std = moments[item.key()][1];
      const double own_mean = values.mean().item<double>(), own_std = values.std(/*unbiased=*/false).item<double>();
      const auto n = static_cast<double>(values.numel());
      if (std == 0) {
        EXPECT_NEAR(own_mean, mean, 1e-6) << item.key();
        EXPECT_NEAR(own_std, 0, 1e-7) << item.key();
      } else if (n >= 500) {
        EXPECT_NEAR(own_mean, mean, 6 * std * std::sqrt(2 / n) + 1e-4 * std) << item.key();
        EXPECT_NEAR(own_std, std, 6 * std / std::sqrt(n) + 1e-3 * std) << item.key();
      }
    }
  }
}

} // namespace
} // namespace barlow
