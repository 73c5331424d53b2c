// SPDX-License-Identifier: Apache-2.0
#include "arguments.h"

#include <algorithm>

#include <torch/torch.h>

#include "nearest.h"

namespace barlow::cli {
namespace {

std::vector<std::string> long_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

// "--[no-]flip" for a flag that can be taken back.
class Formatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    const auto& names = option->get_fnames();
    return names.empty()                   ? CLI::Formatter::make_option_name(option, positional)
        : option->get_lnames().size() == 1 ? "--" + names[0]
                                           : "--[no-]" + option->get_lnames()[0];
  }
};

std::string command_of(const CLI::App& app) {
  return app.get_name();
}

std::string unknown(const CLI::App& app, const std::string& argument) {
  const auto option = argument.substr(0, argument.find('='));
  if (!option.starts_with('-')) {
    return fmt::format("[{}] takes no further argument, received '{}'", command_of(app), argument);
  }
  return fmt::format(
      "[{}] unknown option '{}'; did you mean '{}'?", command_of(app), option, nearest(option, long_names(app)));
}

} // namespace

std::unique_ptr<CLI::App> make_app(const std::string& command, const std::string& what, const std::string& example) {
  auto app = std::make_unique<CLI::App>(what, "barlow " + command);
  app->footer("Example:\n  " + example);
  app->allow_config_extras(CLI::config_extras_mode::error);
  const auto formatter = std::make_shared<Formatter>();
  formatter->column_width(34);
  app->formatter(formatter);
  return app;
}

void parse(CLI::App& app, const Arguments& arguments) {
  Arguments reversed(arguments.rbegin(), arguments.rend()); // as CLI11 takes them
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    throw HelpAsked(app.help());
  } catch (const CLI::ExtrasError&) {
    throw UsageError(unknown(app, app.remaining().front()));
  } catch (const CLI::ConfigError& e) {
    const std::string text = e.what(); // "INI was not able to parse KEY"
    const auto key = "--" + text.substr(text.rfind(' ') + 1);
    throw UsageError(
        fmt::format(
            "[{}] the configuration has an unknown key '{}'; did you mean '{}'?",
            command_of(app),
            key.substr(2),
            nearest(key, long_names(app)).substr(2)));
  } catch (const CLI::ParseError& e) {
    throw UsageError(fmt::format("[{}] {}", command_of(app), e.what()));
  }
}

CLI::Option* add_flag(CLI::App& app, const std::string& name, bool& field, const std::string& what) {
  return app.add_flag(fmt::format("--{0},!--no-{0}", name), field, what)->default_str(field ? "true" : "false");
}

CLI::Option* only(CLI::Option* option, const std::vector<std::string>& words) {
  auto is_one = CLI::IsMember(words);
  is_one.description("");
  return option->check(is_one)->type_name(fmt::format("{}", fmt::join(words, "|")));
}

CLI::Option* add_device(CLI::App& app, std::string& device) {
  return app.add_option("--device", device, "cpu, cuda, cuda:1 ...; without it CUDA if there is one, else the CPU");
}

at::Device device_of(const std::string& name) {
  if (name.empty()) {
    return torch::cuda::is_available() ? at::kCUDA : at::kCPU;
  }
  const auto device = [&] {
    try {
      return at::Device(name);
    } catch (const c10::Error&) {
      throw UsageError(fmt::format("[--device] there is no device '{}'; take cpu, cuda or cuda:NUMBER", name));
    }
  }();
  const auto there = static_cast<at::DeviceIndex>(torch::cuda::device_count());
  const at::DeviceIndex index = device.has_index() ? device.index() : at::DeviceIndex{0};
  if (device.is_cuda() && index >= there) {
    throw UsageError(
        fmt::format("[--device] '{}' is not there: CUDA has {} devices here; `barlow doctor` says why", name, there));
  }
  return device;
}

} // namespace barlow::cli
