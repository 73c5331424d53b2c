// SPDX-License-Identifier: Apache-2.0
#include "pretrained.h"

#include <array>
#include <cstdlib>

#include <torch/torch.h>

#include <barlow/nn.h>
#include <barlow/weights.h>

#include "check.h"
#include "paths.h"

namespace barlow {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

// [O,3,k,k] -> [O,n_in,k,k]. Source: timm 1.0.31 adapt_input_conv; fastai 2.8.12 create_body.
Tensor adapt_channels(const Tensor& weight, int64_t n_in, bool fastai) {
  if (n_in == 1) {
    return weight.sum(1, /*keepdim=*/true);
  }
  if (!fastai) {
    const int64_t times = (n_in + 2) / 3;
    return weight.repeat({1, times, 1, 1}).narrow(1, 0, n_in) * (3. / static_cast<double>(n_in));
  }
  if (n_in == 2) {
    return weight.narrow(1, 0, 2) * 1.5;
  }
  return at::constant_pad_nd(weight, {0, 0, 0, 0, 0, n_in - 3});
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}
bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A ResNet's parts by torchvision's and timm's names, and by their places where they stand in a row: fastai's and
// lightly's bodies.
using Parts = std::array<const char*, 6>;
constexpr Parts kNamed{"conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4."};
constexpr Parts kNumbered{"0.", "1.", "4.", "5.", "6.", "7."};

std::string renamed(const std::string& name, const Parts& from, const Parts& to) {
  for (size_t i = 0; i < from.size(); ++i) {
    if (starts_with(name, from[i])) {
      return to[i] + name.substr(std::string(from[i]).size());
    }
  }
  return name;
}

NamedTensors with_names(NamedTensors tensors, const Parts& from, const Parts& to) {
  for (auto& [name, tensor] : tensors) {
    name = renamed(name, from, to);
  }
  return tensors;
}

// The encoder's part of a file, with the encoder's names.
NamedTensors of_encoder(const NamedTensors& all, const std::vector<std::string>& names) {
  auto part = under_common_prefix(all, names);
  const auto has = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  const bool named = has("layer1.0.conv1.weight");
  if (!named && !has("4.0.conv1.weight")) {
    return part;
  }
  const auto& ours = named ? kNamed : kNumbered;
  const auto& theirs = named ? kNumbered : kNamed;
  std::vector<std::string> other_names;
  other_names.reserve(names.size());
  for (const auto& name : names) {
    other_names.push_back(renamed(name, ours, theirs));
  }
  auto other = under_common_prefix(all, other_names);
  return other.size() > part.size() ? with_names(std::move(other), theirs, ours) : part;
}

void check_finite(const NamedTensors& tensors, const fs::path& path) {
  for (const auto& [name, tensor] : tensors) {
    check<NonFiniteError>(
        !tensor.is_floating_point() || tensor.isfinite().all().item<bool>(),
        "create_encoder",
        "'{}' of '{}' has NaN or infinite values; the training that wrote it had failed",
        name,
        path.string());
  }
}

} // namespace

void load_pretrained(EncoderImpl& encoder, const fs::path& path, bool fastai) {
  const auto& info = encoder.info();
  const auto wanted = state_dict(encoder);
  std::vector<std::string> names;
  names.reserve(wanted.size());
  for (const auto& [name, tensor] : wanted) {
    names.push_back(name);
  }
  const auto all = load_tensors(path);
  auto given = of_encoder(all, names);
  check(
      !given.empty(),
      "create_encoder",
      "'{}' holds none of the parameters of '{}'; it begins with '{}', the network with '{}'",
      path.string(),
      info.name,
      all.empty() ? "nothing" : all.front().first,
      names.front());
  NamedTensors tensors;
  for (auto& [name, tensor] : given) {
    if (starts_with(name, info.classifier + ".")) {
      continue;
    }
    if (name == info.first_conv + ".weight" && info.n_in != 3 && tensor.dim() == 4 && tensor.size(1) == 3) {
      tensor = adapt_channels(tensor, info.n_in, fastai);
    }
    tensors.emplace_back(name, encoder.adapt_weight(name, tensor));
  }
  for (const auto& [name, tensor] : wanted) { // files of before PyTorch 0.4.1 do not count batches
    const auto same = [&, n = name](const auto& t) { return t.first == n; };
    if (ends_with(name, ".num_batches_tracked") && std::none_of(tensors.begin(), tensors.end(), same)) {
      tensors.emplace_back(name, torch::zeros_like(tensor));
    }
  }
  check_finite(tensors, path);
  load_weights(encoder, tensors, path.string());
}

fs::path find_pretrained(const std::string& name) {
  const auto plain = name.substr(name.find(':') + 1); // npos + 1 == 0
  const char* folder = std::getenv(kWeightsFolder); // NOLINT(concurrency-mt-unsafe): nobody sets it meanwhile
  for (const auto* ending : {".safetensors", ".pth", ".pt"}) {
    if (folder != nullptr && is_there(fs::path(folder) / (plain + ending))) {
      return fs::path(folder) / (plain + ending);
    }
  }
  throw FileError(
      fmt::format(
          "[create_encoder] pretrained needs a file of weights for '{0}', {1}; set EncoderOptions::weights to one, or "
          "the "
          "environment variable {2} to a folder with {3}.safetensors, {3}.pth or {3}.pt. Nothing is downloaded; timm's "
          "come by Python: torch.save(timm.create_model('{3}', pretrained=True).state_dict(), '{3}.pth')",
          name,
          folder == nullptr ? "received none" : fmt::format("and '{}' has none", folder),
          kWeightsFolder,
          plain));
}

} // namespace barlow
