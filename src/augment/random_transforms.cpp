// SPDX-License-Identifier: Apache-2.0
#include <barlow/augment/random_transforms.h>

#include <climits>
#include <cmath>
#include <optional>

#include "../check.h"

namespace barlow {

using at::Tensor;
using Rows = std::vector<std::vector<double>>;
using Row = std::vector<double>;

namespace {

void check_probability(double p, std::string_view name) {
  check(p >= 0 && p <= 1, name, "p must be in [0, 1], received {}", p);
}

void check_range(const Range& r, double lowest, double highest, const char* name, const char* what) {
  check(
      lowest <= r.first && r.first <= r.second && r.second <= highest && std::isfinite(r.first) &&
          std::isfinite(r.second),
      name,
      "{} must be {} <= low <= high{}, received ({}, {})",
      what,
      lowest,
      std::isfinite(highest) ? fmt::format(" <= {}", highest) : "",
      r.first,
      r.second);
}

constexpr double kTiny = 1e-12, kNoLimit = HUGE_VAL; // kTiny: more than 0

void check_box_options(const Range& scale, const Range& ratio, const char* name) {
  check_range(scale, kTiny, 1, name, "scale");
  check_range(ratio, kTiny, kNoLimit, name, "ratio");
}

// What each sample's row says, a row without numbers meaning nothing.
template <class F>
auto each(const Rows& drawn, size_t numbers, const std::string& name, const F& f) {
  std::vector<decltype(f(drawn[0]))> parameters;
  for (const auto& row : drawn) {
    check(row.empty() || row.size() == numbers, name, "a sample has {} parameters, received {}", numbers, row.size());
    parameters.push_back(f(row));
  }
  return parameters;
}

// A number of pixels or of turns, as a row holds it.
int64_t whole(double value, const std::string& name) {
  check(
      std::trunc(value) == value && std::abs(value) <= INT_MAX,
      name,
      "a sample's pixels and turns are whole numbers, received {}",
      value);
  return static_cast<int64_t>(value);
}

int64_t rounded(double x) {
  return std::lrint(x); // half to even
}

// A box of random area and aspect, uniform in place, if one of ten fits. Draws area, aspect, top, left.
std::optional<Box>
draw_box(KeyedRandom& random, int64_t height, int64_t width, const Range& scale, const Range& ratio) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = static_cast<double>(height * width) * random.uniform(scale.first, scale.second);
    const double aspect = std::exp(random.uniform(std::log(ratio.first), std::log(ratio.second)));
    const int64_t w = rounded(std::sqrt(area * aspect)), h = rounded(std::sqrt(area / aspect));
    if (0 < w && w <= width && 0 < h && h <= height) {
      const int64_t top = random.below(height - h + 1);
      return Box{top, random.below(width - w + 1), h, w};
    }
  }
  return std::nullopt;
}

Box largest_centred_box(int64_t height, int64_t width, const Range& ratio) {
  const auto h0 = static_cast<double>(height), w0 = static_cast<double>(width);
  int64_t h = height, w = width;
  if (w0 / h0 < ratio.first) {
    h = rounded(w0 / ratio.first);
  } else if (w0 / h0 > ratio.second) {
    w = rounded(h0 * ratio.second);
  }
  return {(height - h) / 2, (width - w) / 2, h, w};
}

Row row_of(const Box& box) {
  return {
      static_cast<double>(box.top),
      static_cast<double>(box.left),
      static_cast<double>(box.height),
      static_cast<double>(box.width)};
}

Box box_of(const Row& row, const std::string& name) {
  return {whole(row[0], name), whole(row[1], name), whole(row[2], name), whole(row[3], name)};
}

} // namespace

RandomFlag::RandomFlag(std::string name, double p, int order, bool same_on_batch)
    : RandomTransform(std::move(name), order, same_on_batch), p_(p) {
  check_probability(p, this->name());
}

Row RandomFlag::draw(KeyedRandom& random, int64_t, int64_t) const {
  return {random.bernoulli(p_) ? 1. : 0.};
}

std::vector<bool> RandomFlag::flags(const Rows& drawn) const {
  return each(drawn, 1, name(), [](const Row& row) { return !row.empty() && row[0] != 0; });
}

// --- geometry

RandomResizedCrop::RandomResizedCrop(int64_t size, const CropOptions& options)
    : RandomTransform("RandomResizedCrop", 0, options.same_on_batch), size_(size), options_(options) {
  check(size >= 1, "RandomResizedCrop", "size must be at least 1, received {}", size);
  check_box_options(options.scale, options.ratio, "RandomResizedCrop");
}

Row RandomResizedCrop::draw(KeyedRandom& random, int64_t height, int64_t width) const {
  const auto box = draw_box(random, height, width, options_.scale, options_.ratio);
  return row_of(box ? *box : largest_centred_box(height, width, options_.ratio));
}

Tensor RandomResizedCrop::apply(const Tensor& x, const Rows& drawn) const {
  check(x.defined() && x.dim() == 4, name(), "images must be [N,C,H,W], received {}", describe(x));
  const Box all{0, 0, x.size(2), x.size(3)};
  const auto boxes = each(drawn, 4, name(), [&](const Row& row) { return row.empty() ? all : box_of(row, name()); });
  return resized_crop(x, boxes, size_, options_.resize);
}

RandomHorizontalFlip::RandomHorizontalFlip(double p) : RandomFlag("RandomHorizontalFlip", p) {}

Tensor RandomHorizontalFlip::apply(const Tensor& x, const Rows& drawn) const {
  return horizontal_flip(x, flags(drawn));
}

RandomVerticalFlip::RandomVerticalFlip(double p) : RandomFlag("RandomVerticalFlip", p) {}

Tensor RandomVerticalFlip::apply(const Tensor& x, const Rows& drawn) const {
  return vertical_flip(x, flags(drawn));
}

RandomRotate90::RandomRotate90(double p) : RandomTransform("RandomRotate90"), p_(p) {
  check_probability(p, "RandomRotate90");
}

Row RandomRotate90::draw(KeyedRandom& random, int64_t, int64_t) const {
  return random.bernoulli(p_) ? Row{static_cast<double>(1 + random.below(3))} : Row{};
}

Tensor RandomRotate90::apply(const Tensor& x, const Rows& drawn) const {
  return rotate90(x, each(drawn, 1, name(), [&](const Row& row) { return row.empty() ? 0 : whole(row[0], name()); }));
}

Rotate::Rotate(const RotateOptions& options) : RandomTransform("Rotate", 30, options.same_on_batch), options_(options) {
  check_probability(options.p, "Rotate");
  check(
      options.max_deg >= 0 && options.max_deg <= 180,
      "Rotate",
      "max_deg must be in [0, 180] degrees, received {}",
      options.max_deg);
}

Row Rotate::draw(KeyedRandom& random, int64_t, int64_t) const {
  return random.bernoulli(options_.p) ? Row{random.uniform(-options_.max_deg, options_.max_deg)} : Row{};
}

Tensor Rotate::apply(const Tensor& x, const Rows& drawn) const {
  return rotate(x, each(drawn, 1, name(), [](const Row& row) { return row.empty() ? 0. : row[0]; }), options_.rule);
}

RandomErasing::RandomErasing(const ErasingOptions& options) : RandomTransform("RandomErasing", 100), options_(options) {
  check_probability(options.p, "RandomErasing");
  check_box_options(options.scale, options.ratio, "RandomErasing");
  check(std::isfinite(options.value), "RandomErasing", "value must be finite, received {}", options.value);
}

Row RandomErasing::draw(KeyedRandom& random, int64_t height, int64_t width) const {
  if (!random.bernoulli(options_.p)) {
    return {};
  }
  const auto box = draw_box(random, height, width, options_.scale, options_.ratio);
  return box ? row_of(*box) : Row{};
}

Tensor RandomErasing::apply(const Tensor& x, const Rows& drawn) const {
  const auto boxes =
      each(drawn, 4, name(), [&](const Row& row) { return row.empty() ? std::optional<Box>() : box_of(row, name()); });
  return erase(x, boxes, options_.value);
}

// --- colour

ColorJitter::ColorJitter(const JitterOptions& options)
    : RandomTransform("ColorJitter", 0, options.same_on_batch), options_(options) {
  check_probability(options.p, "ColorJitter");
  for (const double v : {options.brightness, options.contrast, options.saturation}) {
    check(std::isfinite(v) && v >= 0, "ColorJitter", "a strength must be finite and not negative, received {}", v);
  }
  check(
      options.hue >= 0 && options.hue <= .5, "ColorJitter", "hue must be in [0, 0.5] turns, received {}", options.hue);
}

Row ColorJitter::draw(KeyedRandom& random, int64_t, int64_t) const {
  if (!random.bernoulli(options_.p)) {
    return {};
  }
  const auto factor = [&](double v) { return random.uniform(std::max(1 - v, 0.), 1 + v); };
  Row row{factor(options_.brightness), factor(options_.contrast), factor(options_.saturation)};
  row.push_back(random.uniform(-options_.hue, options_.hue));
  std::array<double, 4> order{0, 1, 2, 3};
  for (int64_t i = 3; i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.below(i + 1))]);
  }
  row.insert(row.end(), order.begin(), order.end());
  return row;
}

Tensor ColorJitter::apply(const Tensor& x, const Rows& drawn) const {
  const auto jitter = each(drawn, 8, name(), [&](const Row& row) -> std::optional<Jitter> {
    if (row.empty()) {
      return std::nullopt;
    }
    Jitter j{.brightness = row[0], .contrast = row[1], .saturation = row[2], .hue = row[3]};
    std::transform(row.begin() + 4, row.end(), j.order.begin(), [&](double step) {
      return static_cast<int>(whole(step, name()));
    });
    return j;
  });
  return color_jitter(x, jitter, options_.rule);
}

RandomGrayscale::RandomGrayscale(double p, bool same_on_batch, ColorRule rule)
    : RandomFlag("RandomGrayscale", p, 0, same_on_batch), rule_(rule) {}

Tensor RandomGrayscale::apply(const Tensor& x, const Rows& drawn) const {
  return grayscale(x, flags(drawn), rule_);
}

RandomSolarize::RandomSolarize(double p, double threshold, int order)
    : RandomFlag("RandomSolarize", p, order), threshold_(threshold) {
  check(threshold >= 0 && threshold <= 1, "RandomSolarize", "threshold must be in [0, 1], received {}", threshold);
}

Tensor RandomSolarize::apply(const Tensor& x, const Rows& drawn) const {
  constexpr double kNone = 2; // no pixel reaches it
  std::vector<double> thresholds;
  for (const bool flag : flags(drawn)) {
    thresholds.push_back(flag ? threshold_ : kNone);
  }
  return solarize(x, thresholds);
}

RandomEqualize::RandomEqualize(double p) : RandomFlag("RandomEqualize", p) {}

Tensor RandomEqualize::apply(const Tensor& x, const Rows& drawn) const {
  return equalize(x, flags(drawn));
}

RandomGamma::RandomGamma(Range gamma, double p) : RandomTransform("RandomGamma"), gamma_(gamma), p_(p) {
  check_probability(p, "RandomGamma");
  check_range(gamma, kTiny, kNoLimit, "RandomGamma", "gamma");
}

Row RandomGamma::draw(KeyedRandom& random, int64_t, int64_t) const {
  return random.bernoulli(p_) ? Row{std::exp(random.uniform(std::log(gamma_.first), std::log(gamma_.second)))} : Row{};
}

Tensor RandomGamma::apply(const Tensor& x, const Rows& drawn) const {
  return adjust_gamma(x, each(drawn, 1, name(), [](const Row& row) { return row.empty() ? 1. : row[0]; }));
}

RandomWindow::RandomWindow(const WindowOptions& options) : RandomTransform("RandomWindow"), options_(options) {
  check_range(options.center, -kNoLimit, kNoLimit, "RandomWindow", "center");
  check_range(options.width, kTiny, kNoLimit, "RandomWindow", "width");
}

Row RandomWindow::draw(KeyedRandom& random, int64_t, int64_t) const {
  const double center = random.uniform(options_.center.first, options_.center.second);
  const double width = random.uniform(options_.width.first, options_.width.second);
  return {center - width / 2, center + width / 2};
}

Tensor RandomWindow::apply(const Tensor& x, const Rows& drawn) const {
  return apply_window(
      x, each(drawn, 2, name(), [](const Row& row) { return row.empty() ? Window() : Window{row[0], row[1]}; }));
}

Normalize::Normalize(Stats stats) : RandomTransform("Normalize", 99), stats_(std::move(stats)) {
  check(
      !stats_.mean.empty() && stats_.mean.size() == stats_.std.size(),
      "Normalize",
      "mean and std must have one entry a channel, received {} and {}",
      stats_.mean.size(),
      stats_.std.size());
  for (size_t c = 0; c < stats_.std.size(); ++c) {
    check(
        std::isfinite(stats_.mean[c]) && std::isfinite(stats_.std[c]) && stats_.std[c] > 0,
        "Normalize",
        "mean and std must be finite, std positive, received {} and {}",
        stats_.mean[c],
        stats_.std[c]);
  }
}

Tensor Normalize::apply(const Tensor& x, const Rows&) const {
  return normalize(x, stats_.mean, stats_.std);
}

Tensor Normalize::decode(const Tensor& x) const {
  return denormalize(x, stats_.mean, stats_.std);
}

// --- filters and noise

RandomGaussianBlur::RandomGaussianBlur(const BlurOptions& options)
    : RandomTransform("RandomGaussianBlur", 11), options_(options) {
  constexpr auto here = "RandomGaussianBlur";
  check_probability(options.p, here);
  check_range(options.sigma, kTiny, kNoLimit, here, "sigma");
  check(
      options.kernel == 0 || (options.kernel > 0 && options.kernel % 2 == 1),
      here,
      "kernel must be odd, or 0 to follow sigma, received {}",
      options.kernel);
}

RandomGaussianBlur RandomGaussianBlur::boxlike(std::pair<int64_t, int64_t> s, double p) {
  check(
      1 <= s.first && s.first < s.second,
      "RandomGaussianBlur",
      "s must be 1 <= low < high, received ({}, {})",
      s.first,
      s.second);
  RandomGaussianBlur blur({.p = p, .sigma = {static_cast<double>(s.first), static_cast<double>(s.second)}});
  blur.boxlike_ = true;
  return blur;
}

Row RandomGaussianBlur::draw(KeyedRandom& random, int64_t, int64_t) const {
  if (!random.bernoulli(options_.p)) {
    return {};
  }
  const auto [low, high] = options_.sigma;
  if (boxlike_) {
    const auto first = static_cast<int64_t>(low);
    const int64_t s = first + random.below(static_cast<int64_t>(high) - first);
    const int64_t kernel = 2 * (s / 4) + 1;
    return {static_cast<double>(kernel), static_cast<double>(s)};
  }
  const double sigma = random.uniform(low, high);
  return {options_.kernel > 0 ? static_cast<double>(options_.kernel) : 2 * std::ceil(3 * sigma) + 1, sigma};
}

Tensor RandomGaussianBlur::apply(const Tensor& x, const Rows& drawn) const {
  return gaussian_blur(x, each(drawn, 2, name(), [&](const Row& row) {
                         return row.empty() ? Blur() : Blur{whole(row[0], name()), row[1]};
                       }));
}

RandomNoise::RandomNoise(const NoiseOptions& options) : RandomTransform("RandomNoise", 40), options_(options) {
  check_probability(options.p, "RandomNoise");
  check_range(options.sigma, 0, kNoLimit, "RandomNoise", "sigma");
}

Row RandomNoise::draw(KeyedRandom& random, int64_t, int64_t) const {
  if (!random.bernoulli(options_.p)) {
    return {};
  }
  constexpr int64_t kKeys = int64_t{1} << 53; // what a double holds exactly
  const double sigma = random.uniform(options_.sigma.first, options_.sigma.second);
  return {sigma, static_cast<double>(random.below(kKeys))};
}

Tensor RandomNoise::apply(const Tensor& x, const Rows& drawn) const {
  return gaussian_noise(x, each(drawn, 2, name(), [](const Row& row) {
                          return row.empty() ? Noise() : Noise{row[0], static_cast<uint64_t>(row[1])};
                        }));
}

// --- yours

namespace {

class FunctionTransform : public Transform {
 public:
  FunctionTransform(std::string name, std::function<Tensor(const Tensor&)> function, int order)
      : name_(std::move(name)), function_(std::move(function)), order_(order) {
    check(function_ != nullptr, "make_transform", "the function of '{}' is empty", name_);
  }
  std::string name() const override {
    return name_;
  }
  int order() const override {
    return order_;
  }
  Tensor apply(const Tensor& x, const Rows&) const override {
    return function_(x);
  }

 private:
  std::string name_;
  std::function<Tensor(const Tensor&)> function_;
  int order_;
};

} // namespace

TransformPtr make_transform(std::string name, std::function<Tensor(const Tensor&)> function, int order) {
  return std::make_shared<FunctionTransform>(std::move(name), std::move(function), order);
}

} // namespace barlow
