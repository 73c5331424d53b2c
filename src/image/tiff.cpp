// SPDX-License-Identifier: Apache-2.0
// TIFF of any number of channels by libtiff: OpenCV reads four at most.
#include "encoded_image.h"

#if BARLOW_HAS_OPENCV

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <tiffio.h>

namespace barlow {
namespace {

using Tiff = std::unique_ptr<TIFF, decltype(&TIFFClose)>;

// A file in memory, as libtiff reads one.
struct Source {
  std::string_view bytes;
  uint64_t at = 0;

  static Source& of(thandle_t handle) {
    return *static_cast<Source*>(handle);
  }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t most) {
    auto& source = of(handle);
    const auto rest = source.bytes.substr(std::min<uint64_t>(source.at, source.bytes.size()));
    const auto part = rest.substr(0, static_cast<size_t>(most));
    std::copy(part.begin(), part.end(), static_cast<char*>(to));
    source.at += part.size();
    return static_cast<tmsize_t>(part.size());
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) {
    return 0;
  }
  static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    auto& source = of(handle);
    const uint64_t from = whence == SEEK_CUR ? source.at : whence == SEEK_END ? source.bytes.size() : 0;
    return source.at = from + offset;
  }
  static int close(thandle_t) {
    return 0;
  }
  static toff_t size(thandle_t handle) {
    return of(handle).bytes.size();
  }
};

// What libtiff takes at once is bounded: a header can ask for a table of billions of strips.
Tiff open_tiff(Source& source, int64_t max_pixels) {
  const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(
      TIFFOpenOptionsAlloc(), &TIFFOpenOptionsFree);
  constexpr tmsize_t kLeast = 1 << 20; // what decoders keep besides
  constexpr tmsize_t kPixel = sizeof(double), kMost = std::numeric_limits<tmsize_t>::max() / kPixel;
  const auto of_pixels = std::min<tmsize_t>(max_pixels, kMost) * kPixel;
  const auto of_file = static_cast<tmsize_t>(source.bytes.size());
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), std::max({kLeast, of_pixels, of_file}));
  const TIFFErrorHandlerExtR quiet = [](TIFF*, void*, const char*, const char*, va_list) { return 1; };
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), quiet, nullptr);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), quiet, nullptr);
  return {
      TIFFClientOpenExt(
          "image",
          "r",
          &source,
          Source::read,
          Source::write,
          Source::seek,
          Source::close,
          Source::size,
          /*mapproc=*/nullptr,
          /*unmapproc=*/nullptr,
          options.get()),
      &TIFFClose};
}

struct Layout {
  uint32_t height = 0, width = 0;
  uint16_t channels = 1, bits = 1, format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG, photometric = 0;
  uint16_t orientation = ORIENTATION_TOPLEFT;

  at::ScalarType type() const {
    return bits == 8 ? at::kByte : bits == 16 ? at::kUInt16 : bits == 32 ? at::kFloat : at::kDouble;
  }
  bool readable() const {
    const bool integer = format == SAMPLEFORMAT_UINT && (bits == 8 || bits == 16);
    const bool floating = format == SAMPLEFORMAT_IEEEFP && (bits == 32 || bits == 64);
    return channels >= 1 && (integer || floating);
  }
  // Pixels of a plane of the file: all channels of one pixel lie together, or each has a plane.
  int64_t together() const {
    return planar == PLANARCONFIG_CONTIG ? channels : 1;
  }
};

Layout layout_of(TIFF* tiff) {
  Layout layout;
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &layout.height);
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &layout.width);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &layout.channels);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &layout.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &layout.format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &layout.planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &layout.orientation);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &layout.photometric);
  return layout;
}

// Copies rows of samples to pixels [planes,H,W,together] at (top, left), as far as they lie in the image.
void place(
    const std::vector<char>& from,
    int64_t from_width,
    at::Tensor& plane,
    int64_t top,
    int64_t left,
    int64_t rows) {
  const int64_t height = plane.size(0), width = plane.size(1), pixel = plane.stride(1) * plane.element_size();
  const int64_t columns = std::min(from_width, width - left);
  for (int64_t y = 0; y < std::min(rows, height - top); ++y) {
    std::copy_n(
        from.data() + y * from_width * pixel,
        columns * pixel,
        static_cast<char*>(plane.data_ptr()) + ((top + y) * width + left) * pixel);
  }
}

// Height and width of a tile, or of a row.
std::pair<uint32_t, uint32_t> part_size(TIFF* tiff, const Layout& layout) {
  uint32_t height = 1, width = layout.width;
  if (TIFFIsTiled(tiff) != 0) {
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &height);
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &width);
  }
  return {height, width};
}

bool read_plane(TIFF* tiff, const Layout& layout, uint16_t number, const ImageContext& context, at::Tensor plane) {
  const int64_t pixel = plane.stride(1) * plane.element_size();
  const bool tiled = TIFFIsTiled(tiff) != 0;
  const auto [tile_height, tile_width] = part_size(tiff, layout);
  const auto size = static_cast<size_t>(tiled ? TIFFTileSize(tiff) : TIFFScanlineSize(tiff));
  const int64_t tile = int64_t{tile_height} * tile_width;
  if (tile < 1 || tile > context.options.max_pixels || size < static_cast<size_t>(tile * pixel)) {
    return false;
  }
  std::vector<char> buffer(size);
  for (uint32_t top = 0; top < layout.height; top += tile_height) {
    for (uint32_t left = 0; left < layout.width; left += tile_width) {
      if (context.is_late()) {
        context.fail_late();
      }
      const auto got = tiled ? TIFFReadTile(tiff, buffer.data(), left, top, 0, number)
                             : TIFFReadScanline(tiff, buffer.data(), top, number);
      if (got < 0) {
        return false;
      }
      place(buffer, tile_width, plane, top, left, tile_height);
    }
  }
  return true;
}

constexpr int64_t kMostWithAlpha = 4;

// Grey and colour, with or without a channel of transparency after them, to grey or colour.
at::Tensor with_channels(const at::Tensor& image, const ImageContext& context) {
  const int64_t have = image.size(0), wanted = context.options.channels;
  if (have == wanted) {
    return image;
  }
  auto opaque = image.narrow(0, 0, have <= 2 ? 1 : 3);
  if (wanted == 3) {
    return opaque.expand({3, -1, -1});
  }
  if (opaque.size(0) == 1) {
    return opaque;
  }
  const auto luma = opaque[0] * 0.299 + opaque[1] * 0.587 + opaque[2] * 0.114;
  return (image.scalar_type() == at::kByte ? luma.round().to(at::kByte) : luma).unsqueeze(0);
}

// OpenCV has no time limit. Tiles of any size, or many of the same bytes, would take as long as they like.
void check_parts(TIFF* tiff, const Layout& layout, const ImageContext& context) {
  const auto [height, width] = part_size(tiff, layout);
  context.check_size(height, width);
  const auto parts = TIFFIsTiled(tiff) != 0 ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < parts; ++i) {
    sum += std::min<uint64_t>(TIFFGetStrileByteCount(tiff, i), context.bytes.size());
  }
  constexpr uint64_t kMostTimes = 4;
  if (sum > kMostTimes * context.bytes.size()) {
    context.fail("its tiles or strips lie upon each other");
  }
}

} // namespace

at::Tensor decode_tiff(const ImageContext& context) {
  Source source{context.bytes};
  const auto tiff = open_tiff(source, context.options.max_pixels);
  if (!tiff) {
    context.fail("it is no TIFF file, or damaged");
  }
  const auto layout = layout_of(tiff.get());
  context.check_size(layout.height, layout.width);
  if (!layout.readable() || layout.photometric > PHOTOMETRIC_RGB) {
    check_parts(tiff.get(), layout, context);
    return {};
  }
  const int64_t wanted = context.options.channels;
  if (layout.channels != wanted && (layout.channels > kMostWithAlpha || (wanted != 1 && wanted != 3))) {
    context.fail(fmt::format("it has {} channels, asked for were {}", layout.channels, wanted));
  }
  const int64_t planes = layout.channels / layout.together();
  auto pixels = at::empty({planes, layout.height, layout.width, layout.together()}, at::dtype(layout.type()));
  for (int64_t p = 0; p < planes; ++p) {
    if (!read_plane(tiff.get(), layout, static_cast<uint16_t>(p), context, pixels[p])) {
      context.fail("it is truncated or damaged");
    }
  }
  auto image = pixels.permute({0, 3, 1, 2}).flatten(0, 1);
  if (image.scalar_type() == at::kUInt16) {
    image = image.to(at::kFloat).div_(65535);
  } else if (image.scalar_type() == at::kDouble) {
    image = image.to(at::kFloat);
  }
  if (layout.photometric == PHOTOMETRIC_MINISWHITE) {
    image = image.scalar_type() == at::kByte ? 255 - image : 1 - image;
  }
  return make_upright(with_channels(image, context), layout.orientation);
}

} // namespace barlow
#endif
