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
        tile.dim() == 3 && tile.is_floating_point() && tile.sizes() == tiles[0].sizes(),
        here,
        "tiles must be floating [C,H,W] of one shape, received {} and {}",
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

#if BARLOW_HAS_OPENCV

namespace {

const cv::Scalar kInk(40, 40, 40), kGrid(225, 225, 225);
const std::array<cv::Scalar, 4> kColours{
    // red, green, blue
    cv::Scalar(31, 119, 180),
    cv::Scalar(255, 127, 14),
    cv::Scalar(44, 160, 44),
    cv::Scalar(214, 39, 40)};

struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  double tick = 1;

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }

  // Widens to multiples of a round distance between ticks.
  void round() {
    if (high <= low) {
      low -= 0.5;
      high += 0.5;
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
};

class Plot {
 public:
  Plot(Axis x, Axis y) : x_(x), y_(y), canvas_(kHeight, kWidth, CV_8UC3, cv::Scalar::all(255)) {}

  void frame(const std::string& x_label, const std::string& y_label) {
    for (double v = x_.low; v <= x_.high + x_.tick / 2; v += x_.tick) {
      cv::line(canvas_, at(v, y_.low), at(v, y_.high), kGrid);
      text(fmt::format("{:g}", v), at(v, y_.low) + cv::Point(-8, 18));
    }
    for (double v = y_.low; v <= y_.high + y_.tick / 2; v += y_.tick) {
      cv::line(canvas_, at(x_.low, v), at(x_.high, v), kGrid);
      text(fmt::format("{:g}", std::abs(v) < y_.tick / 2 ? 0 : v), at(x_.low, v) + cv::Point(-58, 5));
    }
    cv::line(canvas_, at(x_.low, y_.low), at(x_.high, y_.low), kInk);
    cv::line(canvas_, at(x_.low, y_.low), at(x_.low, y_.high), kInk);
    text(x_label, {kWidth / 2 - 20, kHeight - 12});
    text(y_label, {10, 22});
  }

  void curve(const Curve& c, size_t number) {
    const auto& colour = kColours[number % kColours.size()];
    std::vector<cv::Point> points;
    for (size_t i = 0; i < c.y.size(); ++i) {
      if (std::isfinite(c.y[i])) {
        points.push_back(at(c.x.empty() ? static_cast<double>(i) : c.x[i], c.y[i]));
      }
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

void plot_curves(
    const std::filesystem::path& file,
    const std::vector<Curve>& curves,
    const std::string& x_label,
    const std::string& y_label) {
  constexpr auto here = "plot_curves";
  Axis x, y;
  for (const auto& c : curves) {
    check(c.x.empty() || c.x.size() == c.y.size(), here, "'{}' has {} x for {} y", c.name, c.x.size(), c.y.size());
    for (size_t i = 0; i < c.y.size(); ++i) {
      if (std::isfinite(c.y[i])) {
        x.include(c.x.empty() ? static_cast<double>(i) : c.x[i]);
        y.include(c.y[i]);
      }
    }
  }
  check(x.low <= x.high, here, "there is no finite point to draw for '{}'", file.string());
  x.round();
  y.round();
  Plot plot(x, y);
  plot.frame(x_label, y_label);
  for (size_t i = 0; i < curves.size(); ++i) {
    plot.curve(curves[i], i);
  }
  write_png(file, plot.picture());
}

#else

void plot_curves(const std::filesystem::path& file, const std::vector<Curve>&, const std::string&, const std::string&) {
  write_png(file, {}); // says what is missing
}

#endif

} // namespace barlow
