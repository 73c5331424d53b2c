// SPDX-License-Identifier: Apache-2.0
#include "config_file.h"

#include <sstream>

#include <yaml-cpp/yaml.h>

#include "arguments.h"

namespace barlow::cli {
namespace {

// Parsers may take time and memory of the square of a text's length.
std::string text_of(std::istream& input) {
  constexpr size_t kLongest = 1 << 16;
  std::string text(kLongest + 1, '\0');
  input.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(input.gcount()));
  if (text.size() > kLongest) {
    throw UsageError(fmt::format("[--config] the file has more than {} characters; it is no configuration", kLongest));
  }
  return text;
}

// CLI11 reads TOML; the tables that it makes options of subcommands are none here.
class TomlConfig : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::istringstream text(text_of(input));
    for (std::string line; std::getline(text, line);) {
      const auto first = line.find_first_not_of(" \t");
      if (first != std::string::npos && line[first] == '[') {
        throw UsageError(fmt::format("[--config] options stand in no table, received '{}'", line.substr(0, 100)));
      }
    }
    text.clear();
    text.seekg(0);
    return CLI::ConfigTOML::from_config(text);
  }
};

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
      return YAML::Load(text_of(input));
    } catch (const YAML::Exception& e) {
      throw UsageError(fmt::format("[--config] the file is no YAML: {}", e.what()));
    }
  }
};

} // namespace

CLI::Option* add_config(CLI::App& app) {
  app.config_formatter(std::make_shared<TomlConfig>());
  auto* option = app.set_config("--config", "", "TOML or YAML file of these options; the command line's win");
  return option->type_name("FILE")->check([&app](const std::string& file) {
    if (file.ends_with(".yaml") || file.ends_with(".yml")) {
      app.config_formatter(std::make_shared<YamlConfig>());
    }
    return std::string(); // no objection
  });
}

} // namespace barlow::cli
