// SPDX-License-Identifier: Apache-2.0
#include "data_summary.h"

#include <algorithm>

#include <fmt/format.h>

namespace barlow {
namespace {

constexpr double kMuch = 0.1; // share of waiting from which the data are what limits

std::string advice(const LoaderTimes& work, int64_t workers, int64_t cores) {
  if (workers < cores) {
    return fmt::format("set num_workers to {}, the cores there are", cores);
  }
  if (work.read >= work.decode + work.crop) {
    return "the storage is slow: copy the images to a local disk, or pack them in tar shards (DataLoaders::from_tar)";
  }
  if (work.decode >= work.crop) {
    return "store the images once as JPEG of about twice the size of a view, or give the process more cores";
  }
  return "make smaller or fewer views, or give the process more cores";
}

} // namespace

std::string data_summary(double wait, double seconds, const LoaderTimes& work, int64_t workers, int64_t cores) {
  const double share = seconds > 0 ? std::min(wait / seconds, 1.) : 0;
  const auto head = fmt::format("data: {:.0f}% of the training time was waiting for batches", 100 * share);
  if (share < kMuch) {
    return head + "; the model limits the run";
  }
  const double total = std::max(work.read + work.decode + work.crop, 1e-9);
  return fmt::format(
      "{}; the loader limits the run ({} workers: {:.0f}% reading, {:.0f}% decoding, {:.0f}% cropping): {}",
      head,
      workers,
      100 * work.read / total,
      100 * work.decode / total,
      100 * work.crop / total,
      advice(work, workers, cores));
}

std::string bad_sample_report(const DataLoaders& dls) {
  auto bad = dls.train.bad_samples();
  int64_t samples = dls.train.samples();
  if (dls.valid) {
    const auto more = dls.valid->bad_samples();
    bad.insert(bad.end(), more.begin(), more.end());
    samples += dls.valid->samples();
  }
  if (bad.empty()) {
    return "";
  }
  constexpr size_t kMost = 20;
  auto text = fmt::format("{} of {} samples could not be used:\n", bad.size(), samples);
  for (size_t i = 0; i < std::min(bad.size(), kMost); ++i) {
    text += fmt::format("  {}: {}\n", bad[i].name, bad[i].reason);
  }
  return text + (bad.size() > kMost ? fmt::format("  and {} more\n", bad.size() - kMost) : "");
}

} // namespace barlow
