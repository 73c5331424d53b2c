// SPDX-License-Identifier: Apache-2.0
#include <barlow/picture.h>

#include <array>
#include <cmath>
#include <limits>

#include <torch/torch.h>

#include "check.h"

#if BARLOW_HAS_OPENCV
#include <opencv2/imgproc.hpp>
#endif

namespace barlow {

using torch::Tensor;

Tensor image_grid(const std::vector<Tensor>& tiles, int64_t columns) {
  constexpr auto here = "image_grid";
  constexpr int64_t kMargin = 4, kSmallest = 112;
  check(
      !tiles.empty() && columns >= 1,
      here,
      "there must be tiles and columns, received {} and {}",
      tiles.size(),
      columns);
  for (const auto& tile : tiles) {
    check(
        tile.dim() == 3 && tile.is_floating_point() && tile.numel() > 0 && !tile.is_meta() &&
            tile.sizes() == tiles[0].sizes(),
        here,
        "tiles must be floating [C,H,W] of one shape, with pixels, received {} and {}",
        describe(tiles[0]),
        describe(tile));
  }
  const int64_t shorter = std::min(tiles[0].size(1), tiles[0].size(2));
  const int64_t zoom = std::max<int64_t>(1, (kSmallest + shorter - 1) / shorter);
  const auto images = torch::stack(tiles)
                          .cpu()
                          .clamp(0, 1)
                          .mul(255)
                          .round()
                          .to(torch::kByte)
                          .repeat_interleave(zoom, 2)
                          .repeat_interleave(zoom, 3);
  const int64_t h = images.size(2) + kMargin, w = images.size(3) + kMargin;
  const int64_t rows = (images.size(0) + columns - 1) / columns;
  auto grid = torch::full({images.size(1), rows * h + kMargin, columns * w + kMargin}, 255, torch::kByte);
  for (int64_t i = 0; i < images.size(0); ++i) {
    grid.narrow(1, kMargin + i / columns * h, images.size(2))
        .narrow(2, kMargin + i % columns * w, images.size(3))
        .copy_(images[i]);
  }
  return grid;
}

namespace {

// red, green, blue
constexpr std::array<std::array<int, 3>, 10> kLabelColours{{
    {31, 119, 180},
    {255, 127, 14},
    {44, 160, 44},
    {214, 39, 40},
    {148, 103, 189},
    {140, 86, 75},
    {227, 119, 194},
    {127, 127, 127},
    {188, 189, 34},
    {23, 190, 207},
}};

} // namespace

#if BARLOW_HAS_OPENCV

namespace {

const cv::Scalar kInk(40, 40, 40), kGrid(225, 225, 225);
struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  double tick = 1;

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }

  // Widens to multiples of a round distance between ticks.
  void round() {
    if (high <= low) { // one value, in the middle
      const double margin = low == 0 ? 0.5 : std::abs(low) / 2;
      low -= margin;
      high += margin;
    }
    const double rough = (high - low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
    const double factor = rough / power;
    tick = power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
    low = std::floor(low / tick) * tick;
    high = std::ceil(high / tick) * tick;
  }

  double share(double value) const {
    return (value - low) / (high - low);
  }

  // Counted, since adding `tick` may change nothing.
  std::vector<double> ticks() const {
    std::vector<double> values;
    for (int64_t i = 0; i <= std::llround((high - low) / tick); ++i) {
      values.push_back(low + static_cast<double>(i) * tick);
    }
    return values;
  }
};

// The points of a curve that can be drawn.
std::vector<std::pair<double, double>> finite_points(const Curve& c) {
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < c.y.size(); ++i) {
    const double x = c.x.empty() ? static_cast<double>(i) : c.x[i];
    if (std::isfinite(x) && std::isfinite(c.y[i])) {
      points.emplace_back(x, c.y[i]);
    }
  }
  return points;
}

class Plot {
 public:
  Plot(Axis x, Axis y) : x_(x), y_(y), canvas_(kHeight, kWidth, CV_8UC3, cv::Scalar::all(255)) {}

  void frame(const std::string& x_label, const std::string& y_label) {
    for (const double v : x_.ticks()) {
      cv::line(canvas_, at(v, y_.low), at(v, y_.high), kGrid);
      text(fmt::format("{:g}", v), at(v, y_.low) + cv::Point(-8, 18));
    }
    for (const double v : y_.ticks()) {
      cv::line(canvas_, at(x_.low, v), at(x_.high, v), kGrid);
      text(fmt::format("{:g}", std::abs(v) < y_.tick / 2 ? 0 : v), at(x_.low, v) + cv::Point(-58, 5));
    }
    cv::line(canvas_, at(x_.low, y_.low), at(x_.high, y_.low), kInk);
    cv::line(canvas_, at(x_.low, y_.low), at(x_.low, y_.high), kInk);
    text(x_label, {kWidth / 2 - 20, kHeight - 12});
    text(y_label, {10, 22});
  }

  void curve(const Curve& c, size_t number) {
    const auto& [red, green, blue] = kLabelColours[number % kLabelColours.size()];
    const cv::Scalar colour(red, green, blue);
    std::vector<cv::Point> points;
    for (const auto& [x, y] : finite_points(c)) {
      points.push_back(at(x, y));
    }
    cv::polylines(canvas_, points, false, colour, 2, cv::LINE_AA);
    if (points.size() <= 30) {
      for (const auto& p : points) {
        cv::circle(canvas_, p, 3, colour, cv::FILLED, cv::LINE_AA);
      }
    }
    const int y = kTop + 18 + static_cast<int>(number) * 20;
    cv::line(canvas_, {kWidth - 180, y - 4}, {kWidth - 155, y - 4}, colour, 2, cv::LINE_AA);
    text(c.name, {kWidth - 148, y});
  }

  Tensor picture() const {
    return torch::from_blob(canvas_.data, {kHeight, kWidth, 3}, torch::kByte).permute({2, 0, 1}).clone();
  }

 private:
  static constexpr int kWidth = 800, kHeight = 480, kLeft = 76, kRight = 24, kTop = 36, kBottom = 56;

  cv::Point at(double x, double y) const {
    return {
        kLeft + static_cast<int>(std::lround(x_.share(x) * (kWidth - kLeft - kRight))),
        kHeight - kBottom - static_cast<int>(std::lround(y_.share(y) * (kHeight - kTop - kBottom)))};
  }

  void text(const std::string& words, cv::Point where) {
    cv::putText(canvas_, words, where, cv::FONT_HERSHEY_SIMPLEX, 0.45, kInk, 1, cv::LINE_AA);
  }

  Axis x_, y_;
  cv::Mat canvas_; // red first, as the tensors
};

} // namespace

Tensor draw_curves(const std::vector<Curve>& curves, const std::string& x_label, const std::string& y_label) {
  constexpr auto here = "draw_curves";
  Axis x, y;
  for (const auto& c : curves) {
    check(c.x.empty() || c.x.size() == c.y.size(), here, "'{}' has {} x for {} y", c.name, c.x.size(), c.y.size());
    for (const auto& [px, py] : finite_points(c)) {
      x.include(px);
      y.include(py);
    }
  }
  check(x.low <= x.high, here, "there is no finite point to draw of {} against {}", y_label, x_label);
  x.round();
  y.round();
  Plot plot(x, y);
  plot.frame(x_label, y_label);
  for (size_t i = 0; i < curves.size(); ++i) {
    plot.curve(curves[i], i);
  }
  return plot.picture();
}

#else

Tensor draw_curves(const std::vector<Curve>&, const std::string&, const std::string&) {
  throw Error("[draw_curves] this barlow was built without OpenCV; build it with -DBARLOW_WITH_OPENCV=ON");
}

#endif

void plot_curves(
    const std::filesystem::path& file,
    const std::vector<Curve>& curves,
    const std::string& x_label,
    const std::string& y_label) {
  write_png(file, draw_curves(curves, x_label, y_label));
}

Tensor draw_matrix(const Tensor& matrix) {
  constexpr int64_t kSide = 512;
  check(
      matrix.dim() == 2 && matrix.numel() > 0 && !matrix.is_complex() && !matrix.is_meta(),
      "draw_matrix",
      "a matrix must be [R,C] of real numbers, received {}",
      describe(matrix));
  auto m = matrix.to(torch::kCPU, torch::kFloat).unsqueeze(0).unsqueeze(0);
  if (std::max(m.size(2), m.size(3)) > kSide) {
    const std::array<int64_t, 2> to{std::min<int64_t>(m.size(2), kSide), std::min<int64_t>(m.size(3), kSide)};
    const auto highest = std::get<0>(at::adaptive_max_pool2d(m, to)),
               lowest = -std::get<0>(at::adaptive_max_pool2d(-m, to));
    m = at::where(highest.abs() >= lowest.abs(), highest, lowest);
  }
  const int64_t zoom = std::max<int64_t>(1, kSide / std::max(m.size(2), m.size(3)));
  m = m.squeeze(0).clamp(-1, 1).repeat_interleave(zoom, 1).repeat_interleave(zoom, 2);
  const auto fade = 1 - m.abs();
  const auto one = at::ones_like(m);
  const auto red = at::where(m < 0, fade, one), blue = at::where(m > 0, fade, one);
  return at::cat({red, fade, blue}).mul(255).round().to(torch::kByte);
}

Tensor draw_map(const Tensor& images, const Tensor& places, const Tensor& labels) {
  constexpr auto here = "draw_map";
  constexpr int64_t kSide = 900, kTile = 36, kFrame = 2;
  check(
      images.dim() == 4 && (images.size(1) == 1 || images.size(1) == 3) && images.is_floating_point() &&
          (images.numel() > 0 || images.size(0) == 0) && !images.is_meta(),
      here,
      "images must be floating [N,C,h,w] of 1 or 3 channels, with pixels, received {}",
      describe(images));
  check(
      places.sizes() == at::IntArrayRef{images.size(0), 2} && !places.is_complex() && !places.is_meta() &&
          places.isfinite().all().item<bool>(),
      here,
      "places must be [{},2] of finite numbers, received {}",
      images.size(0),
      describe(places));
  check(
      !labels.defined() || (labels.sizes() == at::IntArrayRef{images.size(0)} && !labels.is_meta()),
      here,
      "labels must be [{}], received {}",
      images.size(0),
      describe(labels));
  auto map = torch::full({3, kSide, kSide}, 255, torch::kByte);
  if (images.size(0) == 0) {
    return map;
  }
  const auto tiles = torch::upsample_bilinear2d(images.to(torch::kCPU, torch::kFloat), {kTile, kTile}, false)
                         .clamp(0, 1)
                         .mul(255)
                         .round()
                         .to(torch::kByte)
                         .expand({-1, 3, -1, -1});
  const auto at = places.to(torch::kCPU, torch::kDouble);
  const auto low = std::get<0>(at.min(0)), high = std::get<0>(at.max(0));
  const auto room = static_cast<double>(kSide - kTile - 2 * kFrame);
  const auto corner = ((at - low) / (high - low).clamp_min(1e-12) * room).to(torch::kLong);
  for (int64_t i = 0; i < images.size(0); ++i) {
    const auto x = corner[i][0].item<int64_t>(), y = corner[i][1].item<int64_t>();
    const int64_t label = labels.defined() ? labels[i].item<int64_t>() : -1;
    const auto framed = map.narrow(1, y, kTile + 2 * kFrame).narrow(2, x, kTile + 2 * kFrame);
    for (int64_t c = 0; c < 3; ++c) {
      framed[c].fill_(
          label < 0 ? 200 : kLabelColours[static_cast<size_t>(label) % kLabelColours.size()][static_cast<size_t>(c)]);
    }
    framed.narrow(1, kFrame, kTile).narrow(2, kFrame, kTile).copy_(tiles[i]);
  }
  return map;
}

} // namespace barlow
