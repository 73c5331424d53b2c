// SPDX-License-Identifier: Apache-2.0
// Optimisers, schedules, the Learner and its callbacks, called as they must not be; and what only looks so.
#include <barlow/barlow.h>

#include <gtest/gtest.h>

#include "support/misuse.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;
namespace nn = torch::nn;

TEST(Misuse, Optimizers) {
  constexpr auto name = "Optimizer", load = "Optimizer::load_state", adam = "Adam", lars = "Lars";
  const auto p = torch::ones({2}).requires_grad_();
  const std::vector<double> rates{-1, kNaN, kInfinity}, shares{-0.1, 1, kNaN};
  refuses(name, [] { Sgd(std::vector<ParamGroup>()); });
  refuses(name, [] { Sgd(std::vector<ParamGroup>(1)); });
  refuses(name, [&] { Sgd({{.params = {p}}, {.params = {}}}); });
  refuses(name, [&] { Sgd({{.params = {p, p}}}); });
  refuses(
      name, other_kinds(p.detach()) + BadTensors{{"computed", p * 2}}, [](const Tensor& x) { Sgd({{.params = {x}}}); });
  refuses(name, rates, [&](double lr) { Sgd({{.params = {p}, .lr = lr}}); });
  refuses(name, rates, [&](double decay) { Sgd({{.params = {p}, .weight_decay = decay}}); });
  refuses(name, rates, [&](double mult) { Sgd({{.params = {p}, .lr_mult = mult}}); });
  refuses(name, rates, [&](double lr) { Sgd({{.params = {p}}}).set_lr(lr); });
  refuses(name, shares, [&](double m) { Sgd({{.params = {p}}}).set_momentum(m); });
  refuses(name, shares, [&](double m) { Sgd({{.params = {p}}}, {.momentum = m}); });
  refuses(name, shares, [&](double m) { Adam({{.params = {p}}}, {.mom = m}); });
  refuses("Sgd", [&] { Sgd({{.params = {p}}}, {.nesterov = true}); }); // without momentum
  refuses(adam, shares, [&](double m) { Adam({{.params = {p}}}, {.sqr_mom = m}); });
  refuses(adam, {-1, kNaN}, [&](double eps) { Adam({{.params = {p}}}, {.eps = eps}); });
  refuses("Lamb", {-1, kNaN}, [&](double eps) { Lamb({{.params = {p}}}, {.eps = eps}); });
  refuses(lars, {0, kNaN}, [&](double eta) { Lars({{.params = {p}}}, {.eta = eta}); });
  refuses(lars, {-1, kNaN}, [&](double eps) { Lars({{.params = {p}}}, {.eps = eps}); });
  const nn::Linear linear(2, 2);
  refuses(name, [] { make_adam(*nn::ReLU()); });
  refuses(name, rates, [&](double decay) { make_adam(*linear, {.wd = decay}); });
  refuses(name, rates, [&](double lr) { make_lamb(*linear, {.lr = lr}); });
  refuses(name, rates, [&](double lr) { make_sgd(*linear, {.lr = lr}); });
  refuses(name, rates, [&](double lr) { make_lars(*linear, {.bias_lr = lr}); });
  refuses(lars, [&] { make_lars(*linear, {.lr = 0}); });
  refuses(name, rates, [&](double mult) { Sgd(param_groups(*linear, 0.1, 0, Spared::NormsAndBiases, mult)); });

  const auto average = torch::ones({2});
  const auto load_state = [&](const NamedTensors& state) { Adam({{.params = {p}}}).load_state(state); };
  refuses(load, [&] { load_state({{"0.0.momentum", average}}); });
  refuses(load, other_kinds(average) + BadTensors{{"longer", torch::ones({3})}}, [&](const Tensor& x) {
    load_state({{"0.0.average", x}});
  });
  const auto none = torch::zeros({});
  const BadTensors flags{
      {"of int64", none.to(torch::kLong)},
      {"of float64", none.to(torch::kDouble)},
      {"of two numbers", torch::zeros({2})},
      {"without data", none.to(torch::kMeta)}};
  refuses(name, flags, [](const Tensor& found_inf) {
    auto x = torch::ones({2}).requires_grad_();
    x.mutable_grad() = torch::ones({2});
    Sgd({{.params = {x}}}).step(found_inf);
  });
}

TEST(Misuse, Schedules) {
  constexpr auto cycle = "one_cycle", momentum = "one_cycle_momentum", warmup = "warmup_cosine", group = "ProcessGroup";
  const std::vector<double> rates{0, -1, kNaN, kInfinity};
  refuses(cycle, rates, [](double lr) { one_cycle(lr); });
  refuses("flat_cosine", rates, [](double lr) { flat_cosine(lr); });
  refuses(warmup, rates, [](double lr) { warmup_cosine(lr, {}); });
  refuses("step_decay", rates, [](double lr) { step_decay(lr, {0.5}); });
  refuses("linear_lr", rates, [](double lr) { linear_lr(lr, 256); });
  refuses("constant", {-1, kNaN}, [](double value) { constant(value); });
  refuses(cycle, rates, [](double div) { one_cycle(1, {.div = div}); });
  refuses(cycle, rates, [](double div) { one_cycle(1, {.div_final = div}); });
  refuses(cycle, {2, kNaN}, [](double pct) { one_cycle(1, {.pct_start = pct}); });
  refuses(momentum, [] { one_cycle_momentum(0.8, 0.9); });
  refuses(momentum, [] { one_cycle_momentum(1, 0.9); });
  refuses(momentum, [] { one_cycle_momentum(0.9, kNaN); });
  refuses("flat_cosine", {2, kNaN}, [](double pct) { flat_cosine(1, {.pct_start = pct}); });
  refuses(warmup, [] { warmup_cosine(1, {.warmup_steps = -1}); });
  refuses(warmup, {-1, kNaN}, [](double start) { warmup_cosine(1, {.warmup_start = start}); });
  refuses(warmup, {-1, kNaN}, [](double end) { warmup_cosine(1, {.end = end}); });
  refuses(warmup, [] { warmup_cosine(1, {.warmup_start = 1, .ramp = Ramp::Lightly}); });
  refuses("step_decay", {-1, kNaN}, [](double milestone) { step_decay(1, {milestone}); });
  refuses("step_decay", {0, kNaN}, [](double gamma) { step_decay(1, {0.5}, gamma); });
  refuses("by_epoch", [] { by_epoch(nullptr, 1); });
  refuses("by_epoch", [] { by_epoch(constant(1), 0); });
  refuses("authors_lr", [] { authors_lr(1); });
  refuses("linear_lr", [] { linear_lr(1, 0); });
  refuses("linear_lr", [] { linear_lr(1, 256, 0); });
  refuses("suggest_rates", [] { suggest_rates({1, 2}, {1, 2}); });
  refuses("suggest_rates", [] { suggest_rates({1, 2, 3}, {1, 2, 3, 4}); });
  refuses(group, [] { ProcessGroup({.rank = 1, .size = 1}); });
  refuses(group, [] { ProcessGroup({.size = 0}); });
  refuses(group, {0, kNaN}, [](double seconds) { ProcessGroup({.timeout = seconds}); });
}

using UseLearner = std::function<void(Learner&)>;

// With three batches that small_model takes as they are.
void with_learner(const UseLearner& use, const LearnerOptions& options = quiet()) {
  const auto loader = tensor_loader(torch::rand({12, 1, 4, 4}), {.batch_size = 4, .num_workers = 0});
  Learner learn(DataLoaders(loader), small_model(), options);
  use(learn);
}

void with_twins(const UseLearner& use) {
  with_learner([&](Learner& learn) {
    learn.add(BarlowTwins(small_pipelines()));
    use(learn);
  });
}

TEST(Misuse, LearnersOfWrongOptions) {
  constexpr auto name = "Learner", fit_name = "Learner::fit", find = "Learner::lr_find", fine = "fine_tune";
  const auto with = [](LearnerOptions options) {
    options.device = options.device.value_or(torch::kCPU);
    options.progress = false;
    with_learner([](Learner&) {}, options);
  };
  refuses(name, [] { Learner(small_data(), BarlowTwinsModel(nullptr), quiet()); });
  refuses(name, [&] { with({.micro_batch = -1}); });
  refuses(name, [&] { with({.read_lag = -2}); });
  refuses(name, [&] { with({.cuda_graph = true}); });
  refuses(name, [&] { with({.device = torch::kMeta}); });
  if (!torch::cuda::is_available()) {
    refuses(name, [&] { with({.device = torch::kCUDA}); });
  }
  refuses(name, [] {
    const auto loader = tensor_loader(torch::rand({4, 3, 6, 6}), {.batch_size = 2, .num_workers = 0});
    Learner learn(DataLoaders(loader), small_model(), quiet());
    learn.add(BarlowTwins(small_pipelines()));
    learn.fit(1);
  });
  refuses(fit_name, [] { Learner(small_data(4, 4, 1), small_model(), quiet()).fit(1); });
  refuses(fit_name, [] { with_learner([](Learner& l) { l.fit(1); }); }); // without a loss

  const auto twins = [](const std::string& error, const UseLearner& use, const Here& here = Here::current()) {
    refuses(error, [&] { with_twins(use); }, here);
  };
  twins(fit_name, [](Learner& l) { l.fit(0); });
  for (const double lr : {-1., kNaN, kInfinity}) {
    twins(fit_name, [=](Learner& l) { l.fit(1, lr); });
  }
  twins(fit_name, [](Learner& l) { l.fit(1, Schedule()); });
  twins(fit_name, [](Learner& l) { l.fit(1, [](auto, auto) { return kNaN; }); });
  twins("ParamScheduler::before_batch", [](Learner& l) {
    l.fit(1, [](int64_t step, int64_t) { return step == 1 ? -1. : 0.1; });
  });
  twins("ParamScheduler::before_batch", [](Learner& l) { l.fit(1, constant(0.1), [](auto, auto) { return 2.; }); });
  twins("one_cycle", [](Learner& l) { l.fit_one_cycle(1, kNaN); });
  twins("flat_cosine", [](Learner& l) { l.fit_flat_cos(1, 0.1, {.pct_start = 2}); });
  twins(fit_name, [](Learner& l) {
    l.options.opt_func = [](const nn::Module&) { return nullptr; };
    l.fit(1);
  });
  twins(find, [](Learner& l) { l.lr_find({.start_lr = 1, .end_lr = 0.1}); });
  twins(find, [](Learner& l) { l.lr_find({.start_lr = kNaN}); });
  twins(find, [](Learner& l) { l.lr_find({.num_it = 9}); });
  twins("load_checkpoint", [](Learner& l) { l.load(paths().missing); });
  twins("load_checkpoint", [](Learner& l) { l.resume(paths().missing); });
  twins("Learner::load", [](Learner& l) { l.load(Checkpoint{.tensors = {}, .info = {}}); });
  twins("save_checkpoint", [](Learner& l) { l.save(paths().below_a_file); });

  const auto tune = [](int64_t epochs, const FineTuneOptions& options) {
    auto made = fine_tune_options();
    made.device = torch::kCPU;
    made.progress = false;
    with_learner([&](Learner& l) { fine_tune(l, epochs, options); }, made);
  };
  refuses(fine, [&] { tune(0, {}); });
  refuses(fine, [&] { tune(1, {.freeze_epochs = -1}); });
  refuses(fine, {0, kNaN}, [&](double mult) { tune(1, {.lr_mult = mult}); });
  refuses("one_cycle", [&] { tune(1, {.freeze_epochs = 0, .lr = kNaN}); });
  refuses("one_cycle", [&] { tune(1, {.freeze_epochs = 0, .div = 0}); });
  refuses(fine, [] { with_learner([](Learner& l) { fine_tune(l, 1); }); }); // without fine_tune_options
}

TEST(Misuse, LearnersOfWrongBatches) {
  constexpr auto name = "Learner";
  const std::vector<std::function<Tensor(const Tensor&)>> losses{
      [](const Tensor&) { return Tensor(); },
      [](const Tensor& pred) { return pred.sum(1); },
      [](const Tensor&) { return torch::zeros({}, torch::kLong); },
      [](const Tensor& pred) { return pred.detach().sum(); },
      [](const Tensor& pred) { return pred.sum().to(torch::kMeta); }};
  for (const auto& loss : losses) {
    refuses(name, [&] {
      with_learner([&](Learner& learn) {
        learn.loss_func = [&](const Tensor& pred, const Batch&) { return loss(pred); };
        learn.fit(1);
      });
    });
  }
  const auto value = torch::ones({});
  const BadTensors values{{"undefined", {}}, {"of two numbers", torch::ones({2})}, {"empty", value.to(torch::kMeta)}};
  with_learner([&](Learner& learn) {
    refuses("Learner::log", values, [&](const Tensor& x) { learn.log("value", x); });
    refuses("Learner::get", [&] { learn.get<TimeLimit>(); });
    refuses(name, [&] { learn.one_batch(Batch()); });
    refuses(name, [&] { learn.one_batch(*learn.dls.train.epoch(0).next()); }); // without a loss
  });
}

TEST(LooksLikeMisuse, Steps) {
  with_learner([](Learner& learn) { // before any fit
    learn.loss_func = [](const Tensor& pred, const Batch&) { return pred.square().sum(); };
    learn.training = true;
    learn.one_batch(*learn.dls.train.epoch(0).next());
    EXPECT_GT(learn.loss.item<double>(), 0);
  });
  const auto p = torch::ones({2}).requires_grad_();
  Adam({{.params = {p}}}).step(); // without gradients
  EXPECT_TRUE(p.equal(torch::ones({2})));
}

// A fit with a callback, of samples with labels 0, 1 and 2 or without.
template <class C>
void fit_with(C callback, bool labelled = false) {
  const auto set = tensor_dataset(torch::rand({6, 1, 4, 4}), labelled ? torch::arange(6) % 3 : Tensor());
  Learner learn(
      DataLoaders(DataLoader(set, {.batch_size = 3, .num_workers = 0})),
      create_linear_model(linear_encoder(), 2),
      quiet());
  learn.loss_func = [](const Tensor& pred, const Batch&) { return pred.sum(); };
  learn.add(std::move(callback));
  learn.fit(1);
}

TEST(Misuse, BarlowTwins) {
  constexpr auto name = "BarlowTwins", show = "BarlowTwins::show";
  const auto pipelines = small_pipelines();
  const Pipeline other({}, 1); // of validation
  const auto with = [&](const BarlowTwinsOptions& options) { BarlowTwins(pipelines, options); };
  refuses(name, [] { BarlowTwins({}); });
  refuses(name, [&] { BarlowTwins({pipelines[0]}); });
  refuses(name, [&] { BarlowTwins({pipelines[0], other}); });
  refuses(name, [&] { with({.small_views = {other}}); });
  refuses(name, {-1, kNaN, kInfinity}, [&](double lmb) { with({.lmb = lmb}); });
  refuses(name, {-1, kNaN, kInfinity}, [&](double eps) { with({.eps = eps}); });
  refuses(name, {0, kNaN}, [&](double scale) { with({.loss_scale = scale}); });
  refuses(name, [&] { with({.reference_world_size = 0}); });
  refuses(show, [&] { BarlowTwins(pipelines).show(1, ""); }); // without a Learner
  with_learner([&](Learner& learn) {
    const auto& twins = learn.add(BarlowTwins(pipelines));
    refuses(show, [&] { twins.show(0, ""); });
    refuses(show, [&] { twins.show(99, ""); });
  });
}

TEST(Misuse, Callbacks) {
  constexpr auto files = "Checkpoints", classes = "Classification", stop = "EarlyStop", knn = "OnlineKnn",
                 linear = "OnlineLinear", after_pred = "OnlineLinear::after_pred", report = "Report";
  const auto loader = small_data().train;
  const auto online = [&](const OnlineKnnOptions& options) { OnlineKnn(loader, loader, options); };
  const std::vector<double> not_positive{0, -1, kNaN};
  refuses(files, [] { Checkpoints({.folder = ""}); });
  refuses(files, [] { Checkpoints({.folder = "x", .every_epochs = -1}); });
  refuses(files, [] { Checkpoints({.folder = "x", .every_steps = -1}); });
  refuses(files, [] { Checkpoints({.folder = "x", .keep = 0}); });
  refuses(classes, [] { Classification({.label_smoothing = kNaN}); });
  refuses("CsvLog::before_fit", [] { fit_with(CsvLog(paths().folder)); });
  refuses("CsvLog::before_fit", [] { fit_with(CsvLog("")); });
  refuses("JsonLog::before_fit", [] { fit_with(JsonLog(paths().folder)); });
  refuses(stop, [] { EarlyStop({.patience = 0}); });
  refuses(stop, {-1, kNaN}, [](double delta) { EarlyStop({.min_delta = delta}); });
  refuses("Ema", {-0.1, 1, kNaN}, [](double decay) { Ema({.decay = decay}); });
  refuses("Ema::exchange", [] { with_learner([](Learner& learn) { learn.add(Ema()).exchange(learn); }); });
  refuses("GradientClip", not_positive, [](double norm) { GradientClip{norm}; });
  refuses("GradientAccumulation", [] { GradientAccumulation{0}; });
  refuses(knn, [&] { online({.every_epochs = 0}); });
  refuses(knn, [&] { online({.k = 0}); });
  refuses(knn, [&] { online({.k = 99}); });
  refuses(knn, not_positive, [&](double t) { online({.k = 2, .temperature = t}); });
  refuses(linear, [] { OnlineLinear({.classes = 1}); });
  refuses(linear, not_positive, [](double lr) { OnlineLinear({.classes = 2, .lr = lr}); });
  refuses(linear, {-0.1, 1, kNaN}, [](double m) { OnlineLinear({.classes = 2, .momentum = m}); });
  refuses(linear, {-1, kNaN}, [](double decay) { OnlineLinear({.classes = 2, .weight_decay = decay}); });
  for (const bool labelled : {false, true}) { // with a label more than there are classes
    refuses(classes, [=] { fit_with(Classification(), labelled); });
    refuses(after_pred, [=] { fit_with(OnlineLinear({.classes = 2}), labelled); });
  }
  refuses("ParamScheduler", [] { ParamScheduler{nullptr}; });
  refuses(report, [] { Report({.file = "report.pdf"}); });
  refuses(report, [] { Report({.k = 0}); });
  refuses(report, [&] { Report({.bank = loader}); });
  refuses(report, not_positive, [](double t) { Report({.temperature = t}); });
  refuses("RollBack", [] { RollBack({.after = 0}); });
  refuses("RollBack", [] { RollBack({.keep_every = 0}); });
  refuses("RollBack::before_fit", [] { fit_with(RollBack()); }); // losses that are not finite are errors
  refuses("ShortEpochCallback", not_positive, [](double share) { ShortEpochCallback{share}; });
  refuses("TensorBoard", [] { TensorBoard({.views = -1}); });
  refuses("TensorBoard", [] { TensorBoard({.folder = ""}); });
  refuses("TimeLimit", not_positive, [](double seconds) { TimeLimit{seconds}; });
}

// What a checkpoint may hold in a callback's place.
TEST(Misuse, CallbacksOfWrongStates) {
  constexpr auto name = "load_checkpoint";
  const auto loader = small_data().train;
  const auto best = torch::ones({1}, torch::kDouble);
  const BadTensors bad{
      {"undefined", {}},
      {"of float32", best.to(torch::kFloat)},
      {"of no numbers", best.narrow(0, 0, 0)},
      {"without data", best.to(torch::kMeta)}};
  refuses(name, bad, [](const Tensor& x) {
    EarlyStop().load_state({{"best", x}, {"waited", torch::zeros({1}, torch::kLong)}});
  });
  refuses(name, [] { EarlyStop().load_state({}); });
  refuses(name, [] { GradientAccumulation(8).load_state({}); });
  refuses(name, [&] { OnlineKnn(loader, loader, {.k = 2}).load_state({}); });
  refuses(name, [] { OnlineLinear({.classes = 2}).load_state({}); });
  refuses(name, [] { Recorder().load_state({}); });
  refuses(name, [] { TensorBoard({}).load_state({}); });
  refuses(name, [] { Checkpoints({.folder = "x"}).load_state({}); });
  refuses("Ema", [] { Ema().load_state({{"0", torch::ones({1})}}); });
  with_learner([](Learner& learn) {
    auto& ema = learn.add(Ema());
    ema.before_fit(learn);
    const auto count = learn.model->parameters().size();
    for (const auto* of : {"first", "0"}) {
      refuses("Ema", [&] { ema.load_state(NamedTensors(count, {of, torch::ones({7})})); });
    }
  });
}

} // namespace
} // namespace barlow
