// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <vector>

#include <fmt/ranges.h>

#include <barlow/feature_extractor.h>
#include <barlow/onnx.h>

#include "commands.h"

namespace barlow::cli {

int run_export(const Arguments& arguments) {
  std::string file, out;
  int64_t size = 0;
  const auto app = make_app(
      "export",
      "Writes an encoder as ONNX, for every language that has a runtime of it: input `images` [batch,C,size,size] in\n"
      "0..1, normalised with the mean and std in the file's metadata; output `features` [batch,F].",
      "barlow export run/encoder.safetensors encoder.onnx");
  app->add_option("encoder", file, "File of an encoder, as pretrain writes it")->required();
  app->add_option("out", out, "The ONNX file; without it beside the encoder");
  app->add_option("--size", size, "Pixels a side; without it those it was trained on");
  parse(*app, arguments);

  const FeatureExtractor features(file, {.device = at::Device(at::kCPU)});
  if (out.empty()) {
    out = std::filesystem::path(file).replace_extension(".onnx").string();
  }
  OnnxOptions options{.size = size > 0 ? size : features.size()};
  for (const auto& [key, value] : features.metadata()) {
    if (key != "format") {
      options.metadata.emplace(key, value);
    }
  }
  if (!features.stats()) { // trained on pixels in 0..1 as they are
    const auto each = [&](double value) {
      return fmt::format(
          "{}", fmt::join(std::vector<double>(static_cast<size_t>(features.encoder->n_in()), value), " "));
    };
    options.metadata.emplace("mean", each(0));
    options.metadata.emplace("std", each(1));
  }
  export_onnx(features.encoder, out, options);
  fmt::print(
      "{}, [batch,{},{},{}] -> [batch,{}], opset {}\n",
      out,
      features.encoder->n_in(),
      options.size,
      options.size,
      features.encoder->num_features(),
      kOnnxOpset);
  return 0;
}

} // namespace barlow::cli
