// SPDX-License-Identifier: Apache-2.0
#include <barlow/image.h>

#include <algorithm>
#include <cmath>

#include <torch/torch.h>

#include "check.h"
#include "file.h"

#if BARLOW_HAS_OPENCV
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#endif

namespace barlow {

namespace fs = std::filesystem;
using torch::Tensor;

#if BARLOW_HAS_OPENCV

namespace {

// OpenCV keeps [H,W,C] with blue first. No operator of torch: those start threads of their own in a loader's worker.
Tensor from_mat(const cv::Mat& mat) {
  auto image = torch::empty({mat.channels(), mat.rows, mat.cols}, torch::kByte);
  std::vector<cv::Mat> planes;
  planes.reserve(static_cast<size_t>(mat.channels()));
  for (int c = 0; c < mat.channels(); ++c) {
    planes.emplace_back(mat.rows, mat.cols, CV_8UC1, image.data_ptr<uint8_t>() + c * mat.total());
  }
  std::reverse(planes.begin(), planes.end());
  cv::split(mat, planes);
  return image;
}

cv::Mat to_mat(const Tensor& image, const char* name) {
  check(
      image.defined() && image.dim() == 3 && image.scalar_type() == torch::kByte &&
          (image.size(0) == 1 || image.size(0) == 3) && image.numel() > 0,
      name,
      "an image must be uint8 [C,H,W] with 1 or 3 channels, received {}",
      describe(image));
  auto pixels = image.permute({1, 2, 0}).contiguous();
  const cv::Mat view(
      static_cast<int>(image.size(1)),
      static_cast<int>(image.size(2)),
      image.size(0) == 3 ? CV_8UC3 : CV_8UC1,
      pixels.data_ptr());
  cv::Mat bgr;
  if (image.size(0) == 3) {
    cv::cvtColor(view, bgr, cv::COLOR_RGB2BGR);
  } else {
    bgr = view.clone();
  }
  return bgr;
}

} // namespace

Tensor read_image(const fs::path& path, int64_t channels) {
  constexpr auto here = "read_image";
  check(channels == 1 || channels == 3, here, "channels must be 1 or 3, received {}", channels);
  auto bytes = read_file(path, here);
  check<FileError>(!bytes.empty(), here, "'{}' is empty", path.string());
  cv::Mat mat;
  try {
    mat = cv::imdecode(bytes, channels == 3 ? cv::IMREAD_COLOR : cv::IMREAD_GRAYSCALE);
  } catch (const cv::Exception& e) {
    throw FileError(fmt::format("[{}] '{}' cannot be decoded: {}", here, path.string(), e.err));
  }
  check<FileError>(
      !mat.empty(),
      here,
      "'{}' cannot be decoded: it is truncated or no image; remove it or replace it",
      path.string());
  return from_mat(mat);
}

Tensor resize_to_square(const Tensor& image, int64_t size) {
  constexpr auto here = "resize_to_square";
  check(size >= 1, here, "size must be at least 1, received {}", size);
  const auto mat = to_mat(image, here);
  const double scale = static_cast<double>(size) / std::min(mat.rows, mat.cols);
  const cv::Size scaled(
      std::max(static_cast<int>(size), static_cast<int>(std::lround(mat.cols * scale))),
      std::max(static_cast<int>(size), static_cast<int>(std::lround(mat.rows * scale))));
  cv::Mat resized;
  cv::resize(mat, resized, scaled, 0, 0, scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);
  const auto side = static_cast<int>(size);
  return from_mat(resized(cv::Rect((resized.cols - side) / 2, (resized.rows - side) / 2, side, side)).clone());
}

void write_png(const fs::path& path, const Tensor& image) {
  constexpr auto here = "write_png";
  std::vector<unsigned char> encoded;
  cv::imencode(".png", to_mat(image, here), encoded);
  write_file(path, {{reinterpret_cast<const char*>(encoded.data()), encoded.size()}}, here);
}

#else

namespace {
[[noreturn]] void without_opencv(const char* name) {
  throw Error(fmt::format("[{}] this barlow was built without OpenCV; build it with -DBARLOW_WITH_OPENCV=ON", name));
}
} // namespace

Tensor read_image(const fs::path&, int64_t) {
  without_opencv("read_image");
}

Tensor resize_to_square(const Tensor&, int64_t) {
  without_opencv("resize_to_square");
}

void write_png(const fs::path&, const Tensor&) {
  without_opencv("write_png");
}

#endif

} // namespace barlow
