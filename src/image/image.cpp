// SPDX-License-Identifier: Apache-2.0
#include <barlow/image.h>

#include <algorithm>

#include <torch/torch.h>

#include <barlow/augment/transforms.h>

#include "../augment/crop_bytes.h"
#include "../check.h"
#include "../file.h"
#include "encoded_image.h"

#if BARLOW_HAS_OPENCV
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#endif

namespace barlow {

namespace fs = std::filesystem;
using torch::Tensor;

Tensor decode_image(std::string_view bytes, const ImageOptions& options, std::string_view name) {
  return open_image(bytes, options, name)->decode();
}

Tensor read_image(const fs::path& path, const ImageOptions& options) {
  const auto bytes = read_file(path, "read_image", kLargestImageFile);
  return decode_image({bytes.data(), bytes.size()}, options, path.string());
}

Tensor resize_to_square(const Tensor& image, int64_t size) {
  constexpr auto here = "resize_to_square";
  check(size >= 1, here, "size must be at least 1, received {}", size);
  check(
      image.defined() && image.dim() == 3 && image.numel() > 0 && image.is_cpu() &&
          (image.scalar_type() == torch::kByte || image.is_floating_point()),
      here,
      "an image must be uint8 or floating [C,H,W] on the CPU, received {}",
      describe(image));
  const int64_t height = image.size(1), width = image.size(2), side = std::min(height, width);
  const Box box{(height - side) / 2, (width - side) / 2, side, side};
  if (image.is_floating_point()) {
    return resized_crop(image.unsqueeze(0), {box}, size).squeeze(0);
  }
  return crop_bytes(image.contiguous(), span_of(box.top, side), span_of(box.left, side), size, {}, /*mirrored=*/false);
}

#if BARLOW_HAS_OPENCV

std::vector<char> encode_png(const Tensor& image) {
  constexpr auto here = "encode_png";
  check(
      image.defined() && image.dim() == 3 && image.scalar_type() == torch::kByte &&
          (image.size(0) == 1 || image.size(0) == 3) && image.numel() > 0 && image.is_cpu(),
      here,
      "an image must be uint8 [C,H,W] with 1 or 3 channels on the CPU, received {}",
      describe(image));
  auto pixels = image.permute({1, 2, 0}).contiguous();
  cv::Mat mat(
      static_cast<int>(image.size(1)),
      static_cast<int>(image.size(2)),
      image.size(0) == 3 ? CV_8UC3 : CV_8UC1,
      pixels.data_ptr());
  if (image.size(0) == 3) {
    cv::Mat bgr;
    cv::cvtColor(mat, bgr, cv::COLOR_RGB2BGR);
    mat = std::move(bgr);
  }
  std::vector<unsigned char> encoded;
  cv::imencode(".png", mat, encoded);
  return {encoded.begin(), encoded.end()};
}

#else

std::vector<char> encode_png(const Tensor&) {
  throw Error("[encode_png] this barlow was built without OpenCV; build it with -DBARLOW_WITH_OPENCV=ON");
}

#endif

void write_png(const fs::path& path, const Tensor& image) {
  const auto bytes = encode_png(image);
  write_file(path, {{bytes.data(), bytes.size()}}, "write_png");
}

} // namespace barlow
