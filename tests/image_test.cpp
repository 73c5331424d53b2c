// SPDX-License-Identifier: Apache-2.0
// Files and crops against Pillow (tests/oracles/images), decoding of parts against decoding of the whole, and files
// that are broken or made to harm.
#include <barlow/image.h>

#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barlow/error.h>

#include "augment/crop_bytes.h"
#include "file.h"
#include "image/encoded_image.h"
#include "support/in_memory.h"
#include "support/oracle.h"

#if BARLOW_HAS_OPENCV
#include <tiffio.h>
#endif

namespace barlow {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

const fs::path kImages = fs::path(BARLOW_TEST_ORACLES) / "images";

double largest(const Tensor& a, const Tensor& b) {
  return (a.to(torch::kDouble) - b.to(torch::kDouble)).abs().max().item<double>();
}

TEST(ResizeToSquare, KeepsTheCentreAndConstantImages) {
  for (const auto type : {torch::kByte, torch::kFloat}) {
    const auto flat = torch::full({3, 40, 20}, 77, type);
    EXPECT_TRUE(resize_to_square(flat, 8).equal(torch::full({3, 8, 8}, 77, type)));
    auto striped = torch::zeros({1, 6, 2}, type);
    striped.narrow(1, 2, 2).fill_(200);
    EXPECT_TRUE(resize_to_square(striped, 2).equal(torch::full({1, 2, 2}, 200, type)));
  }
  EXPECT_EQ(resize_to_square(gradient(3, 1, 20000), 8).sizes().vec(), (std::vector<int64_t>{3, 8, 8}));
}

// Another implementation of the same rule: torch's, in float.
TEST(CropBytes, FollowsTheFloatRouteForAnyChannels) {
  for (const int64_t channels : {1, 2, 3, 5, 13}) {
    const auto image = gradient(channels, 37, 53);
    for (const auto interpolation : {Interpolation::Bilinear, Interpolation::Bicubic}) {
      const ResizeOptions options{.interpolation = interpolation};
      const auto ours = crop_bytes(image, span_of(3, 30), span_of(5, 40), {16, 70}, options, /*mirrored=*/true);
      const auto whole = resized_crop(image.unsqueeze(0).to(torch::kDouble), {{3, 5, 30, 40}}, {16, 70}, options);
      // Rounded twice, the first time to what a second pass weighs by at most 1.3.
      EXPECT_LE(
          largest(ours, whole.squeeze(0).flip(2).clamp(0, 255)),
          0.5 * 1.3 + 0.5 + 20 * (interpolation == Interpolation::Bicubic));
    }
  }
}

// By hand: pixels 0 0 0 160, of which a part 0.5 to 3.5 becomes one. The triangle's weights are 3, 5, 5 and 3 of 16.
TEST(CropBytes, LooksAtEveryPixelThatAPartCuts) {
  auto row = torch::zeros({1, 1, 4}, torch::kByte);
  row[0][0][3] = 160;
  const auto of_columns = crop_bytes(row, {0, 1}, {0.5, 3}, 1, {}, /*mirrored=*/false);
  const auto of_rows = crop_bytes(row.transpose(1, 2).contiguous(), {0.5, 3}, {0, 1}, 1, {}, /*mirrored=*/false);
  EXPECT_EQ(of_columns.item<int64_t>(), 30);
  EXPECT_EQ(of_rows.item<int64_t>(), 30);
}

#if BARLOW_HAS_OPENCV

// [H,W] or [H,W,C] as numpy has it, to [C,H,W].
Tensor planes(const Tensor& pixels) {
  return (pixels.dim() == 2 ? pixels.unsqueeze(2) : pixels).permute({2, 0, 1}).contiguous();
}

const Oracle& oracle() {
  static const auto loaded = load_oracle(kImages / "images");
  return loaded;
}

class PillowFiles : public ::testing::TestWithParam<std::string> {};

TEST_P(PillowFiles, AreReadAsByPillow) {
  const auto expected = planes(oracle().at("decoded/" + GetParam()));
  const auto ours = read_image(kImages / "files" / GetParam(), {.channels = expected.size(0)});
  if (expected.scalar_type() == torch::kInt) { // 16 bits
    EXPECT_EQ(ours.scalar_type(), torch::kFloat);
    EXPECT_TRUE((ours * 65535).round().equal(expected.to(torch::kFloat)));
    return;
  }
  ASSERT_EQ(ours.scalar_type(), expected.scalar_type());
  ASSERT_EQ(ours.sizes(), expected.sizes());
  // CMYK without a colour profile has no one right RGB.
  EXPECT_LE(largest(ours, expected), GetParam() == "cmyk.jpg" ? 3 : 0) << largest_difference(ours, expected);
}

INSTANTIATE_TEST_SUITE_P(
    ,
    PillowFiles,
    ::testing::Values(
        "photo.jpg",
        "photo_444.jpg",
        "photo_422.jpg",
        "photo_progressive.jpg",
        "photo_gray.jpg",
        "cmyk.jpg",
        "orientation_1.jpg",
        "orientation_2.jpg",
        "orientation_3.jpg",
        "orientation_4.jpg",
        "orientation_5.jpg",
        "orientation_6.jpg",
        "orientation_7.jpg",
        "orientation_8.jpg",
        "rgb.png",
        "png_named.jpg",
        "palette.png",
        "rgba.png",
        "rgb.bmp",
        "rgb.webp",
        "rgb.tif",
        "gray16.png",
        "gray16.tif",
        "float.tif"),
    [](const auto& file) {
      auto name = file.param;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

Box box_of(const nlohmann::json& box) {
  return {box[0], box[1], box[2], box[3]};
}

TEST(CropBytes, EqualsPillowToTheBit) {
  const auto photo = read_image(kImages / "files" / "photo.jpg");
  for (const auto& crop : oracle().info["crops"]) {
    const auto box = box_of(crop["box"]);
    const ResizeOptions options{
        .interpolation = crop["filter"] == "bicubic" ? Interpolation::Bicubic : Interpolation::Bilinear};
    const auto expected = planes(oracle().at(crop["key"]));
    for (const bool mirrored : {false, true}) {
      const auto ours = crop_bytes(
          photo,
          span_of(box.top, box.height),
          span_of(box.left, box.width),
          {crop["size"][0].get<int64_t>(), crop["size"][1].get<int64_t>()},
          options,
          mirrored);
      EXPECT_EQ(largest(ours, mirrored ? expected.flip(2) : expected), 0) << crop;
    }
  }
}

std::vector<char> bytes_of(const std::string& file) {
  return read_file(kImages / "files" / file, "test");
}

std::string_view view(const std::vector<char>& bytes) {
  return {bytes.data(), bytes.size()};
}

// Any part of a JPEG is the same part of the whole.
TEST(EncodedImage, PartsEqualTheWhole) {
  for (const auto* file :
       {"photo.jpg",
        "photo_444.jpg",
        "photo_422.jpg",
        "photo_progressive.jpg",
        "orientation_3.jpg",
        "orientation_5.jpg",
        "orientation_6.jpg",
        "orientation_8.jpg",
        "rgb.png"}) {
    for (const int64_t channels : {1, 3}) {
      const auto bytes = bytes_of(file);
      const auto image = open_image(view(bytes), {.channels = channels}, file);
      const auto whole = image->decode();
      ASSERT_EQ(whole.sizes().vec(), (std::vector<int64_t>{channels, image->height, image->width}));
      for (int64_t k = 0; k < 60; ++k) {
        KeyedRandom random(1, 0, k, 0, 0);
        Box box;
        box.top = random.below(image->height);
        box.left = random.below(image->width);
        box.height = 1 + random.below(image->height - box.top);
        box.width = 1 + random.below(image->width - box.left);
        const auto part = image->decode(box, 1);
        ASSERT_LE(part.box.top, box.top);
        ASSERT_LE(part.box.left, box.left);
        ASSERT_GE(part.box.top + part.box.height, box.top + box.height);
        ASSERT_GE(part.box.left + part.box.width, box.left + box.width);
        const auto ours =
            part.pixels.narrow(1, box.top - part.box.top, box.height).narrow(2, box.left - part.box.left, box.width);
        const auto expected = whole.narrow(1, box.top, box.height).narrow(2, box.left, box.width);
        ASSERT_TRUE(ours.equal(expected)) << fmt::format(
            "{}: {} {} {} {}, {}", file, box.top, box.left, box.height, box.width, largest_difference(ours, expected));
      }
    }
  }
}

// Reading a part stops below it, so a file that does not end properly is read whole: it is refused wherever it is cut.
TEST(EncodedImage, PartsOfATruncatedFileAreRefused) {
  const auto bytes = bytes_of("photo.jpg");
  const auto upper = view(bytes).substr(0, bytes.size() * 3 / 4);
  EXPECT_THAT(error_of([&] { open_image(upper, {}, "photo.jpg")->decode({0, 0, 8, 8}, 1); }), HasSubstr("photo.jpg"));
}

// By hand: the photograph with an Exif segment of 26 bytes of TIFF, in either order of bytes: turned clockwise.
TEST(EncodedImage, OrientationInEitherOrderOfBytes) {
  const auto bytes = bytes_of("photo.jpg");
  const auto stored = decode_image(view(bytes), {}, "photo.jpg");
  using namespace std::string_literals;
  for (const auto& tiff :
       {"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"s,
        "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s}) {
    ASSERT_EQ(tiff.size(), 26U);
    const auto segment = "\xff\xe1\0\x22"s + "Exif\0\0"s + tiff; // 34 bytes after the marker
    const auto turned = std::string(view(bytes).substr(0, 2)) + segment + std::string(view(bytes).substr(2));
    EXPECT_TRUE(decode_image(turned, {}, "turned.jpg").equal(stored.rot90(-1, {1, 2}))) << tiff.substr(0, 2);
  }
}

double psnr(const Tensor& a, const Tensor& b) {
  const auto error = (a.to(torch::kDouble) - b.to(torch::kDouble)).square().mean().item<double>();
  return 10 * std::log10(255 * 255 / error);
}

// The measure of a reduced decoding: how near its crop is to the crop of the photograph before it was compressed,
// beside the crop of the whole decoding.
TEST(EncodedImage, ReducedDecodingIsAsGoodAsTheWhole) {
  const auto bytes = bytes_of("large.jpg");
  double full_sum = 0, reduced_sum = 0;
  for (const auto& crop : oracle().info["truths"]) {
    const auto box = box_of(crop["box"]);
    const auto truth = planes(oracle().at(crop["key"]));
    const auto cut = [&](int64_t reduction) {
      const auto part = open_image(view(bytes), {}, "large.jpg")->decode(box, reduction);
      EXPECT_EQ(part.reduction, reduction);
      const auto r = static_cast<double>(reduction);
      return crop_bytes(
          part.pixels,
          {static_cast<double>(box.top - part.box.top) / r, static_cast<double>(box.height) / r},
          {static_cast<double>(box.left - part.box.left) / r, static_cast<double>(box.width) / r},
          crop["size"].get<int64_t>(),
          {},
          /*mirrored=*/false);
    };
    const auto full = cut(1), reduced = cut(2);
    full_sum += psnr(full, truth);
    reduced_sum += psnr(reduced, truth);
    EXPECT_GE(psnr(reduced, full), 46); // 47 to 54 measured
    EXPECT_LE(largest(reduced, full), 16); // 3 to 14 measured
  }
  // 49.33 and 49.39 dB measured.
  EXPECT_GE(reduced_sum, full_sum - 0.1 * static_cast<double>(oracle().info["truths"].size()));
}

// Samples of any type and number, written by libtiff.
template <class T>
void write_tiff(
    const fs::path& file,
    const Tensor& pixels,
    uint16_t format,
    bool planar,
    bool tiled,
    int photometric = PHOTOMETRIC_MINISBLACK,
    int orientation = ORIENTATION_TOPLEFT) {
  const int64_t channels = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  TIFF* tiff = TIFFOpen(file.c_str(), "w");
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<uint32_t>(height));
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<uint32_t>(width));
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(channels));
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, static_cast<int>(8 * sizeof(T)));
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, static_cast<int>(format));
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, photometric);
  TIFFSetField(tiff, TIFFTAG_ORIENTATION, orientation);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  constexpr int64_t kTile = 16;
  if (tiled) {
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, static_cast<uint32_t>(kTile));
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, static_cast<uint32_t>(kTile));
  }
  const auto planes = planar ? pixels.unsqueeze(3) : pixels.permute({1, 2, 0}).unsqueeze(0); // [planes,H,W,together]
  for (int64_t p = 0; p < planes.size(0); ++p) {
    for (int64_t y = 0; y < height; y += tiled ? kTile : 1) {
      for (int64_t x = 0; x < width; x += tiled ? kTile : width) {
        if (tiled) {
          auto tile = torch::zeros({kTile, kTile, planes.size(3)}, pixels.options());
          const int64_t h = std::min(kTile, height - y), w = std::min(kTile, width - x);
          tile.narrow(0, 0, h).narrow(1, 0, w).copy_(planes[p].narrow(0, y, h).narrow(1, x, w));
          TIFFWriteTile(tiff, tile.data_ptr(), static_cast<uint32_t>(x), static_cast<uint32_t>(y), 0, p);
        } else {
          auto row = planes[p][y].contiguous();
          TIFFWriteScanline(tiff, row.data_ptr(), static_cast<uint32_t>(y), static_cast<uint16_t>(p));
        }
      }
    }
  }
  TIFFClose(tiff);
}

TEST(ReadImage, ReadsTiffOfAnyChannelsAtFullDepth) {
  TemporaryFolder folder;
  const auto file = folder.path() / "x.tif";
  for (const bool planar : {false, true}) {
    for (const bool tiled : {false, true}) {
      for (const int64_t channels : {2, 4, 5, 13}) {
        const auto bytes = gradient(channels, 21, 35);
        write_tiff<uint8_t>(file, bytes, SAMPLEFORMAT_UINT, planar, tiled);
        EXPECT_TRUE(read_image(file, {.channels = channels}).equal(bytes)) << channels << planar << tiled;
        const auto words = (torch::arange(channels * 21 * 35) * 37 % 65536).view({channels, 21, 35});
        write_tiff<uint16_t>(file, words.to(torch::kUInt16), SAMPLEFORMAT_UINT, planar, tiled);
        const auto read = read_image(file, {.channels = channels});
        EXPECT_EQ(read.scalar_type(), torch::kFloat);
        EXPECT_TRUE((read * 65535).round().to(torch::kLong).equal(words));
        const auto floats = torch::rand({channels, 21, 35});
        write_tiff<float>(file, floats, SAMPLEFORMAT_IEEEFP, planar, tiled);
        EXPECT_TRUE(read_image(file, {.channels = channels}).equal(floats));
      }
    }
  }
  EXPECT_THAT(error_of([&] { read_image(file, {.channels = 7}); }), HasSubstr("it has 13 channels, asked for were 7"));
}

TEST(ReadImage, TiffMayHaveWhiteFirstAndBeTurned) { // by hand
  TemporaryFolder folder;
  const auto file = folder.path() / "x.tif";
  const auto bytes = gradient(1, 5, 7), words = bytes.to(torch::kInt) * 257;
  const auto is_white = PHOTOMETRIC_MINISWHITE;
  write_tiff<uint8_t>(file, bytes, SAMPLEFORMAT_UINT, false, false, is_white);
  EXPECT_TRUE(read_image(file, {.channels = 1}).equal(255 - bytes));
  write_tiff<uint16_t>(file, words.to(torch::kUInt16), SAMPLEFORMAT_UINT, false, false, is_white);
  EXPECT_TRUE((read_image(file, {.channels = 1}) * 65535).round().equal((65535 - words).to(torch::kFloat)));
  for (const auto& [orientation, upright] :
       {std::pair{ORIENTATION_BOTRIGHT, bytes.flip({1, 2})},
        std::pair{ORIENTATION_RIGHTTOP, bytes.rot90(-1, {1, 2})},
        std::pair{ORIENTATION_LEFTBOT, bytes.rot90(1, {1, 2})}}) {
    write_tiff<uint8_t>(file, bytes, SAMPLEFORMAT_UINT, false, false, PHOTOMETRIC_MINISBLACK, orientation);
    EXPECT_TRUE(read_image(file, {.channels = 1}).equal(upright)) << orientation;
  }
}

TEST(ReadImage, GivesBackAPngsPixels) {
  TemporaryFolder folder;
  for (const int64_t channels : {1, 3}) {
    const auto image = gradient(channels, 7, 9);
    write_png(folder.path() / "x.png", image);
    EXPECT_TRUE(read_image(folder.path() / "x.png", {.channels = channels}).equal(image));
  }
  EXPECT_EQ(read_image(kImages / "files" / "rgba.png", {.channels = 4}).size(0), 4);
}

TEST(ReadImage, BrokenFilesAreNamed) {
  TemporaryFolder folder;
  const auto file = folder.path() / "x.png";
  const auto message = [&](const ImageOptions& options = {}) { return error_of([&] { read_image(file, options); }); };
  EXPECT_THAT(message(), HasSubstr("does not exist"));
  std::ofstream(file).flush();
  EXPECT_THAT(message(), HasSubstr("is empty"));
  std::ofstream(file) << "no image";
  EXPECT_THAT(message(), HasSubstr("cannot be decoded"));
  write_png(file, gradient(3, 64, 64));
  EXPECT_THAT(message({.max_pixels = 64 * 64 - 1}), HasSubstr("64 x 64 pixels are more than max_pixels 4095"));
  EXPECT_THAT(message({.channels = 0}), HasSubstr("channels must be at least 1"));
  EXPECT_THAT(message({.channels = 2}), HasSubstr("it has 3 channels, asked for were 2"));
  fs::resize_file(file, fs::file_size(file) / 2);
  EXPECT_THAT(message(), HasSubstr("x.png' cannot be decoded"));
  EXPECT_THAT(
      error_of([&] { read_image(kImages / "files" / "animated.webp"); }),
      HasSubstr("animated.webp' cannot be decoded"));
  EXPECT_THAT(error_of([&] { read_image(folder.path()); }), HasSubstr("is not a regular file"));
}

// Found by fuzzing: height times width, of 32 bits each, is more than 63 bits hold.
TEST(ReadImage, HeadersMaySayAnySize) {
  using namespace std::string_literals;
  const auto png = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xc0\0\0\0\xff\0\0\0\x08\2\0\0\0"s;
  EXPECT_THAT(
      error_of([&] { decode_image(png, {}, "x.png"); }),
      HasSubstr("4278190080 x 3221225472 pixels are more than max_pixels 134217728"));
}

// At every length: read, or refused by name.
TEST(ReadImage, TruncatedFilesAreRefused) {
  for (const auto* file : {"photo.jpg", "photo_progressive.jpg", "photo_gray.jpg", "rgb.png", "rgb.webp", "rgb.tif"}) {
    const auto bytes = bytes_of(file);
    for (size_t size = 1; size < bytes.size(); size += bytes.size() / 40) {
      EXPECT_THAT(error_of([&] { decode_image(view(bytes).substr(0, size), {}, file); }), HasSubstr(file)) << size;
    }
    EXPECT_NO_THROW(decode_image(view(bytes), {}, file));
  }
}

// Damage in the middle may or may not be seen, but it ends.
TEST(ReadImage, DamagedFilesEnd) {
  for (const auto* file :
       {"photo.jpg", "photo_progressive.jpg", "orientation_6.jpg", "gray16.png", "rgb.webp", "rgb.tif"}) {
    const auto intact = bytes_of(file);
    for (int64_t k = 0; k < 100; ++k) {
      auto bytes = intact;
      KeyedRandom random(3, 0, k, 0, 0);
      for (int i = 0; i < 8; ++i) {
        auto& byte = bytes[static_cast<size_t>(random.below(static_cast<int64_t>(bytes.size())))];
        byte = static_cast<char>(byte ^ (1 + random.below(255)));
      }
      try {
        open_image(view(bytes), {}, file)->decode({3, 5, 20, 10}, 2);
      } catch (const FileError& e) {
        EXPECT_THAT(e.what(), HasSubstr(file));
      }
    }
  }
}

TEST(ReadImage, BombsAreRefusedByTheirHeader) {
  // 40,000 x 40,000 pixels that would be 4.8 GB.
  std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x9c\x40\0\0\x9c\x40\x08\x02\0\0\0", 29);
  EXPECT_THAT(error_of([&] { decode_image(png, {}, "bomb.png"); }), HasSubstr("40000 x 40000 pixels are more than"));
  auto jpeg = bytes_of("photo.jpg");
  for (size_t i = 0; i + 9 < jpeg.size(); ++i) {
    if (jpeg[i] == '\xff' && jpeg[i + 1] == '\xc0') { // height and width
      std::fill_n(jpeg.begin() + static_cast<std::ptrdiff_t>(i) + 5, 4, '\x7f');
      break;
    }
  }
  for (const int64_t channels : {1, 2, 3, 4}) {
    EXPECT_THAT(
        error_of([&] { decode_image(view(jpeg), {.channels = channels}, "bomb.jpg"); }),
        HasSubstr("pixels are more than max_pixels"));
  }
  auto bmp = bytes_of("rgb.bmp");
  std::fill_n(bmp.begin() + 18, 2, '\xff');
  bmp[20] = 0x7f;
  EXPECT_THAT(error_of([&] { decode_image(view(bmp), {}, "bomb.bmp"); }), HasSubstr("bomb.bmp' cannot be decoded"));
}

TEST(ReadImage, SizesAreSeenBeforeOpenCvTakesMemory) {
  const auto seeds = fs::path(BARLOW_TEST_FUZZ) / "seeds" / "image";
  EXPECT_THAT(error_of([&] { read_image(seeds / "late_ihdr.png"); }), HasSubstr("or its header is damaged"));
  EXPECT_THAT(error_of([&] { read_image(seeds / "raw.webp"); }), HasSubstr("16384 x 16384 pixels are more than"));
  EXPECT_THAT(error_of([&] { read_image(seeds / "same_tiles.tiff"); }), HasSubstr("strips lie upon each other"));
  auto jpeg = bytes_of("cmyk.jpg");
  EXPECT_NO_THROW(decode_image(view(jpeg), {}, "cmyk.jpg"));
  for (int scan = 0; scan <= 100; ++scan) {
    jpeg.insert(jpeg.end(), {'\xff', '\xda'});
  }
  EXPECT_THAT(error_of([&] { decode_image(view(jpeg), {}, "cmyk.jpg"); }), HasSubstr("more than 100 scans"));
}

TEST(ReadImage, ReadsTheOldestBmp) { // by hand: one blue pixel
  const std::string bmp("BM\x1e\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0\1\0\1\0\1\0\x18\0\xff\0\0\0", 30);
  EXPECT_TRUE(decode_image(bmp, {}, "os2.bmp").flatten().equal(torch::tensor({0, 0, 255}, torch::kByte)));
}

TEST(ReadImage, FilesThatAreTooLargeAreNotRead) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "sparse.png";
  write_bytes(file, "");
  fs::resize_file(file, uint64_t{1} << 40); // of no blocks
  EXPECT_THAT(error_of([&] { read_image(file); }), HasSubstr("sparse.png' has 1099511627776 bytes; 8589934592 can be"));
}

TEST(ReadImage, StopsAtADeadline) {
  const auto late = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  for (const auto* file : {"photo_progressive.jpg", "rgb.tif"}) {
    const auto bytes = bytes_of(file);
    EXPECT_THAT(
        error_of([&] { open_image(view(bytes), {}, file, late)->decode(); }), HasSubstr("longer than the time limit"));
  }
}

#endif

} // namespace
} // namespace barlow
