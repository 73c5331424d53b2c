// SPDX-License-Identifier: Apache-2.0
#include "stage.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include <ATen/core/PhiloxRNGEngine.h>
#include <torch/torch.h>

#include "../check.h"

namespace barlow {
namespace {

using torch::Tensor;

thread_local bool only_reference = false;
thread_local StageRecorder* recorder = nullptr;

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

} // namespace

ReferenceTransforms::ReferenceTransforms() : before_(only_reference) {
  only_reference = true;
}

ReferenceTransforms::~ReferenceTransforms() {
  only_reference = before_;
}

bool ReferenceTransforms::enabled() {
  return only_reference;
}

ImageSize size_after(const Stage& stage, ImageSize size) {
  if (const auto* crop = std::get_if<CropStage>(&stage)) {
    return crop->size;
  }
  return size; // a transposed image is square
}

namespace {

// One mirror a sample and nothing else.
bool only_mirrors(const OrientStage& stage) {
  return std::none_of(
      stage.samples.begin(), stage.samples.end(), [](const auto& o) { return o.mirror_y || o.transpose; });
}

bool merge(Stage& last, Stage& next) {
  return std::visit(
      Overloaded{
          [](CropStage& crop, OrientStage& orient) {
            if (!only_mirrors(orient)) {
              return false;
            }
            for (size_t n = 0; n < crop.mirror.size(); ++n) {
              crop.mirror[n] ^= static_cast<uint8_t>(orient.samples[n].mirror_x);
            }
            return true;
          },
          [](ColorStage& first, ColorStage& second) {
            for (size_t n = 0; n < first.samples.size(); ++n) {
              auto& ops = second.samples[n];
              first.samples[n].insert(first.samples[n].end(), ops.begin(), ops.end());
            }
            return true;
          },
          [](auto&, auto&) { return false; }},
      last,
      next);
}

} // namespace

StageRecorder::StageRecorder() : before_(recorder) {
  recorder = this;
}

StageRecorder::~StageRecorder() {
  recorder = before_;
}

StageRecorder* StageRecorder::current() {
  return recorder;
}

void StageRecorder::add(Stage stage) {
  if (stages.empty() || !merge(stages.back(), stage)) {
    stages.push_back(std::move(stage));
  }
}

Tensor run_stages(const Tensor& x, const std::vector<Stage>& stages, const char* name) {
  const torch::NoGradGuard no_grad;
  const bool reference = ReferenceTransforms::enabled();
  if (!reference && cpu_can_run(x)) {
    return run_on_cpu(x, stages, name);
  }
  if (!reference && x.is_cpu() && at::isReducedFloatingType(x.scalar_type())) {
    return run_on_cpu(x.to(torch::kFloat), stages, name).to(x.scalar_type());
  }
  const auto floating = [](const Tensor& t) { return t.is_floating_point() ? t : t.to(torch::kFloat).div_(255); };
  Tensor y = x;
  for (const auto& stage : stages) {
    y = !reference && cuda_can_run(y, stage) ? run_on_cuda(y, stage, /*ours=*/!y.is_alias_of(x))
                                             : run_reference(floating(y), stage);
  }
  y = floating(y);
  if (y.is_cpu()) {
    const auto bad = y.flatten(1).isnan().any(1).nonzero();
    check<NonFiniteError>(
        bad.numel() == 0,
        name,
        "sample {} has NaN pixels; look at its image",
        bad.numel() == 0 ? 0 : bad[0].item<int64_t>());
  }
  return y;
}

std::vector<float> gaussian_weights(const Blur& blur) {
  const int64_t radius = blur.kernel / 2;
  std::vector<double> weights(static_cast<size_t>(blur.kernel));
  for (int64_t i = 0; i < blur.kernel; ++i) {
    const auto d = static_cast<double>(i - radius);
    weights[static_cast<size_t>(i)] = std::exp(-d * d / (2 * blur.sigma * blur.sigma));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.);
  std::vector<float> normalised(weights.size());
  std::transform(
      weights.begin(), weights.end(), normalised.begin(), [&](double w) { return static_cast<float>(w / sum); });
  return normalised;
}

std::array<int, kLevels> equalizing_table(const Histogram& histogram) {
  std::array<int, kLevels> table;
  std::iota(table.begin(), table.end(), 0);
  const auto last = std::find_if(histogram.rbegin(), histogram.rend(), [](int64_t n) { return n > 0; });
  const auto total = std::accumulate(histogram.begin(), histogram.end(), int64_t{0});
  const int64_t step = last == histogram.rend() ? 0 : (total - *last) / (kLevels - 1);
  if (step == 0) {
    return table; // too few pixels or levels
  }
  int64_t below = step / 2;
  for (size_t level = 0; level < kLevels; ++level) {
    table[level] = static_cast<int>(std::min<int64_t>(below / step, kLevels - 1));
    below += histogram[level];
  }
  return table;
}

// Box and Muller's transform of Philox's 32-bit integers.
void fill_normal(float* to, int64_t count, uint64_t key) {
  at::Philox4_32 engine(key, 0, 0);
  for (int64_t i = 0; i < count; i += 2) {
    const double u = (static_cast<double>(engine()) + 1) * 0x1p-32; // (0, 1]
    const double angle = 2 * std::numbers::pi * 0x1p-32 * static_cast<double>(engine());
    const double radius = std::sqrt(-2 * std::log(u));
    to[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < count) {
      to[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

} // namespace barlow
