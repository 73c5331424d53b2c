// SPDX-License-Identifier: Apache-2.0
#include <barlow/embed.h>

#include <functional>

#include <torch/torch.h>

#include <barlow/weights.h>

#include "../check.h"
#include "../device.h"
#include "../evaluating.h"
#include "../file.h"

namespace barlow {
namespace {

using torch::Tensor;
constexpr auto kHere = "embed";

Tensor images_of(const Batch& batch, const EmbedOptions& options, const at::Device& device) {
  check(batch.x.defined(), kHere, "the loader must give images, not views; use the one without with_views");
  const auto x = batch.x.to(device);
  if (options.transform) {
    return (*options.transform)(x, {.seed = batch.seed, .epoch = batch.epoch, .view = 0, .index = batch.index});
  }
  return x.scalar_type() == torch::kByte ? x.to(torch::kFloat).div_(255) : x;
}

Embeddings run(
    const DataLoader& loader,
    const EmbedOptions& options,
    const at::Device& device,
    const std::function<Tensor(const Tensor&)>& network) {
  const torch::NoGradGuard no_grad;
  Embeddings all;
  std::vector<Tensor> features, labels;
  bool labelled = false;
  auto stream = loader.epoch(0);
  while (const auto batch = stream.next()) {
    const auto y = network(images_of(*batch, options, device));
    check(
        y.dim() == 2 && y.size(0) == batch->size() && (features.empty() || y.size(1) == features[0].size(1)),
        kHere,
        "features must be [N,F], of one F for all batches, received {} for {} images",
        describe(y),
        batch->size());
    features.push_back(y.to(torch::kCPU, torch::kFloat));
    labels.push_back(batch->y.defined() ? batch->y : torch::full({batch->size()}, -1, torch::kLong));
    labelled = labelled || batch->y.defined();
    all.index.insert(all.index.end(), batch->index.begin(), batch->index.end());
  }
  check(!features.empty(), kHere, "the data set has no sample that can be read");
  all.features = at::cat(features);
  if (labelled) {
    all.labels = at::cat(labels);
  }
  return all;
}

at::Device device_of(const EmbedOptions& options) {
  const auto device = options.device.value_or(torch::cuda::is_available() ? torch::kCUDA : torch::kCPU);
  check_device(device, kHere);
  return device;
}

// `width`: of the features, where it is known.
template <class Network>
Embeddings embed_with(
    Network network,
    int64_t n_in,
    std::optional<int64_t> width,
    const DataLoader& loader,
    const EmbedOptions& options) {
  check(!network.is_empty(), kHere, "the network must not be an empty module");
  const auto device = device_of(options);
  network->to(device);
  const Evaluating evaluating(*network);
  return run(loader, options, device, [&](const Tensor& x) {
    check(
        x.dim() == 4 && x.size(1) == n_in,
        kHere,
        "the images have {} channels but the encoder takes n_in = {}; make them agree",
        x.dim() == 4 ? x.size(1) : -1,
        n_in);
    auto y = network->forward(x);
    check(
        !width || (y.dim() == 2 && y.size(1) == *width),
        kHere,
        "the encoder must give [N,{}], gave {}",
        width.value_or(0),
        describe(y));
    return y;
  });
}

// NumPy's format, version 1.0: the header ends at a multiple of 64 bytes.
std::string npy_header(at::IntArrayRef shape) {
  constexpr size_t kPreamble = 10, kAlign = 64;
  auto text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", shape[0], shape[1]);
  const auto size = (kPreamble + text.size() + 1 + kAlign - 1) / kAlign * kAlign - kPreamble;
  text.resize(size - 1, ' ');
  text += '\n';
  std::string header = "\x93NUMPY";
  header += {'\x01', '\x00', static_cast<char>(size & 0xff), static_cast<char>(size >> 8)};
  return header + text;
}

} // namespace

Embeddings embed(Encoder encoder, const DataLoader& loader, const EmbedOptions& options) {
  const int64_t n_in = encoder.is_empty() ? 0 : encoder->n_in();
  const int64_t width = encoder.is_empty() ? 0 : encoder->num_features();
  return embed_with(std::move(encoder), n_in, width, loader, options);
}

Embeddings embed(BarlowTwinsModel model, const DataLoader& loader, const EmbedOptions& options) {
  const int64_t n_in = model.is_empty() ? 0 : model->encoder->n_in();
  return embed_with(std::move(model), n_in, std::nullopt, loader, options);
}

Embeddings embed_pixels(const DataLoader& loader, const EmbedOptions& options) {
  return run(loader, options, device_of(options), [](const Tensor& x) { return x.flatten(1); });
}

void save_embeddings(const std::filesystem::path& file, const Embeddings& embeddings) {
  constexpr auto here = "save_embeddings";
  const auto &given = embeddings.features, &labels = embeddings.labels;
  check(
      given.dim() == 2 && given.is_floating_point() && !given.is_meta(),
      here,
      "features must be [N,F], floating, received {}",
      describe(given));
  check(
      !labels.defined() || labels.sizes() == at::IntArrayRef{given.size(0)},
      here,
      "labels must be [{}], received {}",
      given.size(0),
      describe(labels));
  const auto features = given.to(torch::kCPU, torch::kFloat).contiguous();
  if (file.extension() == ".npy") {
    const auto header = npy_header(features.sizes());
    write_file(file, {header, {static_cast<const char*>(features.const_data_ptr()), features.nbytes()}}, here);
    return;
  }
  check(file.extension() == ".safetensors", here, "'{}' must end in .npy or .safetensors", file.string());
  NamedTensors tensors{{"features", features}, {"index", torch::tensor(embeddings.index, torch::kLong)}};
  if (labels.defined()) {
    tensors.emplace_back("labels", labels);
  }
  save_safetensors(file, tensors);
}

} // namespace barlow
