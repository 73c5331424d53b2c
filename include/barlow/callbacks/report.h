// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <barlow/augment/pipeline.h>
#include <barlow/callback.h>
#include <barlow/data.h>
#include <barlow/encoder.h>
#include <barlow/model.h>

namespace barlow {

class HtmlPage;

struct ReportOptions {
  std::filesystem::path file = "report.html";
  std::string title = "Barlow Twins";
  std::optional<DataLoader> bank{}, queries{}; ///< images for the map and the neighbours; with labels, kNN too
  /// Makes the model as it was before training, for what the report says of it; after the fit, so that nothing
  /// delays the first step. Without it that is looked at before the fit.
  std::function<BarlowTwinsModel()> untrained{};
  Encoder given{nullptr}; ///< another encoder to compare with: published weights, say
  std::optional<Pipeline> transform{}; ///< as EmbedOptions::transform
  int64_t k = 20; ///< neighbours that vote; fewer if the bank is smaller
  double temperature = 0.1;
};

/// Writes what a run was as one HTML file that needs no other: losses, learning rate, the correlation matrix of the
/// views before and after, what the embeddings tell of themselves, accuracy of neighbours for pixels, the encoder
/// before training, a given one and the trained one, a map of the images by their features (the first two principal
/// components), and the nearest neighbours of some. Written by rank 0 after the fit, also if an error ended it.
class Report : public Callback {
 public:
  /// Throws Error for options out of range, a file that does not end in .html, or one of bank and queries alone.
  explicit Report(ReportOptions options);
  std::string name() const override;
  int order() const override; ///< 70: after those that record
  void before_fit(Learner& learn) override;
  void after_read(Learner& learn) override;
  void after_fit(Learner& learn) override;
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

 private:
  std::string page(Learner& learn) const;
  void look_before(Learner& learn, BarlowTwinsModel& untrained);
  void add_training(HtmlPage& page, Learner& learn) const;
  void add_embeddings(HtmlPage& page, Learner& learn) const;
  void add_features(HtmlPage& page, Learner& learn) const;

  ReportOptions options_;
  at::Tensor matrix_before_; // [3,H,W] uint8, drawn
  double accuracy_before_ = -1; // none
  std::map<std::string, std::vector<double>> logged_; // a training step
};

} // namespace barlow
