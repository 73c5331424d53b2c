// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/report.h>

#include <torch/torch.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/online_knn.h>
#include <barlow/diagnostics.h>
#include <barlow/embed.h>
#include <barlow/image.h>
#include <barlow/knn.h>
#include <barlow/learner.h>
#include <barlow/nn.h>
#include <barlow/picture.h>

#include "../check.h"
#include "../evaluate/shares.h"
#include "../evaluating.h"
#include "../file.h"
#include "html.h"
#include "numbers.h"
#include "shown.h"

namespace barlow {
namespace {

using torch::Tensor;
constexpr auto kHere = "Report";

struct TwoViews {
  Tensor z1, z2; // [N,D]
};

// A model's embeddings of some training samples' views, in evaluation mode.
TwoViews embed_views(Learner& learn, BarlowTwinsModelImpl& model, const BarlowTwins& twins) {
  constexpr int64_t kSamples = 512;
  const torch::NoGradGuard no_grad;
  const Evaluating evaluating(model);
  std::vector<Tensor> z1, z2;
  int64_t n = 0;
  auto stream = twins.with_views(learn.dls.train).epoch(0); // also after BarlowTwins has put the loaders back
  for (auto batch = stream.next(); batch && n < kSamples; batch = stream.next()) {
    if (batch->x.defined()) {
      batch->x = batch->x.to(learn.device);
    }
    for (auto& view : batch->views) {
      view = view.to(learn.device);
    }
    z1.push_back(model.forward(twins.view(0, *batch)));
    z2.push_back(model.forward(twins.view(1, *batch)));
    n += batch->size();
  }
  return {at::cat(z1).to(torch::kFloat), at::cat(z2).to(torch::kFloat)};
}

Tensor correlation(const TwoViews& views) {
  const auto standard = [](const Tensor& z) { return (z - z.mean(0)) / z.std(0, /*unbiased=*/false).clamp_min(1e-12); };
  return standard(views.z1).t().mm(standard(views.z2)) / views.z1.size(0);
}

// The first two principal components [N,2].
Tensor principal_plane(const Tensor& features) {
  const auto centred = features - features.mean(0);
  const auto [u, s, v] = torch::linalg_svd(centred, /*full_matrices=*/false);
  const auto plane = u.narrow(1, 0, std::min<int64_t>(2, u.size(1))) * s.narrow(0, 0, std::min<int64_t>(2, s.size(0)));
  return plane.size(1) == 2 ? plane : at::constant_pad_nd(plane, {0, 2 - plane.size(1)});
}

// Some queries, each with its nearest of the bank on the right.
Tensor neighbour_picture(const Shown& queries, const Shown& bank) {
  constexpr int64_t kQueries = 8, kNeighbours = 7;
  const auto rows = spread(queries.features.size(0), kQueries);
  const int64_t k = std::min(kNeighbours, bank.features.size(0));
  const auto at = nearest(queries.features.index_select(0, rows), bank.features, k).second;
  std::vector<Tensor> all;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    all.push_back(queries.tiles[rows[i].item<int64_t>()]);
    for (int64_t j = 0; j < k; ++j) {
      all.push_back(bank.tiles[at[i][j].item<int64_t>()]);
    }
  }
  return image_grid(all, k + 1);
}

// Smoothed, so that a trend shows among thousands of steps.
std::vector<double> smooth(const std::vector<double>& values) {
  Smoothing average;
  std::vector<double> smoothed;
  smoothed.reserve(values.size());
  for (const double v : values) {
    smoothed.push_back(average.add(v));
  }
  return smoothed;
}

Curve validation_losses(const Recorder& recorder) {
  Curve curve{"validation", {}, {}};
  const auto epochs = static_cast<double>(recorder.values.size());
  for (size_t i = 0; i < recorder.values.size(); ++i) {
    if (const auto& loss = recorder.values[i].valid_loss) {
      curve.x.push_back(static_cast<double>(recorder.losses.size()) * static_cast<double>(i + 1) / epochs);
      curve.y.push_back(*loss);
    }
  }
  return curve;
}

Curve accuracies(const OnlineKnn& online) {
  Curve curve{"kNN", {}, {}};
  for (const auto& [epoch, accuracy] : online.history()) {
    curve.x.push_back(static_cast<double>(epoch));
    curve.y.push_back(accuracy);
  }
  return curve;
}

std::string number(double value) {
  return fmt::format("{:.4g}", value);
}

} // namespace

Report::Report(ReportOptions options) : options_(std::move(options)) {
  check(options_.k >= 1, kHere, "k must be at least 1, received {}", options_.k);
  check_temperature(kHere, options_.temperature);
  check(
      options_.bank.has_value() == options_.queries.has_value(),
      kHere,
      "bank and queries must both be given, or neither; received one");
  check(options_.file.extension() == ".html", kHere, "file must end in .html, received '{}'", options_.file.string());
}

std::string Report::name() const {
  return kHere;
}

int Report::order() const {
  return 70;
}

namespace {

double knn_of(const Embeddings& bank, const Embeddings& queries, const ReportOptions& options) {
  const int64_t k = std::min(options.k, bank.features.size(0));
  return knn_accuracy(bank, queries, {k}, options.temperature)[0].top1;
}

bool labelled(const Embeddings& bank) {
  return bank.labels.defined() && bank.labels.min().item<int64_t>() >= 0;
}

double knn_of(const Encoder& encoder, const ReportOptions& options, const at::Device& device) {
  const EmbedOptions how{.device = device, .transform = options.transform};
  const auto bank = embed(encoder, *options.bank, how);
  return labelled(bank) ? knn_of(bank, embed(encoder, *options.queries, how), options) : -1;
}

} // namespace

void Report::before_fit(Learner& learn) {
  if (learn.options.process_group.is_main() && !options_.untrained) {
    look_before(learn, learn.model);
  }
}

void Report::look_before(Learner& learn, BarlowTwinsModel& untrained) {
  if (matrix_before_.defined()) {
    return; // of the checkpoint that the run goes on from
  }
  if (const auto* twins = learn.find<BarlowTwins>()) {
    matrix_before_ = draw_matrix(correlation(embed_views(learn, *untrained, *twins)));
  }
  if (options_.bank) {
    accuracy_before_ = knn_of(untrained->encoder, options_, learn.device);
  }
}

void Report::after_read(Learner& learn) {
  if (learn.values.training) {
    for (const auto& [what, value] : learn.values.logged) {
      logged_[what].push_back(value);
    }
  }
}

void Report::after_fit(Learner& learn) {
  if (learn.options.process_group.is_main() && !learn.recorder.losses.empty()) {
    if (options_.untrained) {
      auto model = options_.untrained();
      model->to(learn.device);
      look_before(learn, model);
    }
    write_file(options_.file, {page(learn)}, kHere);
  }
}

std::string Report::page(Learner& learn) const {
  HtmlPage page(options_.title);
  const auto& encoder = *learn.model->encoder;
  page.table(
      {{"Run", ""},
       {"encoder",
        fmt::format(
            "{}, {} parameters, {} features", encoder.info().name, count_parameters(encoder), encoder.num_features())},
       {"data", learn.dls.train.description()},
       {"steps", std::to_string(learn.recorder.losses.size())},
       {"last loss, smoothed", number(learn.recorder.losses.back())}});
  add_training(page, learn);
  if (learn.find<BarlowTwins>() != nullptr) {
    add_embeddings(page, learn);
  }
  if (options_.bank) {
    add_features(page, learn);
  }
  return page.text();
}

void Report::add_training(HtmlPage& page, Learner& learn) const {
  const auto& recorder = learn.recorder;
  page.heading("Loss and learning rate");
  std::vector<Curve> losses{{"training, smoothed", recorder.losses}};
  if (auto valid = validation_losses(recorder); !valid.y.empty()) {
    losses.push_back(std::move(valid));
  }
  page.picture(draw_curves(losses, "step", "loss"), "Loss");
  page.picture(draw_curves({{"rate", recorder.lrs}}, "step", "learning rate"), "Learning rate");
  for (const auto& [what, values] : logged_) {
    page.picture(draw_curves({{what, smooth(values)}}, "step", what), what + ", smoothed");
  }
}

void Report::add_embeddings(HtmlPage& page, Learner& learn) const {
  const auto views = embed_views(learn, *learn.model, *learn.find<BarlowTwins>());
  const auto d = diagnose(views.z1, views.z2);
  const auto n = views.z1.size(0), width = views.z1.size(1);
  page.heading("Embeddings");
  page.paragraph(
      "The cross-correlation matrix of two views, features against features: red 1, white 0, blue -1. Training wants "
      "red on the diagonal and white elsewhere.");
  if (matrix_before_.defined()) {
    page.picture(matrix_before_, "Before training");
  }
  page.picture(draw_matrix(correlation(views)), "After training");
  page.table(
      {{"Of the embeddings", "", "good"},
       {"rank (RankMe)", number(d.rank), fmt::format("near {}", std::min(2 * n, width))},
       {"standard deviation when normalised", number(d.std), number(1 / std::sqrt(static_cast<double>(width)))},
       {"mean of the diagonal", number(d.mean_diagonal), "1"},
       {"rms off the diagonal", number(d.rms_off_diagonal), "0"},
       {"dead units", std::to_string(d.dead_units), "0"}});
  if (!d.warning.empty()) {
    page.paragraph(d.warning);
  }
}

void Report::add_features(HtmlPage& page, Learner& learn) const {
  const EmbedOptions how{.device = learn.device, .transform = options_.transform};
  const auto bank = embed(learn.model->encoder, *options_.bank, how);
  const auto queries = embed(learn.model->encoder, *options_.queries, how);
  if (labelled(bank)) {
    page.heading("What the features know");
    const auto votes = std::min(options_.k, bank.features.size(0));
    std::vector<std::vector<std::string>> rows{
        {"features", fmt::format("accuracy of a vote of the {} nearest", votes)}};
    const auto row = [&](const char* what, double accuracy) {
      rows.push_back({what, fmt::format("{:.3f}", accuracy)});
    };
    row("pixels", knn_of(embed_pixels(*options_.bank), embed_pixels(*options_.queries), options_));
    row("this encoder before training", accuracy_before_);
    if (!options_.given.is_empty()) {
      row("the given encoder", knn_of(options_.given, options_, learn.device));
    }
    row("this encoder", knn_of(bank, queries, options_));
    page.table(rows);
    const auto* online = learn.find<OnlineKnn>();
    if (online != nullptr && online->history().size() > 1) {
      page.picture(draw_curves({accuracies(*online)}, "epoch", "accuracy"), "Accuracy of neighbours while training");
    }
  }
  constexpr int64_t kOnMap = 300, kInBank = 2000;
  const Shown on_map(queries, *options_.queries, kOnMap);
  const Shown in_bank(bank, *options_.bank, kInBank);
  page.heading("Map and neighbours");
  page.picture(
      draw_map(on_map.tiles, principal_plane(on_map.features), on_map.labels),
      "Images by the first two principal components of their features");
  page.picture(neighbour_picture(on_map, in_bank), "On the left an image, then its nearest in the bank");
}

NamedTensors Report::state() const {
  NamedTensors tensors{numbers("accuracy_before", std::vector<double>{accuracy_before_})};
  if (matrix_before_.defined()) {
    tensors.emplace_back("matrix_before", matrix_before_);
  }
  for (const auto& [what, values] : logged_) {
    tensors.push_back(numbers("logged." + what, values));
  }
  return tensors;
}

void Report::load_state(const NamedTensors& state) {
  const std::string prefix = "logged.";
  if (state.empty()) {
    return; // of a run without a report: what was before is not known
  }
  accuracy_before_ = numbers_of<double>(state, "accuracy_before", 1)[0];
  logged_.clear();
  for (const auto& [name, tensor] : state) {
    if (name == "matrix_before") {
      matrix_before_ = tensor;
    } else if (name.rfind(prefix, 0) == 0) {
      logged_[name.substr(prefix.size())] = numbers_of<double>(state, name);
    }
  }
}

} // namespace barlow
