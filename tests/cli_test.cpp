// SPDX-License-Identifier: Apache-2.0
// What the program's arguments come to; the program itself is tried in tests/program.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/feature_extractor.h>
#include <barlow/image.h>

#include "cli/choose.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "file.h"
#include "support/in_memory.h"
#include "support/oracle.h"

namespace barlow::cli {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;
namespace fs = std::filesystem;

const std::string kDigits = BARLOW_EXAMPLE_DATA "/mnist_tiny";

Resolved resolved(const Arguments& arguments) {
  return resolve("pretrain", "", "", arguments);
}

std::string choice(const Resolved& of, const std::string& what) {
  for (const auto& c : of.choices) {
    if (c.what == what) {
      return c.value;
    }
  }
  return "";
}

template <class Function>
std::string usage_error(Function function) {
  try {
    function();
  } catch (const UsageError& e) {
    return e.what();
  }
  return "no error";
}

TEST(Cli, LooksAtTheImages) {
  const auto look = look_at({.path = kDigits});
  EXPECT_EQ(look.train, 700);
  EXPECT_EQ(look.valid, 300);
  EXPECT_EQ(look.channels, 1);
  EXPECT_EQ(look.median, 28);
  EXPECT_EQ(look.classes, 2);
}

TEST(Cli, ColourAndSizesOfAPlainFolder) {
  const TemporaryFolder folder;
  for (int i = 0; i < 20; ++i) {
    auto image = torch::randint(0, 256, {3, 100, 120 + i}, torch::kByte);
    write_png(folder.path() / fmt::format("{}.png", i), image);
  }
  const auto look = look_at({.path = folder.path().string()});
  EXPECT_EQ(look.channels, 3);
  EXPECT_EQ(look.median, 100);
  EXPECT_EQ(look.classes, 0);
  EXPECT_EQ(look.train, 18);
  EXPECT_EQ(look.valid, 2); // held out
}

TEST(Cli, TrainWithoutValidationIsSplit) {
  const TemporaryFolder folder;
  fs::copy(fs::path(kDigits) / "train", folder.path() / "train", fs::copy_options::recursive);
  const auto look = look_at({.path = folder.path().string()});
  EXPECT_EQ(look.train, 630);
  EXPECT_EQ(look.valid, 70);
  EXPECT_EQ(look.classes, 2);
}

TEST(Cli, ChoosesWhatNobodySaid) {
  const auto small = resolved({kDigits, "--device", "cpu"});
  EXPECT_EQ(small.run.recipe.n_in, 1);
  EXPECT_EQ(small.run.recipe.size, 28);
  EXPECT_EQ(small.run.recipe.encoder, "xresnet18");
  EXPECT_EQ(small.run.recipe.views, RecipeViews::Documented);
  EXPECT_EQ(small.run.recipe.aug.flip_p, 0);
  EXPECT_EQ(small.run.recipe.aug.resize_scale, (Range{0.35, 1}));
  EXPECT_FALSE(small.run.recipe.aug.blur);
  EXPECT_EQ(small.run.recipe.batch_size, 64);
  EXPECT_EQ(small.run.recipe.epochs, 29); // 20,000 images
  EXPECT_EQ(choice(small, "encoder"), "xresnet18");
  const auto said = resolved({kDigits, "--device", "cpu", "--encoder", "resnet26", "--batch-size", "32"});
  EXPECT_EQ(said.run.recipe.encoder, "resnet26");
  EXPECT_EQ(said.run.recipe.batch_size, 32);
  EXPECT_EQ(choice(said, "encoder"), "");
}

TEST(Cli, RulesForImagesWithoutColour) {
  const auto mirrored = resolved({kDigits, "--device", "cpu", "--flip-p", "0.5"});
  EXPECT_EQ(mirrored.run.recipe.aug.flip_p, 0.5);
  EXPECT_EQ(mirrored.run.recipe.aug.rotate_deg, 15);
  const auto gray = resolved({kDigits, "--device", "cpu", "--views", "gray"});
  EXPECT_EQ(gray.run.recipe.views, RecipeViews::Gray);
  EXPECT_EQ(gray.run.crop_min, 0); // the views' own
  cli::Run large{.device = "cpu"};
  choose(large, {.train = 1000, .shown = 64, .median = 300, .channels = 1}, [](const char*) { return false; });
  EXPECT_EQ(large.recipe.views, RecipeViews::Gray);
}

TEST(Cli, RulesForLargeColourImages) {
  cli::Run run{.device = "cpu"};
  const auto choices =
      choose(run, {.train = 1000, .shown = 64, .median = 300, .channels = 3}, [](const char*) { return false; });
  EXPECT_EQ(run.recipe.size, 96);
  EXPECT_EQ(run.recipe.encoder, "resnet18");
  EXPECT_EQ(run.recipe.views, RecipeViews::Paper);
  EXPECT_EQ(run.recipe.epochs, 20);
  EXPECT_FALSE(choices.empty());
  cli::Run few{.device = "cpu"};
  choose(few, {.train = 10, .shown = 10, .median = 50, .channels = 3}, [](const char*) { return false; });
  EXPECT_EQ(few.recipe.batch_size, 4);
  EXPECT_EQ(few.recipe.epochs, 100);
}

TEST(Cli, ARecipeThenTheFileThenTheCommandLine) {
  const TemporaryFolder folder;
  const auto file = (folder.path() / "mine.toml").string();
  std::ofstream(file) << "epochs = 7\nlr = 0.5\n";
  const auto run = resolved({kDigits, "--recipe", "solo-learn-cifar10", "--config", file, "--lr", "0.25"}).run;
  EXPECT_EQ(run.recipe.encoder, "resnet18");
  EXPECT_EQ(run.recipe.epochs, 7);
  EXPECT_EQ(run.recipe.rate.lr, 0.25);
  EXPECT_TRUE(std::get<LarsOptions>(run.recipe.optimizer).clip);
}

TEST(Cli, ConfigurationInYaml) {
  const TemporaryFolder folder;
  const auto file = (folder.path() / "mine.yaml").string();
  const auto run_of = [&](const std::string& text) {
    std::ofstream(file) << text;
    return resolved({kDigits, "--config", file, "--lr", "0.25"}).run;
  };
  const auto run = run_of("# mine\nepochs: 7\nlr: 0.5\nreport: false\ncrop-min: 0.3\n");
  EXPECT_EQ(run.recipe.epochs, 7);
  EXPECT_EQ(run.recipe.rate.lr, 0.25);
  EXPECT_EQ(run.recipe.view_options.resize_scale, (Range{0.3, 1}));
  EXPECT_FALSE(run.report);
  EXPECT_THAT(usage_error([&] { run_of("epoch: 7\n"); }), HasSubstr("did you mean 'epochs'"));
  EXPECT_THAT(usage_error([&] { run_of("epochs: [7]\n"); }), HasSubstr("'epochs' must have one value"));
  EXPECT_THAT(usage_error([&] { run_of("epochs 7\n"); }), HasSubstr("must be a map"));
  EXPECT_THAT(usage_error([&] { run_of("epochs: [7\n"); }), HasSubstr("is no YAML"));
}

TEST(Cli, ARecipeAsItIsHasItsHash) {
  for (const auto& name : list_recipes()) {
    EXPECT_EQ(recipe_id(resolved({kDigits, "--recipe", name}).run.recipe), recipe_id(find_recipe(name)));
  }
}

TEST(Cli, ItsConfigurationIsTakenBack) {
  const TemporaryFolder folder;
  const auto file = (folder.path() / "config.toml").string();
  for (const Arguments& arguments :
       {Arguments{
            kDigits, "--crop-min", "0.3", "--optimizer", "lars", "--no-normalize", "--pool", "own", "--tensorboard"},
        Arguments{kDigits, "--recipe", "paper-imagenet", "--weight-decay", "0.5", "--views", "documented", "--no-blur"},
        Arguments{kDigits, "--recipe", "lightly-cifar10", "--out", "a folder/with \"quotes\""}}) {
    const auto first = resolved(arguments).run;
    std::ofstream(file) << to_toml(first);
    const auto second = resolved({"--config", file}).run;
    EXPECT_EQ(to_toml(second), to_toml(first));
    EXPECT_EQ(to_json(second.recipe), to_json(first.recipe));
    EXPECT_EQ(second.out, first.out);
    EXPECT_EQ(second.tensorboard, first.tensorboard);
  }
}

TEST(Cli, SettingsReachTheRecipe) {
  const auto run = resolved({kDigits, "--weight-decay", "0.125", "--crop-max", "0.75", "--lambda", "0.01"}).run;
  EXPECT_EQ(std::get<AdamOptions>(run.recipe.optimizer).wd, 0.125);
  EXPECT_EQ(run.recipe.view_options.resize_scale->second, 0.75);
  EXPECT_EQ(run.recipe.lmb, 0.01);
  EXPECT_FALSE(stats(run.recipe).has_value()); // one channel
  EXPECT_TRUE(stats(find_recipe("paper-imagenet")).has_value());
}

TEST(Cli, WrongArgumentsLeadToTheRightOnes) {
  const auto of = [](const Arguments& arguments) { return usage_error([&] { resolved(arguments); }); };
  EXPECT_THAT(of({kDigits, "--epcohs", "3"}), HasSubstr("unknown option '--epcohs'; did you mean '--epochs'?"));
  EXPECT_THAT(of({kDigits, "--epochs", "0"}), HasSubstr("--epochs"));
  EXPECT_THAT(of({kDigits, "--views", "papr"}), HasSubstr("paper"));
  EXPECT_THAT(of({kDigits, "--recipe", "paper"}), HasSubstr("paper-imagenet"));
  EXPECT_THAT(of({}), HasSubstr("data is required"));
  EXPECT_THAT(of({kDigits, "more"}), HasSubstr("takes no further argument, received 'more'"));
  EXPECT_THAT(of({kDigits, "--device", "gpu"}), HasSubstr("there is no device 'gpu'"));
  EXPECT_THAT(of({kDigits, "--device", "cuda:77"}), HasSubstr("is not there"));
  EXPECT_THAT(of({kDigits, "--config", "/nowhere.toml"}), HasSubstr("/nowhere.toml"));
  const TemporaryFolder folder;
  const auto file = (folder.path() / "mine.toml").string();
  std::ofstream(file) << "epocs = 7\n";
  EXPECT_THAT(of({kDigits, "--config", file}), HasSubstr("unknown key 'epocs'; did you mean 'epochs'?"));
}

TEST(Cli, AConfigurationIsShortAndFlat) {
  const TemporaryFolder folder;
  for (const auto* suffix : {".toml", ".yaml"}) {
    const auto file = (folder.path() / "mine").string() + suffix;
    std::ofstream(file) << std::string(1 << 16, '\n') << "\n";
    const Arguments arguments{kDigits, "--config", file};
    EXPECT_THAT(usage_error([&] { resolved(arguments); }), HasSubstr("has more than 65536 characters"));
  }
  const auto file = (folder.path() / "mine.toml").string();
  std::ofstream(file) << "epochs = 7\n  [a.b]\n";
  const Arguments arguments{kDigits, "--config", file};
  EXPECT_THAT(usage_error([&] { resolved(arguments); }), HasSubstr("options stand in no table, received '  [a.b]'"));
}

TEST(Cli, WrongFoldersAreNamed) {
  EXPECT_THAT(error_of([] { look_at({.path = "/nowhere"}); }), HasSubstr("'/nowhere' is not there"));
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { look_at({.path = folder.path().string()}); }), HasSubstr(folder.path().string()));
  std::ofstream(folder.path() / "broken.png") << "no image";
  EXPECT_THAT(error_of([&] { look_at({.path = folder.path().string(), .valid_pct = 0}); }), HasSubstr("broken.png"));
}

TEST(Cli, AnExportTellsHowToNormalise) { // as protobuf writes a key and its value
  const TemporaryFolder folder;
  const auto file = (folder.path() / "encoder.safetensors").string(), out = (folder.path() / "encoder.onnx").string();
  const auto exported = [&](const SaveEncoderOptions& options) {
    save_encoder(create_encoder("resnet18", {.n_in = 1}), file, options);
    run_export({file, out});
    const auto bytes = read_file(out, "test");
    return std::string(bytes.begin(), bytes.end());
  };
  const auto plain = exported({.size = 32});
  EXPECT_NE(
      plain.find(
          "\x0a\x04mean\x12\x01"
          "0"),
      std::string::npos);
  EXPECT_NE(
      plain.find(
          "\x0a\x03std\x12\x01"
          "1"),
      std::string::npos);
  const auto normalised = exported({.size = 32, .stats = Stats{{0.25}, {0.5}}});
  EXPECT_NE(
      normalised.find(
          "\x0a\x04mean\x12\x04"
          "0.25"),
      std::string::npos);
}

TEST(Cli, HelpEndsWithAnExample) {
  try {
    resolve("pretrain", "Trains.", "barlow pretrain photos", {"--help"});
    FAIL();
  } catch (const HelpAsked& help) {
    EXPECT_THAT(help.what(), HasSubstr("Example:\n  barlow pretrain photos"));
    EXPECT_THAT(help.what(), HasSubstr("--batch-size"));
    EXPECT_THAT(help.what(), Not(HasSubstr("TEXT:")));
  }
}

} // namespace
} // namespace barlow::cli
