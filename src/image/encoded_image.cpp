// SPDX-License-Identifier: Apache-2.0
// Which decoder reads a file, and OpenCV's for most of them.
#include "encoded_image.h"

#include "../check.h"

#if BARLOW_HAS_OPENCV

#include <algorithm>
#include <limits>

#include <ATen/Functions.h>
#include <webp/decode.h>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

namespace barlow {

void ImageContext::fail(std::string_view reason) const {
  throw FileError(fmt::format("[read_image] '{}' cannot be decoded: {}; remove it or replace it", name, reason));
}

void ImageContext::fail_late() const {
  fail("it takes longer than the time limit to decode");
}

void ImageContext::check_size(int64_t height, int64_t width) const {
  if (height < 1 || width < 1) {
    fail("it has no pixels");
  }
  if (height > options.max_pixels / width) { // their product may be above 63 bits
    fail(fmt::format("{} x {} pixels are more than max_pixels {}", height, width, options.max_pixels));
  }
}

namespace {

uint32_t big_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  }
  return value;
}

int32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) {
    value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  }
  return static_cast<int32_t>(value);
}

constexpr std::string_view kJpeg = "\xff\xd8\xff";
constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n";
constexpr std::string_view kBmp = "BM";

bool is_tiff(std::string_view bytes) {
  return bytes.starts_with(std::string_view("II*\0", 4)) || bytes.starts_with(std::string_view("MM\0*", 4)) ||
      bytes.starts_with(std::string_view("II+\0", 4)) || bytes.starts_with(std::string_view("MM\0+", 4));
}

bool is_webp(std::string_view bytes) {
  constexpr size_t kHeader = 32; // all that OpenCV looks at
  return WebPGetInfo(
             reinterpret_cast<const uint8_t*>(bytes.data()), std::min(bytes.size(), kHeader), nullptr, nullptr) != 0;
}

// Height and width in the header of PNG, BMP and WebP; nothing if it is none of these, or damaged.
std::optional<ImageSize> size_in_header(std::string_view bytes) {
  constexpr size_t kEnough = 26; // bytes of a header
  if (bytes.size() < kEnough) {
    return std::nullopt;
  }
  if (bytes.starts_with(kPng)) {
    return bytes.substr(12, 4) == "IHDR" ? std::optional(ImageSize(big_endian(bytes, 20), big_endian(bytes, 16)))
                                         : std::nullopt;
  }
  if (bytes.starts_with(kBmp)) {
    constexpr int32_t kOfOs2 = 12; // a header with sizes of 16 bits
    if (little_endian(bytes, 14) == kOfOs2) {
      return ImageSize(little_endian(bytes, 20) & 0xffff, little_endian(bytes, 18) & 0xffff);
    }
    return ImageSize(std::abs(int64_t{little_endian(bytes, 22)}), little_endian(bytes, 18)); // negative: from the top
  }
  int width = 0, height = 0;
  if (is_webp(bytes) &&
      WebPGetInfo(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), &width, &height) != 0) {
    return ImageSize(height, width);
  }
  return std::nullopt;
}

// [H,W,C] with blue first, of any depth, to [C,H,W] with red first.
at::Tensor from_mat(const cv::Mat& mat, const ImageContext& context) {
  std::vector<cv::Mat> planes;
  cv::split(mat, planes);
  if (planes.size() >= 3) {
    std::swap(planes[0], planes[2]);
  }
  const auto type = mat.depth() == CV_8U ? at::kByte : at::kFloat;
  auto image = at::empty({mat.channels(), mat.rows, mat.cols}, at::dtype(type));
  auto* to = static_cast<char*>(image.data_ptr());
  const auto plane_bytes = image.nbytes() / static_cast<size_t>(mat.channels());
  for (const auto& plane : planes) {
    cv::Mat target(mat.rows, mat.cols, type == at::kByte ? CV_8U : CV_32F, to);
    switch (mat.depth()) {
      case CV_8U:
      case CV_32F:
        plane.copyTo(target);
        break;
      case CV_16U:
      case CV_64F:
        plane.convertTo(target, CV_32F);
        break;
      default:
        context.fail("its samples are of no type that is read here");
    }
    to += plane_bytes;
  }
  return mat.depth() == CV_16U ? image.div_(65535) : image;
}

at::Tensor decode_by_opencv(const ImageContext& context) {
  if (context.bytes.size() > std::numeric_limits<int>::max()) {
    context.fail("it has more bytes than OpenCV can count");
  }
  const int64_t channels = context.options.channels;
  const int flags = channels == 1 ? cv::IMREAD_GRAYSCALE | cv::IMREAD_ANYDEPTH
      : channels == 3             ? cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH
                                  : cv::IMREAD_UNCHANGED;
  cv::Mat mat;
  try {
    const cv::Mat bytes(
        1, static_cast<int>(context.bytes.size()), CV_8UC1, const_cast<char*>(context.bytes.data())); // NOLINT
    mat = cv::imdecode(bytes, flags);
  } catch (const cv::Exception& e) {
    context.fail(e.err);
  }
  if (mat.empty()) {
    context.fail("it is truncated or damaged");
  }
  if (mat.channels() != channels) {
    context.fail(fmt::format("it has {} channels, asked for were {}", mat.channels(), channels));
  }
  return from_mat(mat, context);
}

class Decoded : public EncodedImage {
 public:
  explicit Decoded(at::Tensor pixels) : pixels_(std::move(pixels)) {
    height = pixels_.size(1);
    width = pixels_.size(2);
  }
  Picture decode(const Box&, int64_t) override {
    return {.pixels = pixels_, .box = {0, 0, height, width}};
  }

 private:
  at::Tensor pixels_;
};

} // namespace

std::unique_ptr<EncodedImage>
open_image(std::string_view bytes, const ImageOptions& options, std::string_view name, Deadline deadline) {
  constexpr auto here = "read_image";
  check(options.channels >= 1, here, "channels must be at least 1, received {}", options.channels);
  check<FileError>(!bytes.empty(), here, "'{}' is empty", name);
  const ImageContext context{bytes, options, name, deadline};
  if (bytes.starts_with(kJpeg)) {
    if (auto image = open_jpeg(context)) {
      return image;
    }
  } else if (is_tiff(bytes)) {
    if (auto pixels = decode_tiff(context); pixels.defined()) {
      return std::make_unique<Decoded>(std::move(pixels));
    }
  } else if (const auto size = size_in_header(bytes)) {
    context.check_size(size->height, size->width);
  } else { // OpenCV would try more decoders, some of which abort on a damaged file (GDCM)
    context.fail("it is no JPEG, PNG, TIFF, WebP or BMP, or its header is damaged");
  }
  return std::make_unique<Decoded>(decode_by_opencv(context));
}

} // namespace barlow

#else

namespace barlow {

std::unique_ptr<EncodedImage> open_image(std::string_view, const ImageOptions&, std::string_view, Deadline) {
  throw Error("[read_image] this barlow was built without OpenCV; build it with -DBARLOW_WITH_OPENCV=ON");
}

} // namespace barlow
#endif
