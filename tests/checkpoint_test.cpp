// SPDX-License-Identifier: Apache-2.0
// Runs that are saved, interrupted, damaged and gone on with, against undisturbed ones, to the bit.
#include <barlow/checkpoint.h>

#include <array>
#include <csignal>
#include <fstream>

#include <sys/resource.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/checkpoints.h>
#include <barlow/callbacks/csv_log.h>
#include <barlow/callbacks/early_stop.h>
#include <barlow/callbacks/ema.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/callbacks/json_log.h>
#include <barlow/callbacks/time_limit.h>
#include <barlow/nn.h>

#include "file.h"
#include "support/oracle.h"
#include "support/small_run.h"

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

// ---- the file ----

TEST(CheckpointFile, KeepsTensorsAndStrings) {
  TemporaryFolder folder;
  const auto file = folder.path() / "new" / "a.safetensors";
  save_checkpoint(file, {{{"x", torch::arange(5)}, {"y", torch::rand({2, 3})}}, {{"data", "\"checksum\":\"x"}}});
  const auto back = load_checkpoint(file);
  ASSERT_EQ(back.tensors.size(), 2U);
  EXPECT_TRUE(back.tensors[0].second.equal(torch::arange(5)));
  EXPECT_EQ(back.info.at("data"), "\"checksum\":\"x");
  EXPECT_EQ(back.info.at("version"), "1");
}

TEST(CheckpointFile, EveryFlippedBitAndEveryCutIsNoticed) {
  TemporaryFolder folder;
  const auto file = folder.path() / "a.safetensors";
  save_checkpoint(file, {{{"x", torch::arange(4, torch::kByte)}}, {{"encoder", "e"}}});
  const auto bytes = read_file(file, "test");
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      auto damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      write_bytes(file, {damaged.data(), damaged.size()});
      EXPECT_THROW(load_checkpoint(file), FileError) << "bit " << bit << " of byte " << i;
    }
    write_bytes(file, {bytes.data(), i});
    EXPECT_THROW(load_checkpoint(file), FileError) << "cut at " << i;
  }
  EXPECT_THAT(error_of([&] { load_checkpoint(folder.path() / "none"); }), HasSubstr("does not exist"));
  save_safetensors(file, {{"x", torch::arange(4)}});
  EXPECT_THAT(error_of([&] { load_checkpoint(file); }), HasSubstr("no checkpoint"));
}

TEST(CheckpointFile, AnotherVersionIsRefused) { // by hand, with the checksum that it has then
  TemporaryFolder folder;
  const auto file = folder.path() / "a.safetensors";
  save_checkpoint(file, {{{"x", torch::arange(4)}}, {}});
  const auto read = read_file(file, "test");
  std::string bytes(read.begin(), read.end());
  const std::string version = R"("version":"1")", sum = R"("checksum":")";
  bytes[bytes.find(version) + version.size() - 2] = '2';
  const auto digits = bytes.find(sum) + sum.size();
  bytes.replace(digits, 8, "00000000");
  bytes.replace(digits, 8, fmt::format("{:08x}", testing::crc32(bytes)));
  write_bytes(file, bytes);
  EXPECT_THAT(error_of([&] { load_checkpoint(file); }), HasSubstr("is of version 2, this library reads version 1"));
}

// ---- going on ----

// A run with all that has a state: dropout, accumulation, averages, schedules, logs.
struct SavedRun {
  TemporaryFolder folder;
  fs::path log = folder.path() / "log.jsonl", csv = folder.path() / "history.csv", saved = folder.path() / "saved";

  std::unique_ptr<Learner> make(const CheckpointOptions& options, const LearnerOptions& of_learner = quiet()) const {
    torch::manual_seed(0);
    auto model = create_barlow_twins_model(
        Encoder(std::make_shared<Dropping>()), {.hidden_size = 8, .projection_size = 4, .nlayers = 2});
    torch::manual_seed(7);
    auto learn = std::make_unique<Learner>(small_data(20, 8), model, of_learner);
    learn->add(BarlowTwins(small_pipelines()));
    learn->add(GradientAccumulation(8));
    learn->add(Ema({.decay = 0.9, .validate = true}));
    learn->add(JsonLog(log));
    learn->add(CsvLog(csv));
    learn->add(EarlyStop({.patience = 50}));
    learn->add(Checkpoints(options));
    return learn;
  }

  CheckpointOptions options(Resume resume = Resume::Auto) const {
    return {.folder = saved, .resume = resume, .every_steps = 1, .keep = 100};
  }

  struct Dropping : LinearEncoder {
    Tensor forward(const Tensor& x) override {
      return at::dropout(LinearEncoder::forward(x), 0.3, is_training());
    }
  };
};

constexpr int64_t kEpochs = 3;

void fit(Learner& learn) {
  learn.fit_one_cycle(kEpochs, 0.05);
}

// The log without what a clock says.
std::vector<nlohmann::json> lines_of(const fs::path& log) {
  std::ifstream in(log);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(nlohmann::json::parse(line));
    lines.back().erase("seconds");
    lines.back().erase("data_wait");
  }
  return lines;
}

struct Trace {
  NamedTensors tensors;
  std::vector<nlohmann::json> log;
};

Trace trace_of(Learner& learn, const SavedRun& run) {
  Trace trace;
  for (const auto& [name, tensor] : learn.state().tensors) {
    if (name != "position" && name != "callback.Recorder.epochs" && name.find(".bytes") == std::string::npos) {
      trace.tensors.emplace_back(name, tensor.detach().clone());
    }
  }
  trace.log = lines_of(run.log);
  return trace;
}

void expect_same(const Trace& a, const Trace& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_TRUE(a.tensors[i].second.equal(b.tensors[i].second)) << a.tensors[i].first;
  }
  EXPECT_EQ(a.log, b.log);
}

Trace undisturbed() {
  const SavedRun run;
  const auto learn = run.make(run.options());
  fit(*learn);
  return trace_of(*learn, run);
}

TEST(Resuming, FromEveryStepEndsAsTheUndisturbedRun) {
  const auto expected = undisturbed();
  const SavedRun first;
  {
    const auto learn = first.make(first.options());
    fit(*learn);
  }
  std::vector<fs::path> checkpoints;
  for (const auto& entry : fs::directory_iterator(first.saved)) {
    checkpoints.push_back(entry.path());
  }
  ASSERT_EQ(checkpoints.size(), 16U); // 15 steps; the last of an epoch is saved again after it; and the best one
  for (const auto& checkpoint : checkpoints) {
    const SavedRun run;
    fs::create_directories(run.saved);
    fs::copy_file(checkpoint, run.saved / "step-000000000.safetensors");
    fs::copy_file(first.log, run.log); // which has lines of steps after the checkpoint
    fs::copy_file(first.csv, run.csv);
    const auto learn = run.make(run.options());
    ::testing::internal::CaptureStderr();
    fit(*learn);
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::StartsWith("Checkpoints: going on from"));
    expect_same(trace_of(*learn, run), expected);
    EXPECT_EQ(learn->recorder.values.size(), static_cast<size_t>(kEpochs)) << checkpoint;
  }
}

TEST(Resuming, ACompleteRunIsOver) {
  const SavedRun run;
  for (int i = 0; i < 2; ++i) {
    const auto learn = run.make(run.options());
    fit(*learn);
    EXPECT_EQ(learn->train_iter, 15);
    EXPECT_EQ(lines_of(run.log).size(), 18U);
  }
}

TEST(Resuming, AnotherRunIsRefusedBeforeAnyWork) {
  const SavedRun run;
  {
    const auto learn = run.make(run.options());
    fit(*learn);
  }
  EXPECT_THAT(error_of([&] { run.make(run.options(Resume::Never)); }), HasSubstr("of an earlier run"));
  const auto before = fs::file_size(run.log);
  const auto refused = [&](const std::function<void(Learner&)>& fit_otherwise) {
    const auto learn = run.make(run.options());
    const auto p = learn->model->parameters()[0].detach().clone();
    const auto message = error_of([&] { fit_otherwise(*learn); });
    EXPECT_TRUE(learn->model->parameters()[0].equal(p));
    EXPECT_EQ(fs::file_size(run.log), before);
    return message;
  };
  EXPECT_THAT(refused([](Learner& l) { l.fit_one_cycle(9, 0.05); }), HasSubstr("fit is 'scheduled fit"));
  EXPECT_THAT(refused([](Learner& l) { l.fit(kEpochs); }), HasSubstr("fit is"));
  EXPECT_THAT(
      refused([](Learner& l) {
        l.dls = small_data(24, 8);
        fit(l);
      }),
      HasSubstr("its data is '20 samples in 5 shuffled batches of 4"));
  EXPECT_THAT(
      refused([](Learner& l) {
        l.options.recipe = "mine v1 12345678";
        fit(l);
      }),
      HasSubstr("recipe"));
  EXPECT_THAT(
      refused([](Learner& l) {
        l.options.precision = Precision::BFloat16;
        fit(l);
      }),
      HasSubstr("its precision is"));
  EXPECT_THAT(
      refused([](Learner& l) {
        l.opt = make_sgd(*l.model);
        fit(l);
      }),
      HasSubstr("its optimizer is 'Adam', this one's 'SGD'"));

  Learner other(small_data(20, 8), create_barlow_twins_model(create_encoder("xresnet18", {.n_in = 1})), quiet());
  EXPECT_THAT(
      error_of([&] { other.load(run.saved / "best.safetensors"); }), HasSubstr("its encoder is 'linear, n_in 1"));
  Learner wider(small_data(20, 8), create_barlow_twins_model(Encoder(std::make_shared<LinearEncoder>())), quiet());
  EXPECT_THAT(error_of([&] { wider.load(run.saved / "best.safetensors"); }), HasSubstr("mis-shaped"));
}

// Of a file that is whole and made by somebody.
TEST(Resuming, NumbersThatNoRunReachesAreRefused) {
  const SavedRun run;
  {
    const auto learn = run.make(run.options());
    fit(*learn);
  }
  const auto good = load_checkpoint(run.saved / "best.safetensors");
  const auto resumed = [&](const std::string& name, const std::function<Tensor(const Tensor&)>& change) {
    auto checkpoint = good;
    for (auto& [key, tensor] : checkpoint.tensors) {
      tensor = key == name ? change(tensor) : tensor;
    }
    save_checkpoint(run.folder.path() / "other.safetensors", checkpoint);
    const auto learn = run.make({.folder = run.folder.path() / "new"});
    learn->resume(run.folder.path() / "other.safetensors");
    return error_of([&] { fit(*learn); });
  };
  const auto with = [](int64_t at, int64_t value) {
    return [=](const Tensor& x) { return x.index_put({torch::tensor({at})}, torch::tensor({value}, x.options())); };
  };
  EXPECT_THAT(resumed("position", with(1, 99)), HasSubstr("impossible position: 1, 99, "));
  EXPECT_THAT(resumed("position", with(2, -1)), HasSubstr("impossible position"));
  EXPECT_THAT(resumed("position", with(4, std::numeric_limits<int64_t>::max())), HasSubstr("impossible position"));
  EXPECT_THAT(resumed("position", [](const Tensor& x) { return x.to(torch::kDouble); }), HasSubstr("no position"));
  const auto beyond = [](const Tensor& x) { // 624 numbers left from the 624th on
    const auto y = x.clone();
    for (const int64_t at : {8, 16}) {
      y[at] = 624 % 256;
      y[at + 1] = 624 / 256;
    }
    return y;
  };
  EXPECT_THAT(resumed("random.cpu", beyond), HasSubstr("no state of the CPU's generator"));
  EXPECT_THAT(
      resumed("callback.Recorder.epochs", [](const Tensor& x) { return x.mul(1e300); }),
      HasSubstr("where a count must be"));
  EXPECT_THAT(
      resumed("callback.GradientAccumulation.count", with(0, std::numeric_limits<int64_t>::max())),
      HasSubstr("where a count must be"));
}

// Two averages of one name, a step of each fit that is skipped, and an end within the second fit.
TEST(Resuming, ASecondFitGoesOnAsTheUndisturbedOne) {
  struct Disturb : Callback {
    bool ends = false;
    std::string name() const override {
      return "Disturb";
    }
    int order() const override {
      return 20; // after BarlowTwins
    }
    void before_batch(Learner& l) override {
      if (l.training && l.train_iter == 2) {
        l.inputs[0] = l.inputs[0] * std::numeric_limits<float>::infinity();
      }
      if (ends && l.training && l.train_iter == 7 && l.total_epochs >= kEpochs) {
        throw std::runtime_error("the end");
      }
    }
  };
  const auto make = [](const SavedRun& run, bool ends) {
    auto options = quiet();
    options.non_finite = NonFinite::Skip;
    auto learn = run.make(run.options(), options);
    learn->add(Ema({.decay = 0.5}));
    Disturb disturb;
    disturb.ends = ends;
    learn->add(disturb);
    return learn;
  };
  const SavedRun whole, run;
  const auto expected = make(whole, false);
  fit(*expected);
  fit(*expected);
  {
    const auto learn = make(run, true);
    fit(*learn);
    EXPECT_THAT(error_of([&] { fit(*learn); }), HasSubstr("the end"));
  }
  const auto learn = make(run, false);
  fit(*learn);
  expect_same(trace_of(*learn, run), trace_of(*expected, whole));
  EXPECT_EQ(expected->skipped, 2);
  EXPECT_EQ(learn->skipped, 2);
  EXPECT_TRUE(fs::exists(run.saved / "step-000000030.safetensors"));
}

TEST(Resuming, ADamagedCheckpointGivesWayToTheOneBefore) {
  const auto expected = undisturbed();
  const SavedRun run;
  {
    const auto learn = run.make(run.options());
    fit(*learn);
  }
  for (const int step : {14, 15}) {
    fs::resize_file(run.saved / fmt::format("step-{:09}.safetensors", step), 1000);
  }
  const auto learn = run.make(run.options());
  ::testing::internal::CaptureStderr();
  fit(*learn);
  const auto told = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(told, HasSubstr("step-000000015.safetensors' is"));
  EXPECT_THAT(told, HasSubstr("going on from"));
  EXPECT_THAT(told, HasSubstr("step-000000013"));
  expect_same(trace_of(*learn, run), expected);
}

TEST(Loading, TakesModelAndOptimiserIntoANewFit) {
  const SavedRun run;
  const auto first = run.make(run.options());
  fit(*first);
  auto options = run.options();
  options.folder = run.folder.path() / "other";
  const auto second = run.make(options);
  second->load(run.saved / "best.safetensors");
  EXPECT_EQ(second->train_iter, 0);
  fit(*second);
  EXPECT_EQ(second->train_iter, 15);
}

TEST(Loading, TakesFloat16sScale) {
  auto options = quiet();
  options.precision = Precision::Float16;
  Learner first(small_data(), small_model(), options), second(small_data(), small_model(), options);
  const auto scale_in = [](Checkpoint& all) -> Tensor& {
    return std::find_if(all.tensors.begin(), all.tensors.end(), [](const auto& t) { return t.first == "scaler.scale"; })
        ->second;
  };
  auto saved = first.state();
  auto& scale = scale_in(saved);
  scale = torch::full_like(scale, 1024);
  second.load(saved);
  auto now = second.state();
  EXPECT_EQ(scale_in(now).item<double>(), 1024);
}

// ---- keeping ----

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(CheckpointsCallback, KeepsTheNewestAndTheBest) {
  const SavedRun run;
  const auto learn = run.make({.folder = run.saved, .every_steps = 2, .keep = 2});
  fit(*learn);
  EXPECT_THAT(
      names_in(run.saved),
      ::testing::ElementsAre("best.safetensors", "step-000000014.safetensors", "step-000000015.safetensors"));
}

TEST(CheckpointsCallback, TheBestIsThatOfTheLeastLoss) { // by hand: of three epochs of five steps the second
  const SavedRun run;
  const auto learn = run.make({.folder = run.saved});
  struct Tell : Callback {
    std::string name() const override {
      return "Tell";
    }
    int order() const override {
      return 60; // after Recorder
    }
    void after_epoch(Learner& l) override {
      l.recorder.values.back().valid_loss = std::array{3., 1., 2.}.at(static_cast<size_t>(l.epoch));
    }
  };
  learn->add(Tell());
  fit(*learn);
  const auto best = load_checkpoint(run.saved / "best.safetensors").tensors;
  const auto position = std::find_if(best.begin(), best.end(), [](const auto& t) { return t.first == "position"; });
  ASSERT_NE(position, best.end());
  EXPECT_EQ(position->second[3].item<int64_t>(), 10); // steps
}

TEST(CheckpointsCallback, ASecondFitOverwritesNothingOfTheFirst) {
  const SavedRun run;
  const auto learn = run.make({.folder = run.saved, .every_epochs = 0, .keep = 9, .keep_best = false});
  fit(*learn);
  fit(*learn);
  EXPECT_THAT(names_in(run.saved), ::testing::ElementsAre("step-000000015.safetensors", "step-000000030.safetensors"));
}

TEST(CheckpointsCallback, AFullDiskLosesNothingAndTheRunGoesOn) {
  const SavedRun run;
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto learn =
      run.make({.folder = run.saved, .every_epochs = 0, .every_steps = 5, .keep = 9, .keep_best = false});
  struct Fill : Callback {
    std::string name() const override {
      return "Fill";
    }
    void before_batch(Learner& l) override {
      if (l.train_iter == 7) {
        const rlimit small{.rlim_cur = 3000, .rlim_max = RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &small);
      }
    }
  };
  learn->add(Fill());
  ::testing::internal::CaptureStderr();
  fit(*learn);
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("cannot be written: File too large"));
  EXPECT_EQ(learn->get<Checkpoints>().failures(), 3); // steps 10 and 15, and the end
  EXPECT_THAT(names_in(run.saved), ::testing::ElementsAre("step-000000005.safetensors"));
  load_checkpoint(run.saved / "step-000000005.safetensors");
}

TEST(CheckpointsCallback, ASignalSavesAndEndsTheFit) {
  const auto expected = undisturbed();
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    const SavedRun run;
    struct Raise : Callback {
      int signal = 0;
      std::string name() const override {
        return "Raise";
      }
      void before_batch(Learner& l) override {
        if (l.train_iter == 6) {
          std::raise(signal);
        }
      }
    } raise;
    raise.signal = signal;
    {
      const auto learn = run.make({.folder = run.saved});
      learn->add(raise);
      try {
        fit(*learn);
        ADD_FAILURE() << "not interrupted by " << signal;
      } catch (const Interrupted& e) {
        EXPECT_EQ(e.signal, signal);
        EXPECT_THAT(e.what(), HasSubstr("after step 7; it goes on from there"));
      }
    }
    const auto learn = run.make(run.options());
    fit(*learn);
    expect_same(trace_of(*learn, run), expected);
  }
}

TEST(CheckpointsCallback, ATimeLimitSavesTheState) {
  const SavedRun run;
  const auto learn = run.make({.folder = run.saved});
  learn->add(TimeLimit(1e-9));
  fit(*learn);
  EXPECT_THAT(names_in(run.saved), ::testing::ElementsAre("step-000000001.safetensors"));
}

TEST(CheckpointsCallback, BadOptionsAreNamed) {
  EXPECT_THAT(error_of([] { Checkpoints({.folder = ""}); }), HasSubstr("folder"));
  EXPECT_THAT(error_of([] { Checkpoints({.folder = "x", .keep = 0}); }), HasSubstr("keep"));
  EXPECT_THAT(error_of([] { Checkpoints({.folder = "x", .every_steps = -1}); }), HasSubstr("every_steps"));
}

} // namespace
} // namespace barlow
