// SPDX-License-Identifier: Apache-2.0
#include "sample_maker.h"

#include <algorithm>

#include <ATen/Functions.h>

#include <barlow/augment/transforms.h>
#include <barlow/image.h>

#include "../augment/crop_bytes.h"
#include "../check.h"

namespace barlow {
namespace {

// Images are decoded at a reduced size that is still this many times the crop's. Source: Pillow, Image.resize,
// reducing_gap, "2.0 or greater ... very close to fair resampling"; tests/oracles/core/reduced_jpeg.py measures it.
constexpr int64_t kReducingGap = 2;

Box united(const Box& a, const Box& b) {
  const auto top = std::min(a.top, b.top), left = std::min(a.left, b.left);
  return {
      top,
      left,
      std::max(a.top + a.height, b.top + b.height) - top,
      std::max(a.left + a.width, b.left + b.width) - left};
}

void check_image(const at::Tensor& image, const std::string& name) {
  check(
      image.defined() && image.dim() == 3 && image.is_cpu() && image.numel() > 0 &&
          (image.scalar_type() == at::kByte || image.is_floating_point()),
      "DataLoader",
      "an image must be uint8 or floating [C,H,W] on the CPU, received {} from {}",
      describe(image),
      name);
}

} // namespace

SampleMaker::SampleMaker(const LoaderOptions& options, std::vector<Pipeline> views)
    : options_(options), views_(std::move(views)) {
  for (const auto& view : views_) {
    crops_.push_back(dynamic_cast<const RandomResizedCrop*>(view.transforms()[0].get()));
  }
}

std::vector<at::Tensor> SampleMaker::make(
    const Sample& sample,
    const std::string& name,
    const SampleKey& key,
    Deadline deadline,
    WorkTimes& times) const {
  if (sample.encoded.empty()) {
    check_image(sample.image, name);
    const Timed timed(times.crop);
    const auto image = sample.image.contiguous();
    const int64_t height = image.size(1), width = image.size(2);
    return cut_all({.pixels = image, .box = {0, 0, height, width}}, draw(key, height, width));
  }
  Picture picture;
  std::vector<Crop> crops;
  {
    const Timed timed(times.decode);
    const std::string_view bytes(sample.encoded.data(), sample.encoded.size());
    const auto image =
        open_image(bytes, {.channels = options_.channels, .max_pixels = options_.max_pixels}, name, deadline);
    crops = draw(key, image->height, image->width);
    picture = decode(*image, crops);
  }
  const Timed timed(times.crop);
  return cut_all(picture, crops);
}

std::vector<SampleMaker::Crop> SampleMaker::draw(const SampleKey& key, int64_t height, int64_t width) const {
  std::vector<Crop> crops;
  for (size_t v = 0; v < views_.size(); ++v) {
    const auto row_of = [&](size_t t) {
      const auto& transform = *views_[v].transforms()[t];
      KeyedRandom random(
          options_.seed,
          key.epoch,
          transform.same_on_batch() ? key.first_index : key.index,
          static_cast<int64_t>(v),
          static_cast<int64_t>(t));
      return transform.draw(random, height, width);
    };
    const auto box = row_of(0);
    const auto at = [&](size_t i) { return static_cast<int64_t>(box[i]); };
    crops.push_back({{at(0), at(1), at(2), at(3)}, views_[v].leading_crop() == 2 && row_of(1)[0] != 0});
  }
  return crops;
}

Picture SampleMaker::decode(EncodedImage& image, const std::vector<Crop>& crops) const {
  Box box{0, 0, image.height, image.width};
  int64_t reduction = 1;
  if (!crops.empty()) {
    box = crops[0].box;
    reduction = std::max(image.height, image.width);
    for (size_t v = 0; v < crops.size(); ++v) {
      box = united(box, crops[v].box);
      const int64_t side = std::min(crops[v].box.height, crops[v].box.width);
      reduction = std::min(reduction, side / (kReducingGap * crops_[v]->size()));
    }
  }
  return image.decode(box, std::max<int64_t>(reduction, 1));
}

at::Tensor SampleMaker::cut(const Picture& picture, const Crop& crop, size_t view) const {
  const auto& size = crops_[view]->size();
  const auto& resize = crops_[view]->resize_options();
  const int64_t top = crop.box.top - picture.box.top, left = crop.box.left - picture.box.left;
  if (picture.pixels.is_floating_point()) {
    const auto cropped =
        resized_crop(picture.pixels.unsqueeze(0), {{top, left, crop.box.height, crop.box.width}}, size, resize);
    return horizontal_flip(cropped, {crop.mirrored}).squeeze(0);
  }
  const auto r = static_cast<double>(picture.reduction);
  const auto part = [&](int64_t begin, int64_t length) {
    return Span{static_cast<double>(begin) / r, static_cast<double>(length) / r};
  };
  return crop_bytes(
      picture.pixels, part(top, crop.box.height), part(left, crop.box.width), size, resize, crop.mirrored);
}

std::vector<at::Tensor> SampleMaker::cut_all(const Picture& picture, const std::vector<Crop>& crops) const {
  if (crops.empty()) {
    return {options_.resize > 0 ? resize_to_square(picture.pixels, options_.resize) : picture.pixels};
  }
  std::vector<at::Tensor> views;
  views.reserve(crops.size());
  for (size_t v = 0; v < crops.size(); ++v) {
    views.push_back(cut(picture, crops[v], v));
  }
  return views;
}

} // namespace barlow
