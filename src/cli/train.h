// SPDX-License-Identifier: Apache-2.0
// The Learner of a run, and what records it.
#pragma once

#include <memory>
#include <optional>

#include <barlow/learner.h>

#include "run.h"

namespace barlow::cli {

/// The Learner of these options with the callbacks that change what it computes.
std::unique_ptr<Learner> make_learner(const Run& run, const ProcessGroup& group = {});

/// What features are compared on: images of one size.
struct EvaluationData {
  DataLoader bank, queries;
  bool labelled = false;
};
std::optional<EvaluationData> evaluation_data(const Run& run); ///< nullopt: nothing is held out, or it is a stream

/// The logs, the neighbours' accuracy and the report, as far as the run wants them.
void add_records(Learner& learn, const Run& run, const std::optional<EvaluationData>& data);
void add_neighbours(Learner& learn, const Run& run, const std::optional<EvaluationData>& data); ///< with labels alone
void add_report(
    Learner& learn,
    const Run& run,
    const std::optional<EvaluationData>& data,
    const std::filesystem::path& file);

std::vector<std::filesystem::path> checkpoints_of(
    const std::filesystem::path& run); ///< of a run's folder, the oldest first

} // namespace barlow::cli
