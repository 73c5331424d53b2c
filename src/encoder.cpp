// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoder.h>

#include <iostream>

#include <ATen/TracerMode.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include <barlow/encoders/resnet.h>
#include <barlow/gradient_checkpointing.h>

#include "autocast.h"
#include "check.h"
#include "encoders/import.h"
#include "encoders/pretrained.h"
#include "encoders/registry.h"
#include "nearest.h"

namespace barlow {
namespace {

bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) {
    return text.empty();
  }
  if (pattern[0] == '*') {
    return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) && matches(pattern.substr(1), text.substr(1));
}

// On the CPU, oneDNN takes maps of many pixels faster channels-last, every layer keeps the layout of its input, and
// weights that lie so need not be copied for each use. Measured on two cores, forward and backward: EfficientNet-B0 at
// 224 pixels 25 % faster, ResNet-18 at 128 15 %, with a 3x3 stem on 64 images of 32 pixels 5 %.
// On CUDA, cuDNN's kernels for tensor cores are made for it.
bool pays_channels_last(const at::Tensor& x) {
  if (x.is_cuda()) {
    return Autocast::current(at::kCUDA).has_value() || x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
  }
  constexpr int64_t kManyPixels = 9216; // 96 x 96
  constexpr int64_t kSomePixels = 1024, kManyInTheBatch = 65536;
  const int64_t pixels = x.size(2) * x.size(3);
  return x.is_cpu() && x.scalar_type() == at::kFloat &&
      (pixels >= kManyPixels || (pixels >= kSomePixels && x.size(0) * pixels >= kManyInTheBatch));
}

// Without a list of them all: this is asked for every batch.
at::Tensor first_parameter(const torch::nn::Module& module) {
  if (const auto own = module.parameters(/*recurse=*/false); !own.empty()) {
    return own[0];
  }
  for (const auto& child : module.children()) {
    if (auto parameter = first_parameter(*child); parameter.defined()) {
      return parameter;
    }
  }
  return {};
}

void check_input(const EncoderImpl& encoder, const at::Tensor& x) {
  constexpr auto here = "Encoder::forward";
  const auto& info = encoder.info();
  check(
      x.defined() && x.dim() == 4 && x.size(1) == info.n_in && x.is_floating_point(),
      here,
      "'{}' takes [N,{},H,W], received {}; images must be floating, for their channels see EncoderOptions::n_in",
      info.name,
      info.n_in,
      describe(x));
  const auto fits = [&](int64_t side) {
    return info.fixed_size ? side == info.input_size : side >= info.smallest_size && side % info.size_multiple == 0;
  };
  if (!fits(x.size(2)) || !fits(x.size(3))) {
    const auto rule = info.fixed_size
        ? fmt::format("{0} x {0} pixels alone", info.input_size)
        : fmt::format(
              "sides of at least {} pixels{}",
              info.smallest_size,
              info.size_multiple > 1 ? fmt::format(", multiples of {}", info.size_multiple) : "");
    check(false, here, "'{}' takes {}, received {}; resize the images", info.name, rule, describe(x));
  }
  const auto p = first_parameter(encoder);
  check(
      !p.defined() ||
          (x.device() == p.device() &&
           (x.scalar_type() == p.scalar_type() || at::autocast::is_autocast_enabled(x.device().type()))),
      here,
      "images must be of the type and on the device of the parameters of '{}', received {} on {}",
      info.name,
      describe(x),
      x.device().str());
}

void check_rate(const char* what, double rate) {
  check(rate >= 0 && rate < 1, "create_encoder", "{} must be in [0, 1), received {}", what, rate);
}

void use_checkpointing(EncoderImpl& encoder, int64_t nchunks) {
  if (nchunks == 0) {
    return;
  }
  auto* segmented = dynamic_cast<SegmentedEncoderImpl*>(&encoder);
  check(
      segmented != nullptr,
      "create_encoder",
      "'{}' has no segments to checkpoint, received checkpoint_nchunks = {}; leave it 0",
      encoder.info().name,
      nchunks);
  segmented->checkpoint(nchunks);
}

const EncoderRegistry::Entry& find_encoder(const std::string& name) {
  const auto& registry = encoder_registry();
  if (const auto* entry = registry.find(name); entry != nullptr) {
    return *entry;
  }
  const auto names = list_encoders();
  check(
      false,
      "create_encoder",
      "unknown encoder '{}'; did you mean '{}'? (list_encoders() names all {})",
      name,
      nearest(name, names),
      names.size());
  throw std::logic_error("unreachable");
}

} // namespace

EncoderImpl::EncoderImpl(EncoderInfo info) : torch::nn::Module(info.name), info_(std::move(info)) {
  check(info_.n_in >= 1, "create_encoder", "n_in must be at least 1, received {} for '{}'", info_.n_in, info_.name);
  check(
      info_.num_features >= 1,
      "EncoderImpl",
      "num_features must be at least 1, received {} for '{}'",
      info_.num_features,
      info_.name);
}

std::vector<Segment> EncoderImpl::segments() {
  return {{info_.name, [this](const at::Tensor& x) { return forward(x); }}};
}

at::Tensor EncoderImpl::adapt_weight(const std::string&, const at::Tensor& weight) const {
  return weight;
}

at::Tensor SegmentedEncoderImpl::to_fastest_layout(const at::Tensor& x) {
  if (!pays_channels_last(x) || at::tracer::impl::is_dispatch_enabled()) {
    return x;
  }
  constexpr auto kLayout = at::MemoryFormat::ChannelsLast;
  if (!channels_last_) {
    for (auto& p : parameters()) {
      if (p.dim() == 4 && !p.is_contiguous(kLayout)) {
        p.set_data(p.detach().contiguous(kLayout));
      }
    }
    channels_last_ = true;
  }
  return x.contiguous(kLayout);
}

at::Tensor SegmentedEncoderImpl::forward(const at::Tensor& x) {
  check_input(*this, x);
  at::Tensor y = to_fastest_layout(x);
  if (checkpoint_nchunks_ > 1 && is_training() && at::GradMode::is_enabled()) {
    return checkpoint_sequential(segments(), checkpoint_nchunks_, y, buffers());
  }
  for (const auto& segment : segments()) {
    y = segment.forward(y);
  }
  return y;
}

void SegmentedEncoderImpl::checkpoint(int64_t nchunks) {
  check(nchunks >= 0, "Encoder::checkpoint", "nchunks must not be negative, received {}", nchunks);
  checkpoint_nchunks_ = nchunks;
}

Encoder create_encoder(const std::string& name, const EncoderOptions& options) {
  constexpr auto here = "create_encoder";
  check(options.n_in >= 1, here, "n_in must be at least 1, received {} for '{}'", options.n_in, name);
  check(
      options.pretrained || options.weights.empty(),
      here,
      "weights go with pretrained = true, received false and weights = '{}' for '{}'",
      options.weights,
      name);
  check_rate("drop_rate", options.drop_rate);
  check_rate("drop_path_rate", options.drop_path_rate);
  if (is_script_file(name)) {
    check(!options.pretrained, here, "'{}' brings its own weights; leave pretrained and weights out", name);
    auto encoder = import_encoder(name, options);
    check(options.stem == StemType::Network, here, "'{}' has a stem of its own; leave stem out", name);
    use_checkpointing(*encoder, options.checkpoint_nchunks);
    return encoder;
  }
  const auto& entry = find_encoder(name);
  if (const auto* present = renamed_encoder(name)) {
    std::cerr << "create_encoder: '" << name << "' is called '" << present << "' now\n";
  }
  auto encoder = entry.builder(name, options);
  check(!encoder.is_empty(), here, "the builder of '{}' gave an empty encoder", name);
  check(
      options.stem == StemType::Network || dynamic_cast<const ResNetImpl*>(encoder.get()) != nullptr,
      here,
      "'{}' has one stem only; leave stem at StemType::Network or take one of timm's ResNets",
      name);
  use_checkpointing(*encoder, options.checkpoint_nchunks);
  encoder->origin({name, options});
  if (options.pretrained) {
    const std::filesystem::path file(options.weights.empty() ? find_pretrained(name).string() : options.weights);
    load_pretrained(*encoder, file, entry.library == EncoderRegistry::Library::Fastai);
  }
  return encoder;
}

std::vector<std::string> list_encoders(const std::string& pattern) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : encoder_registry().all()) {
    if (matches(pattern, name)) {
      names.push_back(name);
    }
  }
  return names;
}

void register_encoder(const std::string& name, EncoderBuilder builder) {
  encoder_registry().add(name, {EncoderRegistry::Library::User, std::move(builder)});
}

} // namespace barlow
