// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/tensor_board.h>

#include <cmath>

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/online_knn.h>
#include <barlow/embed.h>
#include <barlow/image.h>
#include <barlow/learner.h>

#include "../check.h"
#include "../file.h"
#include "event_file.h"
#include "numbers.h"
#include "shown.h"

namespace barlow {
namespace {

constexpr auto kHere = "TensorBoard";

std::string lines_of(const at::Tensor& features) { // [M,F]
  std::string text;
  const auto rows = features.to(torch::kFloat).contiguous();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const auto* row = rows.const_data_ptr<float>() + i * rows.size(1);
    text += fmt::format("{:.6g}\n", fmt::join(row, row + rows.size(1), "\t"));
  }
  return text;
}

std::string labels_of(const Shown& shown) { // one column has no head
  std::string text;
  for (int64_t i = 0; i < shown.features.size(0); ++i) {
    text += fmt::format("{}\n", shown.labels.defined() ? shown.labels[i].item<int64_t>() : -1);
  }
  return text;
}

// All tiles in one square picture, as the projector wants its thumbnails.
at::Tensor sprite(const at::Tensor& tiles) {
  const auto rows = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(tiles.size(0)))));
  const int64_t side = tiles.size(2);
  auto all = torch::zeros({rows * rows, tiles.size(1), side, side});
  all.narrow(0, 0, tiles.size(0)).copy_(tiles);
  const auto grid = all.reshape({rows, rows, tiles.size(1), side, side}).permute({2, 0, 3, 1, 4});
  return grid.reshape({tiles.size(1), rows * side, rows * side}).mul(255).round().clamp(0, 255).to(torch::kByte);
}

} // namespace

TensorBoard::TensorBoard(TensorBoardOptions options) : options_(std::move(options)) {
  check(options_.views >= 0, kHere, "views must not be negative, received {}", options_.views);
  check(!options_.folder.empty(), kHere, "there must be a folder to write to");
}

std::string TensorBoard::name() const {
  return "TensorBoard";
}

int TensorBoard::order() const {
  return 65;
}

void TensorBoard::before_fit(Learner& learn) {
  if (!learn.options.process_group.is_main()) {
    return;
  }
  steps_before_ = step_;
  file_ = std::make_shared<EventFile>(options_.folder);
  const auto* twins = learn.find<BarlowTwins>();
  if (twins != nullptr && options_.views > 0) {
    const auto rows = std::min(options_.views, learn.dls.train.options().batch_size);
    file_->picture("views", twins->show(rows, ""), step_);
  }
}

void TensorBoard::after_read(Learner& learn) {
  const auto& of = learn.values;
  if (!file_ || !of.training) {
    return;
  }
  step_ = steps_before_ + of.step;
  file_->scalar("train/loss", of.loss, step_);
  file_->scalar("train/lr", of.lr, step_);
  for (const auto& [what, value] : of.logged) {
    file_->scalar("train/" + what, value, step_);
  }
}

void TensorBoard::after_epoch(Learner& learn) {
  if (!file_ || learn.recorder.values.empty()) {
    return;
  }
  const auto& line = learn.recorder.values.back();
  const auto if_any = [&](const char* tag, const std::optional<double>& value) {
    if (value) {
      file_->scalar(tag, *value, step_);
    }
  };
  if_any("epoch/train_loss", line.train_loss);
  if_any("epoch/valid_loss", line.valid_loss);
  if_any("epoch/data_wait", line.data_wait);
  file_->scalar("epoch/seconds", line.seconds, step_);
  const auto* online = learn.find<OnlineKnn>();
  if (online != nullptr && !online->history().empty() && online->history().back().first == learn.total_epochs + 1) {
    file_->scalar("epoch/knn", online->history().back().second, step_);
  }
}

void TensorBoard::after_fit(Learner& learn) {
  if (file_ && options_.embed) {
    write_projector(learn);
  }
  file_.reset();
}

void TensorBoard::write_projector(Learner& learn) const {
  constexpr int64_t kMost = 2000; // points that a browser turns smoothly
  const auto all =
      embed(learn.model->encoder, *options_.embed, {.device = learn.device, .transform = options_.transform});
  const Shown shown(all, *options_.embed, kMost);
  const auto thumbnails = encode_png(sprite(shown.tiles));
  const auto side = shown.tiles.size(2);
  const auto write = [&](const char* name, std::string_view bytes) {
    write_file(options_.folder / name, {bytes}, kHere);
  };
  write("features.tsv", lines_of(shown.features));
  write("labels.tsv", labels_of(shown));
  write("thumbnails.png", {thumbnails.data(), thumbnails.size()});
  write(
      "projector_config.pbtxt",
      fmt::format(
          "embeddings {{\n  tensor_name: \"features\"\n  tensor_path: \"features.tsv\"\n"
          "  metadata_path: \"labels.tsv\"\n  sprite {{\n    image_path: \"thumbnails.png\"\n"
          "    single_image_dim: {0}\n    single_image_dim: {0}\n  }}\n}}\n",
          side));
}

NamedTensors TensorBoard::state() const {
  return {numbers<int64_t>("step", {steps_before_, step_})};
}

void TensorBoard::load_state(const NamedTensors& state) {
  const auto steps = numbers_of<int64_t>(state, "step", 2);
  steps_before_ = steps[0];
  step_ = steps[1];
  if (file_) {
    file_->restart(step_ + 1);
  }
}

} // namespace barlow
