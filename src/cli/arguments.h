// SPDX-License-Identifier: Apache-2.0
// What the commands of the program share: parsing with suggestions, options of a few choices, the device.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/ranges.h>
#include <torch/types.h>
#include <CLI/CLI.hpp>

#include "names.h"

namespace barlow::cli {

using Arguments = std::vector<std::string>; ///< of a command, without its name

/// Arguments that the command does not take; the text says what to write instead.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// --help was asked for; the text is the help.
class HelpAsked : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An application for "barlow COMMAND", whose help ends with an example.
std::unique_ptr<CLI::App> make_app(const std::string& command, const std::string& what, const std::string& example);

/// Throws UsageError, naming the nearest option for an unknown one, and HelpAsked.
void parse(CLI::App& app, const Arguments& arguments);

// Options whose defaults are shown: of a value, of a positive number, of a flag that --no-NAME takes back, of one word
// of a list, of one of an enum's words.

template <class T>
CLI::Option* add(CLI::App& app, const std::string& name, T& field, const std::string& what) {
  return app.add_option(name, field, what)->capture_default_str();
}

template <class T>
CLI::Option* add_positive(CLI::App& app, const std::string& name, T& field, const std::string& what) {
  return add(app, name, field, what)->check(CLI::PositiveNumber);
}

CLI::Option* add_flag(CLI::App& app, const std::string& name, bool& field, const std::string& what);

/// Only one of these words is taken.
CLI::Option* only(CLI::Option* option, const std::vector<std::string>& words);

template <class E>
CLI::Option* add_choice(CLI::App& app, const std::string& name, E& value, const std::string& what) {
  auto* option = app.add_option_function<std::string>(
      name, [&value](const std::string& word) { value = *value_of<E>(word); }, what);
  const auto& words = Names<E>::words;
  return only(option, {words.begin(), words.end()})->default_str(word_of(value));
}

CLI::Option* add_device(CLI::App& app, std::string& device);

/// "" means CUDA if there is one, else the CPU. Throws UsageError for a name that is none, or a device that is not
/// there.
at::Device device_of(const std::string& name);

} // namespace barlow::cli
