// SPDX-License-Identifier: Apache-2.0
// The words for enumerators: in files, recipes and the program's options.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include <barlow/recipe.h>

namespace barlow {

/// `words`, in the order of the enumerators.
template <class E>
struct Names;

template <>
struct Names<PoolingType> {
  static constexpr std::array words{"fast", "avg", "avgmax", "catavgmax", "max"};
};
template <>
struct Names<StemType> {
  static constexpr std::array words{"network", "small", "small-padded", "small-linear"};
};
template <>
struct Names<RecipeViews> {
  static constexpr std::array words{"documented", "paper", "solo-learn-cifar", "lightly-cifar", "gray"};
};
template <>
struct Names<RecipeRate::Kind> {
  static constexpr std::array words{"constant", "warmup-cosine", "cosine-by-epoch"};
};
template <>
struct Names<Ramp> {
  static constexpr std::array words{"authors", "solo-learn", "lightly"};
};
template <>
struct Names<ViewOrder> {
  static constexpr std::array words{"concatenated", "separate"};
};
template <>
struct Names<Precision> {
  static constexpr std::array words{"float32", "bfloat16", "float16"};
};

template <class E>
const char* word_of(E value) {
  return Names<E>::words.at(static_cast<size_t>(value));
}

template <class E>
std::optional<E> value_of(std::string_view word) {
  const auto& words = Names<E>::words;
  const auto found = std::find(words.begin(), words.end(), word);
  return found == words.end() ? std::nullopt : std::optional(static_cast<E>(found - words.begin()));
}

} // namespace barlow
