// SPDX-License-Identifier: Apache-2.0
#include "misuse.h"

#include <typeinfo>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <barlow/error.h>

namespace barlow::testing {

using torch::Tensor;
namespace fs = std::filesystem;

namespace {

// The text of the Error, or what happens instead.
std::string outcome(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  } catch (const c10::Error& e) {
    return fmt::format("c10::Error: {}", e.what_without_backtrace());
  } catch (const std::exception& e) {
    return fmt::format("{}: {}", typeid(e).name(), e.what());
  } catch (...) {
    return "something that is no std::exception";
  }
  return "no error";
}

void expect_refusal(
    const std::string& name,
    const std::string& what,
    const std::function<void()>& call,
    const Here& here) {
  const auto text = outcome(call);
  if (!text.starts_with("[" + name + "] ")) {
    ADD_FAILURE_AT(here.file_name(), static_cast<int>(here.line())) << what << ": [" << name << "] ... expected\n"
                                                                    << text;
  }
}

} // namespace

void refuses(const std::string& name, const std::function<void()>& call, const Here& here) {
  expect_refusal(name, "the call", call, here);
}

// --- tensors

BadTensors operator+(BadTensors some, const BadTensors& others) {
  some.insert(some.end(), others.begin(), others.end());
  return some;
}

BadTensors other_kinds(const Tensor& good) {
  return {
      {"undefined", {}},
      {"of int64", good.to(torch::kLong)},
      {"of bool", good.to(torch::kBool)},
      {"complex", good.to(torch::kComplexFloat)},
      {"without data", good.to(torch::kMeta)}};
}

BadTensors other_shapes(const Tensor& good) {
  const auto channels = good.dim() - 3;
  return {
      {"of a dimension less", good[0]},
      {"of a dimension more", good.unsqueeze(0)},
      {"without channels", good.narrow(channels, 0, 0)},
      {"without pixels", good.narrow(channels + 1, 0, 0)}};
}

BadTensors other_rows(const Tensor& good) {
  return other_kinds(good) +
      BadTensors{
          {"of one dimension", good[0]},
          {"of three dimensions", good.unsqueeze(0)},
          {"without rows", good.narrow(0, 0, 0)},
          {"without features", good.narrow(1, 0, 0)},
          {"with NaN", good / 0 * 0}};
}

BadTensors other_labels(const Tensor& good) {
  return {
      {"undefined", {}},
      {"of float", good.to(torch::kFloat)},
      {"of int32", good.to(torch::kInt)},
      {"of bool", good.to(torch::kBool)},
      {"of two dimensions", good.unsqueeze(1)},
      {"one too few", good.narrow(0, 1, good.size(0) - 1)},
      {"none", good.narrow(0, 0, 0)},
      {"without data", good.to(torch::kMeta)}};
}

void refuses(
    const std::string& name,
    const BadTensors& bad,
    const std::function<void(const Tensor&)>& call,
    const Here& here) {
  for (const auto& [what, x] : bad) {
    expect_refusal(name, "a tensor " + what, [&call, &y = x] { call(y); }, here);
  }
}

// --- numbers

void refuses(
    const std::string& name,
    const std::vector<double>& bad,
    const std::function<void(double)>& call,
    const Here& here) {
  for (const double x : bad) {
    expect_refusal(name, fmt::format("{}", x), [&] { call(x); }, here);
  }
}

// --- paths

Paths::Paths() {
  fs::create_directory(folder);
  write_bytes(empty, "");
  write_bytes(text, "neither an image nor weights nor anything else that is read here");
}

const Paths& paths() {
  static const Paths all;
  return all;
}

void refuses_to_read(const std::string& name, const PathFunction& read, const Here& here) {
  for (const auto& path : {paths().missing, paths().folder, paths().empty, paths().text, paths().too_long}) {
    expect_refusal(name, path.filename().string(), [&] { read(path); }, here);
  }
}

void refuses_to_write(const std::string& name, const PathFunction& write, const Here& here) {
  for (const auto& path : {paths().folder, paths().below_a_file}) {
    expect_refusal(name, path.string(), [&] { write(path); }, here);
  }
}

// --- encoders

namespace {

class Free : public EncoderImpl {
 public:
  Free(Network network, int64_t n_in, int64_t num_features)
      : EncoderImpl({.name = "free", .n_in = n_in, .num_features = num_features, .input_size = 2}),
        network_(std::move(network)) {}
  Tensor forward(const Tensor& x) override {
    return network_(x);
  }

 private:
  Network network_;
};

Encoder evaluating(const std::string& name) {
  auto encoder = create_encoder(name, {.n_in = 1, .pool_type = std::nullopt});
  encoder->eval();
  return encoder;
}

} // namespace

Encoder free_encoder(Network network, int64_t n_in, int64_t num_features) {
  return Encoder(std::make_shared<Free>(std::move(network), n_in, num_features));
}

void refuses_broken_encoders(
    const std::string& name,
    const std::function<void(const Encoder&)>& use,
    const Here& here) {
  const auto given = [&](const char* what, const Network& network) {
    expect_refusal(name, what, [&] { use(free_encoder(network)); }, here);
  };
  given("an encoder that gives nothing", [](const Tensor&) { return Tensor(); });
  given("an encoder that does not pool", [](const Tensor& x) { return x * 1; });
  given("an encoder of another width", [](const Tensor& x) { return x.flatten(1).narrow(1, 0, 3); });
  given("an encoder that loses rows", [](const Tensor& x) { return x.flatten(1).narrow(0, 0, 1); });
}

const Encoder& xresnet18() {
  static const Encoder encoder = evaluating("xresnet18");
  return encoder;
}

const Encoder& small_vit() {
  static const Encoder encoder = evaluating(kSmallVit);
  return encoder;
}

} // namespace barlow::testing
