// SPDX-License-Identifier: Apache-2.0
#include <barlow/feature_extractor.h>

#include <charconv>
#include <cmath>

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <barlow/datasets.h>
#include <barlow/embed.h>
#include <barlow/weights.h>

#include "check.h"
#include "device.h"
#include "evaluating.h"
#include "names.h"

namespace barlow {
namespace {

namespace fs = std::filesystem;
using Metadata = std::map<std::string, std::string>;

constexpr auto kHere = "FeatureExtractor";

const std::string& field(const Metadata& metadata, const char* name, const fs::path& file) {
  const auto found = metadata.find(name);
  check<FileError>(
      found != metadata.end(),
      kHere,
      "'{}' does not tell its '{}'; it must be a file of save_encoder",
      file.string(),
      name);
  return found->second;
}

template <class T>
std::vector<T> numbers_in(const Metadata& metadata, const char* name, const fs::path& file) {
  const auto& text = field(metadata, name, file);
  std::vector<T> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    T number{};
    const auto [next, error] = std::from_chars(at, end, number);
    check<FileError>(
        error == std::errc(), kHere, "'{}' has a {} of '{}', which is no number", file.string(), name, text);
    numbers.push_back(number);
    at = next + (next < end ? 1 : 0); // a space
  }
  check<FileError>(!numbers.empty(), kHere, "'{}' has an empty {}", file.string(), name);
  return numbers;
}

template <class E>
E choice_in(const Metadata& metadata, const char* name, const fs::path& file) {
  const auto& text = field(metadata, name, file);
  const auto found = value_of<E>(text);
  check<FileError>(
      found.has_value(),
      kHere,
      "'{}' has a {} of '{}'; there are {}",
      file.string(),
      name,
      text,
      fmt::join(Names<E>::words, ", "));
  return *found;
}

// One finite mean and one positive std a channel.
bool are_sound(const Stats& stats, int64_t channels) {
  const auto count = static_cast<size_t>(channels);
  return stats.mean.size() == count && stats.std.size() == count &&
      std::all_of(stats.mean.begin(), stats.mean.end(), [](double m) { return std::isfinite(m); }) &&
      std::all_of(stats.std.begin(), stats.std.end(), [](double s) { return std::isfinite(s) && s > 0; });
}

EncoderOptions options_in(const Metadata& metadata, const fs::path& file) {
  EncoderOptions options;
  constexpr int64_t kMostChannels = 1 << 16; // before memory is taken
  options.n_in = numbers_in<int64_t>(metadata, "n_in", file)[0];
  check<FileError>(
      options.n_in >= 1 && options.n_in <= kMostChannels, kHere, "'{}' has an n_in of {}", file.string(), options.n_in);
  const auto& pool = field(metadata, "pool", file);
  if (pool == "own") {
    options.pool_type = std::nullopt;
  } else if (pool != "default") {
    options.pool_type = choice_in<PoolingType>(metadata, "pool", file);
  }
  options.stem = choice_in<StemType>(metadata, "stem", file);
  options.pretrained = true;
  options.weights = file.string();
  return options;
}

} // namespace

void save_encoder(Encoder encoder, const fs::path& file, const SaveEncoderOptions& options) {
  constexpr auto here = "save_encoder";
  check(
      !encoder.is_empty() && encoder->origin().has_value(),
      here,
      "the encoder must be one of create_encoder's, whose name tells how to make it; save_weights takes any");
  check(options.size >= 0, here, "size must not be negative, received {}", options.size);
  check(
      !options.stats || are_sound(*options.stats, encoder->n_in()),
      here,
      "stats must have a mean and a positive std for each of {} channels",
      encoder->n_in());
  const auto& [name, made_with] = *encoder->origin();
  const auto& pool = made_with.pool_type;
  Metadata metadata{
      {"format", "pt"},
      {"encoder", name},
      {"n_in", fmt::format("{}", encoder->n_in())},
      {"pool",
       pool && !pool.is_default() ? word_of(*pool)
           : pool                 ? "default"
                                  : "own"},
      {"stem", word_of(made_with.stem)},
      {"size", fmt::format("{}", options.size != 0 ? options.size : encoder->info().input_size)}};
  if (options.stats) {
    metadata["mean"] = fmt::format("{}", fmt::join(options.stats->mean, " "));
    metadata["std"] = fmt::format("{}", fmt::join(options.stats->std, " "));
  }
  for (const auto& [key, value] : options.metadata) {
    check(
        metadata.emplace(key, value).second, here, "the metadata must not say another '{}', received '{}'", key, value);
  }
  save_weights(*encoder, file, metadata);
}

FeatureExtractor::FeatureExtractor(const fs::path& file, const FeatureExtractorOptions& options) : options_(options) {
  check(options.batch_size >= 1, kHere, "batch_size must be at least 1, received {}", options.batch_size);
  load_safetensors(file, &metadata_);
  const auto& name = field(metadata_, "encoder", file);
  encoder = create_encoder(name, options_in(metadata_, file));
  size_ = numbers_in<int64_t>(metadata_, "size", file)[0];
  constexpr int64_t kLargest = 1 << 14;
  check<FileError>(size_ >= 1 && size_ <= kLargest, kHere, "'{}' has a size of {}", file.string(), size_);
  if (metadata_.count("mean") != 0) {
    stats_ = Stats{numbers_in<double>(metadata_, "mean", file), numbers_in<double>(metadata_, "std", file)};
    check<FileError>(
        are_sound(*stats_, encoder->n_in()),
        kHere,
        "'{}' must have a mean and a positive std for each of {} channels",
        file.string(),
        encoder->n_in());
  }
  if (!options_.device) {
    options_.device = at::Device(torch::cuda::is_available() ? at::kCUDA : at::kCPU);
  }
  check_device(*options_.device, kHere);
  encoder->to(*options_.device);
  encoder->eval();
}

at::Tensor FeatureExtractor::operator()(const std::vector<fs::path>& files) const {
  if (files.empty()) {
    return torch::empty({0, encoder->num_features()});
  }
  const DataLoader loader(
      image_files(files),
      {.batch_size = std::min(options_.batch_size, static_cast<int64_t>(files.size())),
       .channels = encoder->n_in(),
       .resize = size_,
       .on_bad = OnBad::Stop});
  EmbedOptions how{.device = options_.device};
  if (stats_) {
    how.transform = Pipeline({std::make_shared<Normalize>(*stats_)});
  }
  return embed(encoder, loader, how).features;
}

at::Tensor FeatureExtractor::operator()(const at::Tensor& images) const {
  check(
      images.defined() && images.dim() == 4 && (images.scalar_type() == at::kByte || images.is_floating_point()) &&
          !images.is_meta(),
      kHere,
      "images must be [N,C,H,W], uint8 or floating in 0..1, received {}",
      describe(images));
  if (images.size(0) == 0) {
    return torch::empty({0, encoder->num_features()});
  }
  const torch::NoGradGuard no_grad;
  auto network = encoder; // shared
  const Evaluating evaluating(*network);
  auto x = images.to(*options_.device);
  x = x.scalar_type() == at::kByte ? x.to(at::kFloat).div_(255) : x.to(at::kFloat);
  if (stats_) {
    x = normalize(x, stats_->mean, stats_->std);
  }
  return network->forward(x).to(at::kCPU, at::kFloat);
}

} // namespace barlow
