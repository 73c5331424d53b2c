// SPDX-License-Identifier: Apache-2.0
#include "config_file.h"

#include <yaml-cpp/yaml.h>

#include "arguments.h"

namespace barlow::cli {
namespace {

// CLI11 itself reads TOML.
class YamlConfig : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    const auto document = load(input);
    if (!document.IsMap()) {
      throw UsageError("[--config] a YAML file must be a map of options to values, as in `epochs: 20`");
    }
    std::vector<CLI::ConfigItem> read;
    read.reserve(document.size());
    for (const auto& entry : document) {
      if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
        const auto name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
        throw UsageError(fmt::format("[--config] '{}' must have one value, received a list, a map or nothing", name));
      }
      read.push_back({{}, entry.first.Scalar(), {entry.second.Scalar()}});
    }
    return read;
  }

 private:
  static YAML::Node load(std::istream& input) {
    try {
      return YAML::Load(input);
    } catch (const YAML::Exception& e) {
      throw UsageError(fmt::format("[--config] the file is no YAML: {}", e.what()));
    }
  }
};

} // namespace

CLI::Option* add_config(CLI::App& app) {
  auto* option = app.set_config("--config", "", "TOML or YAML file of these options; the command line's win");
  return option->type_name("FILE")->check([&app](const std::string& file) {
    if (file.ends_with(".yaml") || file.ends_with(".yml")) {
      app.config_formatter(std::make_shared<YamlConfig>());
    }
    return std::string(); // no objection
  });
}

} // namespace barlow::cli
