// SPDX-License-Identifier: Apache-2.0
// The factory, properties over the registry, poolings, initialisations, weights, imported modules.
#include <barlow/encoder.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <torch/script.h>

#include <barlow/model.h>
#include <barlow/nn.h>
#include <barlow/optim.h>
#include <barlow/weights.h>

#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

int64_t published_parameters(const std::string& name) {
  static const nlohmann::json facts = [] {
    nlohmann::json read;
    std::ifstream(fs::path(BARLOW_TEST_ORACLES) / "facts" / "encoder_facts.json") >> read;
    return read;
  }();
  const auto found = facts.contains(name) ? facts.find(name) : facts.find("fastai:" + name);
  return found == facts.end() ? 0 : (*found)["parameters"].get<int64_t>();
}

// Larger ones are built and counted by EncoderFacts.
std::vector<std::string> encoders_that_fit(int64_t parameters) {
  auto names = list_encoders();
  names.erase(
      std::remove_if(names.begin(), names.end(), [&](const auto& n) { return published_parameters(n) > parameters; }),
      names.end());
  return names;
}

class EveryEncoder : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(
    Registry,
    EveryEncoder,
    ::testing::ValuesIn(encoders_that_fit(12'000'000)), // all families; minutes more for a larger number
    [](const auto& test) {
      auto name = test.param;
      std::replace_if(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
      return name;
    });

TEST_P(EveryEncoder, TrainsOnItsOwnInputSize) {
  torch::manual_seed(0);
  auto encoder = create_encoder(GetParam(), {.n_in = 2});
  const auto size = encoder->info().input_size;
  const auto x = torch::rand({2, 2, size, size});
  const std::vector<int64_t> shape{2, encoder->num_features()};
  encoder->eval();
  {
    const torch::NoGradGuard no_grad;
    const auto y = encoder->forward(x);
    EXPECT_EQ(y.sizes().vec(), shape);
    EXPECT_TRUE(y.isfinite().all().item<bool>());
  }
  encoder->train();
  const auto y = encoder->forward(x);
  EXPECT_EQ(y.sizes().vec(), shape);
  (y * torch::randn(shape)).sum().backward();
  for (const auto& p : encoder->named_parameters()) {
    EXPECT_TRUE(!p.value().grad().defined() || p.value().grad().isfinite().all().item<bool>()) << p.key();
  }
  EXPECT_EQ(encoder->info().name, GetParam());
}

// Checkpointing cuts there: every family has several parts.
TEST(Encoder, SegmentsComposeToTheForwardPass) {
  torch::manual_seed(0);
  for (const auto* name : {"resnet18", "xresnet18", "mobilenetv2_050", "vit_tiny_patch16_224"}) {
    auto encoder = create_encoder(name);
    encoder->eval();
    const auto x = torch::rand({2, 3, 64, 64});
    auto y = x;
    std::set<std::string> names;
    for (const auto& segment : encoder->segments()) {
      y = segment.forward(y);
      names.insert(segment.name);
    }
    EXPECT_TRUE(y.equal(encoder->forward(x))) << name;
    EXPECT_GE(names.size(), 8U) << name;
    EXPECT_EQ(names.size(), encoder->segments().size()) << name;
  }
}

TEST(Encoder, ThePagesSample) {
  auto encoder = create_encoder("tf_efficientnet_b0_ns", {.pool_type = PoolingType::CatAvgMax});
  auto model = create_barlow_twins_model(encoder, {.hidden_size = 2048, .projection_size = 128, .nlayers = 2});
  EXPECT_EQ(model->forward(torch::randn({2, 3, 224, 224})).sizes().vec(), (std::vector<int64_t>{2, 128}));
}

TEST(Encoder, APoolingThatWasAskedForIsNotReplaced) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(create_encoder("convnext_atto")->num_features(), 320); // the default gives way, with a notice
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("'convnext_atto' cannot pool by CatAvgMax"));
  EXPECT_THAT(
      error_of([] { create_encoder("convnext_atto", {.pool_type = PoolingType::CatAvgMax}); }),
      ::testing::AllOf(HasSubstr("cannot pool by CatAvgMax"), HasSubstr("use ")));
  EXPECT_THAT(
      error_of([] { create_encoder("vit_tiny_patch16_224", {.pool_type = PoolingType::CatAvgMax}); }),
      HasSubstr("CatAvgMax"));
  EXPECT_EQ(create_encoder("vit_tiny_patch16_224", {.pool_type = PoolingType::Avg})->num_features(), 192);
}

TEST(Encoder, NamesOfBothLibrariesAndOldOnes) {
  const auto has = [](const char* name, const char* parameter) {
    return create_encoder(name)->named_parameters().contains(parameter);
  };
  EXPECT_TRUE(has("resnet18", "layer1.0.conv1.weight")); // timm's
  EXPECT_TRUE(has("timm:resnet18", "layer1.0.conv1.weight"));
  EXPECT_TRUE(has("resnet18.a1_in1k", "layer1.0.conv1.weight"));
  EXPECT_TRUE(has("fastai:resnet18", "4.0.conv1.weight"));
  EXPECT_TRUE(has("fastai:xresnet18", "0.0.weight"));
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(has("tf_mobilenetv3_small_minimal_100", "conv_stem.weight"));
  EXPECT_EQ(::testing::internal::GetCapturedStderr().find("is called"), std::string::npos);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(has("ssl_resnet18", "layer1.0.conv1.weight"));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("'resnet18.fb_ssl_yfcc100m_ft_in1k' now"));
  EXPECT_THAT(error_of([] { create_encoder("timm:xresnet18"); }), HasSubstr("unknown encoder"));
}

TEST(Encoder, InputsThatDoNotFitAreNamed) {
  const auto forward = [](const char* name, at::IntArrayRef shape) {
    return error_of([&] { create_encoder(name)->forward(torch::zeros(shape)); });
  };
  EXPECT_THAT(forward("resnet18", {2, 1, 32, 32}), HasSubstr("'resnet18' takes [N,3,H,W], received"));
  EXPECT_THAT(forward("resnet18", {3, 32, 32}), HasSubstr("[Encoder::forward]"));
  EXPECT_THAT(forward("vit_tiny_patch16_224", {2, 3, 100, 100}), HasSubstr("multiples of 16"));
  EXPECT_THAT(forward("vgg11", {2, 3, 16, 16}), HasSubstr("at least 32 pixels"));
}

// Dropping scales what it keeps: the mean over many runs is the value without dropping.
TEST(Encoder, DropRatesActInTrainingOnly) {
  torch::manual_seed(0);
  const auto x = torch::rand({4, 3, 32, 32});
  torch::manual_seed(1);
  auto plain = create_encoder("resnet18", {.pool_type = PoolingType::Avg});
  torch::manual_seed(1);
  auto dropping = create_encoder("resnet18", {.pool_type = PoolingType::Avg, .drop_rate = 0.5});
  plain->eval();
  dropping->eval();
  EXPECT_TRUE(plain->forward(x).equal(dropping->forward(x)));
  const auto zeros = [&](Encoder& encoder) {
    encoder->train();
    return (encoder->forward(x) == 0).to(torch::kDouble).mean().item<double>();
  };
  const double of_relu = zeros(plain); // half of the others are dropped; 2048 features, standard deviation 0.011
  EXPECT_NEAR(zeros(dropping), of_relu + 0.5 * (1 - of_relu), 0.06);
  auto paths = create_encoder("resnet18", {.drop_path_rate = 0.9});
  for (auto& p : paths->named_parameters()) { // the blocks' last norms start at zero: what is dropped must show
    if (p.key().find("bn2.weight") != std::string::npos) {
      torch::nn::init::ones_(p.value());
    }
  }
  EXPECT_FALSE(paths->forward(x).equal(paths->forward(x)));
  EXPECT_THAT(error_of([] { create_encoder("resnet18", {.drop_rate = 1}); }), HasSubstr("drop_rate must be in [0, 1)"));
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

// Sums, repeats and scales as the libraries do; a classifier's tensors are left out.
TEST(Encoder, PretrainedWeightsAreAdaptedToNIn) {
  const auto file = fs::temp_directory_path() / "barlow_encoder_adapt.safetensors";
  for (const auto* name : {"resnet18", "fastai:resnet18"}) {
    const bool fastai = name[0] == 'f';
    const std::string key = fastai ? "0.weight" : "conv1.weight";
    const auto published = create_encoder(name);
    auto tensors = state_dict(*published);
    tensors.emplace_back("fc.weight", torch::zeros({10, 512}));
    save_safetensors(file, tensors);
    const auto w = published->named_parameters()[key];
    const auto loaded = [&](int64_t n_in) {
      return create_encoder(name, {.n_in = n_in, .pretrained = true, .weights = file.string()})
          ->named_parameters()[key];
    };
    EXPECT_TRUE(close_to_scale(loaded(1), w.sum(1, true), 1e-7)) << name;
    const auto four = loaded(4);
    if (fastai) {
      EXPECT_TRUE(close_to_scale(loaded(2), w.narrow(1, 0, 2) * 1.5, 1e-7));
      EXPECT_TRUE(four.narrow(1, 0, 3).equal(w));
      EXPECT_EQ(four.select(1, 3).abs().max().item<double>(), 0);
    } else {
      EXPECT_TRUE(close_to_scale(four, torch::cat({w, w.narrow(1, 0, 1)}, 1) * 0.75, 1e-7));
    }
  }
  fs::remove(file);
}

// A constant position embedding stays what it is, on any grid.
TEST(Encoder, PositionEmbeddingsOfAnotherSizeAreResampled) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "vit.safetensors";
  auto tensors = state_dict(*create_encoder("vit_tiny_patch16_384"));
  for (auto& [name, tensor] : tensors) {
    if (name == "pos_embed") {
      tensor = torch::full_like(tensor, 0.25);
    }
  }
  save_safetensors(file, tensors);
  const auto loaded = create_encoder("vit_tiny_patch16_224", {.pretrained = true, .weights = file.string()});
  const auto position = loaded->named_parameters()["pos_embed"];
  EXPECT_EQ(position.sizes().vec(), (std::vector<int64_t>{1, 197, 192}));
  EXPECT_TRUE(close_to_scale(position, torch::full_like(position, 0.25), 1e-6));
}

TEST(Encoder, PretrainedLoadsAFile) {
  const auto file = fs::temp_directory_path() / "barlow_encoder_test.safetensors";
  const auto first = create_encoder("resnet18", {.n_in = 1});
  save_weights(*first, file);
  auto second = create_encoder("resnet18", {.n_in = 1, .pretrained = true, .weights = file.string()});
  EXPECT_TRUE(second->named_parameters()["conv1.weight"].equal(first->named_parameters()["conv1.weight"]));
  fs::remove(file);
}

// What training programs save: the encoder among other parts, behind a beginning, by names or by places.
TEST(Encoder, PretrainedTakesEveryLayoutOfAResNet) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "checkpoint.safetensors";
  const auto published = create_encoder("resnet18"), numbered = create_encoder("fastai:resnet18");
  for (const auto* prefix : {"", "backbone.", "model.module.backbone.", "encoder.0."}) {
    for (const auto& from : {published, numbered}) {
      NamedTensors tensors;
      for (const auto& [name, tensor] : state_dict(*from)) {
        if (name.find("num_batches_tracked") == std::string::npos) { // as old files
          tensors.emplace_back(prefix + name, tensor);
        }
      }
      if (*prefix != '\0') {
        tensors.emplace_back("projector.0.weight", torch::zeros({4, 4}));
      }
      save_safetensors(file, tensors);
      for (const auto* to : {"resnet18", "fastai:resnet18"}) {
        const auto loaded = create_encoder(to, {.pretrained = true, .weights = file.string()});
        const auto a = from->parameters(), b = loaded->parameters();
        ASSERT_EQ(a.size(), b.size());
        for (size_t i = 0; i < a.size(); ++i) {
          EXPECT_TRUE(a[i].equal(b[i])) << prefix << ' ' << to << ' ' << i;
        }
      }
    }
  }
}

TEST(Encoder, PretrainedWeightsThatDoNotServeAreNamed) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "resnet18.safetensors";
  const auto message = [&] {
    return error_of([&] { create_encoder("resnet18", {.pretrained = true, .weights = file.string()}); });
  };
  auto tensors = state_dict(*create_encoder("resnet18"));
  tensors[0].second = torch::full_like(tensors[0].second, NAN);
  save_safetensors(file, tensors);
  EXPECT_THAT(message(), ::testing::HasSubstr("has NaN or infinite values"));
  save_safetensors(file, state_dict(*create_encoder("vit_tiny_patch16_224")));
  EXPECT_THAT(message(), ::testing::HasSubstr("it begins with"));

  // A folder of weights.
  ::unsetenv("BARLOW_WEIGHTS");
  EXPECT_THAT(
      error_of([] { create_encoder("resnet18", {.pretrained = true}); }),
      ::testing::HasSubstr("set EncoderOptions::weights to one, or the environment variable BARLOW_WEIGHTS"));
  ::setenv("BARLOW_WEIGHTS", folder.path().c_str(), 1);
  const auto published = create_encoder("resnet18");
  save_weights(*published, file);
  EXPECT_TRUE(create_encoder("timm:resnet18", {.pretrained = true})->parameters()[0].equal(published->parameters()[0]));
  EXPECT_THAT(error_of([] { create_encoder("resnet34", {.pretrained = true}); }), ::testing::HasSubstr("has none"));
  ::unsetenv("BARLOW_WEIGHTS");
}

// --- imported modules

// A TorchScript file of one convolution, whose output `forward` computes of `features`.
fs::path write_script(const fs::path& file, const std::string& result) {
  torch::jit::Module script("Net");
  script.register_parameter("weight", torch::randn({8, 3, 3, 3}).requires_grad_(), /*is_buffer=*/false);
  script.register_buffer("scale", torch::full({8}, 2.));
  script.define(
      "def forward(self, x):\n"
      "  features = torch.conv2d(x, self.weight, None, [2, 2]).mean([2, 3]) * self.scale\n"
      "  return " +
      result + "\n");
  script.save(file.string());
  return file;
}

TEST(ImportedEncoder, TrainsLikeANativeOne) {
  const TemporaryFolder folder;
  const auto file = write_script(folder.path() / "net.pt", "features");
  auto encoder = create_encoder(file.string());
  EXPECT_EQ(encoder->num_features(), 8);
  EXPECT_EQ(count_parameters(*encoder), 8 * 27);
  encoder->to(torch::kDouble); // parameters and buffers are the script's own
  const auto before = encoder->named_parameters()["weight"].detach().clone();
  const auto optimizer = make_adam(*encoder);
  encoder->forward(torch::rand({4, 3, 16, 16}, torch::kDouble)).square().sum().backward();
  optimizer->step();
  EXPECT_FALSE(encoder->named_parameters()["weight"].equal(before));
  EXPECT_EQ(encoder->forward(torch::rand({4, 3, 16, 16}, torch::kDouble)).sizes(), (std::vector<int64_t>{4, 8}));
  EXPECT_EQ(create_barlow_twins_model(encoder)->projector->parameters()[0].size(1), 8);
}

TEST(ImportedEncoder, BadFilesAreNamed) {
  const TemporaryFolder folder;
  const auto import = [](const fs::path& file, int64_t n_in = 3) {
    return error_of([&] { create_encoder(file.string(), {.n_in = n_in}); });
  };
  EXPECT_THAT(import(folder.path() / "none.pt"), HasSubstr("none.pt' does not exist"));
  std::ofstream(folder.path() / "text.pt") << "no module";
  EXPECT_THAT(import(folder.path() / "text.pt"), HasSubstr("holds no TorchScript module"));
  EXPECT_THAT(
      import(write_script(folder.path() / "two.pt", "(features, x)")), HasSubstr("must give features [N,F], received"));
  EXPECT_THAT(import(write_script(folder.path() / "map.pt", "x")), HasSubstr("must give features [N,F]"));
  EXPECT_THAT(import(write_script(folder.path() / "ok.pt", "features"), 1), HasSubstr("n_in"));
}

// As of a process that has no share of a batch.
class WithoutRows : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Families,
    WithoutRows,
    ::testing::Values(
        "convnext_atto",
        "densenet121",
        "ecaresnet26t",
        "efficientnet_b0",
        "efficientnet_cc_b0_4e",
        "fastai:resnet18",
        "fastai:squeezenet1_1",
        "legacy_seresnet18",
        "mixer_s32_224",
        "mobilenetv3_small_050",
        "mobilenetv4_conv_small",
        "regnetx_002",
        "regnety_002",
        "resnet10t",
        "resnetv2_50",
        "swin_tiny_patch4_window7_224",
        "vgg11_bn",
        "vit_tiny_patch16_224",
        "xresnet18"));

TEST_P(WithoutRows, FeaturesAndGradientsAreThere) {
  auto encoder = create_encoder(GetParam());
  const auto size = encoder->info().input_size;
  encoder->eval();
  const auto features = encoder->forward(torch::zeros({0, 3, size, size}));
  EXPECT_EQ(features.sizes(), (std::vector<int64_t>{0, encoder->num_features()}));
  EXPECT_NO_THROW(features.sum().backward());
}

} // namespace
} // namespace barlow
