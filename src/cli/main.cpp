// SPDX-License-Identifier: Apache-2.0
// The program: from a folder of images to a pretrained, evaluated, exported encoder, without a line of code.
#include <array>
#include <cstdio>
#include <exception>

#include <fmt/format.h>

#include <barlow/callback.h>
#include <barlow/error.h>

#include "commands.h"
#include "nearest.h"

namespace barlow::cli {
namespace {

struct Command {
  const char* name;
  const char* what;
  int (*run)(const Arguments&);
};

constexpr std::array kCommands{
    Command{"pretrain", "train an encoder on a folder of images, without labels", run_pretrain},
    Command{"evaluate", "accuracy of neighbours and of a linear classifier on an encoder's features", run_evaluate},
    Command{"finetune", "train a classifier on top of an encoder", run_finetune},
    Command{"embed", "features of images, to .npy or .safetensors", run_embed},
    Command{"export", "an encoder as ONNX", run_export},
    Command{"views", "draw what the augmentations do to images", run_views},
    Command{"encoders", "list the networks", run_encoders},
    Command{"lr-find", "look for a learning rate", run_lr_find},
    Command{"report", "one HTML page of a run", run_report},
    Command{"doctor", "what is there to compute with, what is missing, how to get it", run_doctor},
};

std::string usage() {
  std::string text = "Barlow Twins: image encoders from unlabelled images\n\n  barlow COMMAND [OPTIONS]\n\nCommands:\n";
  for (const auto& command : kCommands) {
    text += fmt::format("  {:<10} {}\n", command.name, command.what);
  }
  return text +
      "\n`barlow COMMAND --help` says more. To begin with:\n  barlow pretrain photos --out run\n"
      "  barlow evaluate run/encoder.safetensors photos\n";
}

int run(const Arguments& all) {
  constexpr int kUsage = 2;
  if (all.empty() || all[0] == "--help" || all[0] == "-h" || all[0] == "help") {
    fmt::print("{}", usage());
    return all.empty() ? kUsage : 0;
  }
  if (all[0] == "--version") {
    fmt::print("barlow " BARLOW_VERSION "\n");
    return 0;
  }
  std::vector<std::string> names;
  names.reserve(kCommands.size());
  for (const auto& command : kCommands) {
    if (all[0] == command.name) {
      return command.run({all.begin() + 1, all.end()});
    }
    names.emplace_back(command.name);
  }
  throw UsageError(
      fmt::format(
          "[barlow] unknown command '{}'; did you mean '{}'? `barlow --help` lists them",
          all[0],
          nearest(all[0], names)));
}

} // namespace
} // namespace barlow::cli

int main(int argc, char** argv) try {
  return barlow::cli::run({argv + 1, argv + argc});
} catch (const barlow::cli::HelpAsked& help) {
  std::fputs(help.what(), stdout);
  return 0;
} catch (const barlow::cli::UsageError& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 2;
} catch (const barlow::Interrupted& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return barlow::kExitInterrupted;
} catch (const c10::Error& e) { // LibTorch's own, without its stack trace
  std::fprintf(stderr, "error: %s\n", e.what_without_backtrace());
  return 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
