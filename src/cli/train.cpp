// SPDX-License-Identifier: Apache-2.0
#include "train.h"

#include <algorithm>

#include <torch/torch.h>

#include <barlow/callbacks/csv_log.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/callbacks/json_log.h>
#include <barlow/callbacks/online_knn.h>
#include <barlow/callbacks/report.h>
#include <barlow/callbacks/short_epoch.h>
#include <barlow/callbacks/tensor_board.h>
#include <barlow/callbacks/time_limit.h>

#include "encoder_use.h"

namespace barlow::cli {
namespace {

// The same weights each time.
BarlowTwinsModel make_model(const Run& run) {
  torch::manual_seed(run.data.seed);
  const auto& r = run.recipe;
  EncoderOptions options{.n_in = r.n_in, .pretrained = !run.weights.empty(), .weights = run.weights, .stem = r.stem};
  options.pool_type = r.pool_type;
  return create_barlow_twins_model(create_encoder(r.encoder, options), r.projector);
}

} // namespace

std::unique_ptr<Learner> make_learner(const Run& run, const ProcessGroup& group) {
  const auto& recipe = run.recipe;
  if (run.threads > 0) {
    at::set_num_threads(static_cast<int>(run.threads));
  }
  auto options = learner_options(recipe);
  options.device = group.size() > 1 ? group.device() : device_of(run.device);
  if (options.device->is_cpu()) {
    options.precision = Precision::Float32;
  }
  options.progress = run.progress;
  options.micro_batch = run.micro_batch;
  options.non_finite = run.skip_non_finite ? NonFinite::Skip : NonFinite::Error;
  options.process_group = group;
  auto learn = std::make_unique<Learner>(open(run.data, recipe.batch_size), make_model(run), options);
  learn->add(barlow_twins(recipe));
  if (run.clip > 0) {
    learn->add(GradientClip(run.clip));
  }
  if (run.accumulate > 1) {
    learn->add(GradientAccumulation(run.accumulate));
  }
  if (run.fraction < 1) {
    learn->add(ShortEpochCallback(run.fraction));
  }
  if (run.max_minutes > 0) {
    constexpr double kMinute = 60;
    learn->add(TimeLimit(run.max_minutes * kMinute));
  }
  return learn;
}

void add_records(Learner& learn, const Run& run, const std::optional<EvaluationData>& data) {
  learn.add(JsonLog(run.out / "log.jsonl"));
  learn.add(CsvLog(run.out / "log.csv"));
  if (run.tensorboard) {
    TensorBoardOptions options{.folder = run.out / "tensorboard", .transform = normalization(stats(run.recipe))};
    if (data) {
      options.embed = data->queries;
    }
    learn.add(TensorBoard(std::move(options)));
  }
  add_neighbours(learn, run, data);
  if (run.report) {
    add_report(learn, run, data, run.out / "report.html");
  }
}

void add_neighbours(Learner& learn, const Run& run, const std::optional<EvaluationData>& data) {
  if (data && data->labelled && run.knn_epochs > 0) {
    learn.add(OnlineKnn(
        data->bank,
        data->queries,
        {.every_epochs = run.knn_epochs,
         .k = std::min<int64_t>(20, data->bank.samples()),
         .transform = normalization(stats(run.recipe))}));
  }
}

void add_report(
    Learner& learn,
    const Run& run,
    const std::optional<EvaluationData>& data,
    const std::filesystem::path& file) {
  ReportOptions options{
      .file = file,
      .title = "Barlow Twins: " + run.data.path,
      .untrained = [run] { return make_model(run); },
      .transform = normalization(stats(run.recipe))};
  if (data) {
    options.bank = data->bank;
    options.queries = data->queries;
  }
  learn.add(Report(std::move(options)));
}

std::vector<std::filesystem::path> checkpoints_of(const std::filesystem::path& run) {
  std::vector<std::filesystem::path> files;
  const auto folder = run / "checkpoints";
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().filename().string().starts_with("step-")) {
        files.push_back(entry.path());
      }
    }
  }
  std::sort(files.begin(), files.end()); // steps are written with leading zeros
  return files;
}

std::optional<EvaluationData> evaluation_data(const Run& run) {
  if (format_of(run.data) == "tar") {
    return std::nullopt; // its samples have no numbers
  }
  auto dls = open(run.data, run.recipe.batch_size, run.recipe.size);
  if (!dls.valid) {
    return std::nullopt;
  }
  EvaluationData data{dls.train.in_order(), *dls.valid, dls.train.largest_label() > 0};
  constexpr int64_t kMost = 20'000; // in the bank: a map and a vote need no more
  if (data.labelled && data.bank.samples() > kMost) {
    data.bank = data.bank.labelled_share(static_cast<double>(kMost) / static_cast<double>(data.bank.samples()));
  }
  return data;
}

} // namespace barlow::cli
