// SPDX-License-Identifier: Apache-2.0
#include "import.h"

#include <torch/script.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "../check.h"
#include "../file.h"

namespace barlow {
namespace {

using torch::Tensor;
constexpr auto kHere = "create_encoder";

// LibTorch's own account of what went wrong in a script, its first line that says something.
std::string reason(const std::exception& e) {
  const auto* error = dynamic_cast<const c10::Error*>(&e);
  std::string text = error != nullptr ? error->what_without_backtrace() : e.what();
  text.erase(text.find_last_not_of(" \n") + 1);
  if (const auto last = text.rfind("RuntimeError: "); last != std::string::npos) {
    return text.substr(last);
  }
  return text.substr(0, text.find('\n'));
}

// The script's parameters and buffers as those of an nn::Module: the same tensors under the same names, so that
// optimisers, to() and save_weights reach them.
std::shared_ptr<torch::nn::Module> mirror(const torch::jit::Module& script, std::shared_ptr<torch::nn::Module> module) {
  for (const auto& p : script.named_parameters(/*recurse=*/false)) {
    module->register_parameter(p.name, p.value, p.value.requires_grad());
  }
  for (const auto& b : script.named_buffers(/*recurse=*/false)) {
    module->register_buffer(b.name, b.value);
  }
  for (const auto& child : script.named_children()) {
    module->register_module(child.name, mirror(child.value, std::make_shared<torch::nn::Module>()));
  }
  return module;
}

struct Script {
  torch::jit::Module module;
  EncoderInfo info;
};

class ImportedEncoderImpl : public EncoderImpl {
 public:
  explicit ImportedEncoderImpl(Script script) : EncoderImpl(script.info), script_(std::move(script.module)) {}

  // Apart from the constructor: what this module registers is shared with the script.
  static std::shared_ptr<EncoderImpl> make(Script script) {
    auto encoder = std::make_shared<ImportedEncoderImpl>(std::move(script));
    mirror(encoder->script_, encoder);
    encoder->train(true);
    return encoder;
  }

  void train(bool on) override {
    EncoderImpl::train(on);
    script_.train(on);
  }

  Tensor forward(const Tensor& x) override {
    constexpr auto here = "Encoder::forward";
    check(
        x.dim() == 4 && x.size(1) == info().n_in && x.is_floating_point() && !x.is_meta(),
        here,
        "'{}' takes [N,{},H,W], received {}; images must be floating, for their channels see EncoderOptions::n_in",
        info().name,
        info().n_in,
        describe(x));
    try {
      return script_.forward({x}).toTensor();
    } catch (const std::exception& e) {
      throw Error(fmt::format("[{}] '{}' fails for {}: {}", here, info().name, describe(x), reason(e)));
    }
  }

 private:
  torch::jit::Module script_;
};

Script load_script(const std::string& path, const EncoderOptions& options) {
  read_file(path, kHere); // says what is wrong with a path in this library's words
  torch::jit::ExtraFilesMap extra{{"barlow.json", ""}};
  Script script;
  try {
    script.module = torch::jit::load(path, torch::kCPU, extra);
  } catch (const std::exception& e) {
    throw FileError(
        fmt::format(
            "[{}] '{}' holds no TorchScript module: {}; examples/export_encoder.py writes one",
            kHere,
            path,
            reason(e)));
  }
  script.info.name = path;
  script.info.n_in = options.n_in;
  const auto told = nlohmann::json::parse(extra["barlow.json"], nullptr, /*allow_exceptions=*/false);
  if (told.is_object()) {
    const auto n_in = told.value("n_in", options.n_in);
    check(
        n_in == options.n_in,
        kHere,
        "'{}' was exported for n_in = {}, received {}; export it again with --n-in {}",
        path,
        n_in,
        options.n_in,
        options.n_in);
    script.info.input_size = told.value("input_size", script.info.input_size);
  }
  return script;
}

int64_t probe_features(Script& script) {
  const torch::NoGradGuard no_grad;
  script.module.eval();
  const auto& info = script.info;
  torch::IValue y;
  try {
    y = script.module.forward({torch::zeros({2, info.n_in, info.input_size, info.input_size})});
  } catch (const std::exception& e) {
    throw FileError(
        fmt::format(
            "[{}] '{}' does not take an image [2,{},{},{}]: {}; see EncoderOptions::n_in",
            kHere,
            info.name,
            info.n_in,
            info.input_size,
            info.input_size,
            reason(e)));
  }
  const bool features = y.isTensor() && y.toTensor().dim() == 2 && y.toTensor().size(0) == 2;
  check<FileError>(
      features,
      kHere,
      "'{}' must give features [N,F], received {}; export it without a classifier and with pooling",
      info.name,
      y.isTensor() ? describe(y.toTensor()) : "a " + y.tagKind());
  return y.toTensor().size(1);
}

} // namespace

bool is_script_file(const std::string& name) {
  return name.size() > 3 && name.compare(name.size() - 3, 3, ".pt") == 0;
}

Encoder import_encoder(const std::string& path, const EncoderOptions& options) {
  auto script = load_script(path, options);
  script.info.num_features = probe_features(script);
  return Encoder(ImportedEncoderImpl::make(std::move(script)));
}

} // namespace barlow
