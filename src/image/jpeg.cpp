// SPDX-License-Identifier: Apache-2.0
// JPEG by libjpeg-turbo, which can leave out what lies outside a box and decode at a half, a quarter, an eighth.
#include "encoded_image.h"

#if BARLOW_HAS_OPENCV

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>
#include <libexif/exif-data.h>

#include "../augment/loops.h"

namespace barlow {
namespace {

int64_t largest_reduction(int64_t limit) {
  int64_t r = 1;
  while (2 * r <= std::min<int64_t>(limit, DCTSIZE)) {
    r *= 2;
  }
  return r;
}

// libjpeg leaves by longjmp, so nothing with a destructor may live in a function that calls it through `run`.
class Jpeg : public EncodedImage {
 public:
  explicit Jpeg(const ImageContext& context) : context_(context) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = [](j_common_ptr info) { std::longjmp(errors_of(info).jump, 1); };
    errors_.base.emit_message = [](j_common_ptr info, int level) {
      const int code = info->err->msg_code;
      errors_of(info).damaged |= level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER);
    };
    errors_.base.output_message = [](j_common_ptr) {};
    progress_.base.progress_monitor = [](j_common_ptr info) {
      if (std::chrono::steady_clock::now() > reinterpret_cast<Progress*>(info->progress)->deadline) {
        errors_of(info).late = true;
        std::longjmp(errors_of(info).jump, 1);
      }
    };
    progress_.deadline = context.deadline;
    run([&] { jpeg_create_decompress(&info_); });
    info_.progress = &progress_.base;
  }
  ~Jpeg() override {
    jpeg_destroy_decompress(&info_);
  }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  // False for colour spaces that libjpeg does not turn into RGB or grey.
  bool open() {
    read_header();
    context_.check_size(info_.image_height, info_.image_width);
    if (const int64_t channels = context_.options.channels; channels != 1 && channels != 3) {
      context_.fail(fmt::format("it has {} channels, asked for were {}", info_.num_components == 1 ? 1 : 3, channels));
    }
    orientation_ = exif_orientation();
    height = info_.image_height;
    width = info_.image_width;
    if (swaps_sides(orientation_)) {
      std::swap(height, width);
    }
    const auto space = info_.jpeg_color_space;
    if (space == JCS_GRAYSCALE || space == JCS_YCbCr || (space == JCS_RGB && context_.options.channels == 3)) {
      return true;
    }
    check_scans();
    return false;
  }

  Picture decode(const Box& box, int64_t reduction) override {
    const int64_t stored_height = info_.image_height, stored_width = info_.image_width;
    const Box upright = ends_properly() ? box : Box{0, 0, height, width}; // damage is seen where it is read
    Picture part = decode_stored(stored_box(upright, orientation_, stored_height, stored_width), reduction);
    if (orientation_ > 1) {
      part.pixels = make_upright(part.pixels, orientation_);
      part.box = upright_box(part.box, stored_height, stored_width);
    }
    return part;
  }

 private:
  struct Errors {
    jpeg_error_mgr base;
    std::jmp_buf jump;
    bool damaged = false, late = false;
  };
  struct Progress {
    jpeg_progress_mgr base;
    Deadline deadline;
  };
  static Errors& errors_of(j_common_ptr info) {
    return *reinterpret_cast<Errors*>(info->err);
  }

  template <class F>
  [[gnu::noinline]] void run(const F& calls) {
    if (setjmp(errors_.jump) != 0) { // NOLINT(cert-err52-cpp): libjpeg's way
      fail();
    }
    calls();
  }

  [[noreturn]] void fail() {
    if (errors_.late) {
      context_.fail_late();
    }
    std::array<char, JMSG_LENGTH_MAX> text{};
    errors_.base.format_message(reinterpret_cast<j_common_ptr>(&info_), text.data());
    context_.fail(text.data());
  }

  void read_header() {
    errors_.damaged = false;
    run([&] {
      jpeg_abort_decompress(&info_);
      jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(context_.bytes.data()), context_.bytes.size());
      jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
      jpeg_read_header(&info_, TRUE);
    });
  }

  int exif_orientation() const {
    for (auto* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->data_length < 6 || std::string_view(reinterpret_cast<char*>(marker->data), 4) != "Exif") {
        continue;
      }
      const std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(
          exif_data_new_from_data(marker->data, marker->data_length), &exif_data_unref);
      const auto* entry = data ? exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION) : nullptr;
      if (entry != nullptr && entry->format == EXIF_FORMAT_SHORT && entry->components >= 1) {
        return exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
      }
    }
    return 1;
  }

  // OpenCV has no time limit, and each scan takes as long as the whole image.
  void check_scans() const {
    constexpr int kMost = 100;
    int scans = 0;
    for (auto at = context_.bytes.find("\xff\xda"); at != std::string_view::npos && scans <= kMost;
         at = context_.bytes.find("\xff\xda", at + 2)) {
      ++scans;
    }
    if (scans > kMost) {
      context_.fail(fmt::format("it is not in grey, YCbCr or RGB and has more than {} scans", kMost));
    }
  }

  bool ends_properly() const {
    return context_.bytes.ends_with("\xff\xd9");
  }

  // Inverse of stored_box.
  Box upright_box(const Box& stored, int64_t stored_height, int64_t stored_width) const {
    const int inverse = orientation_ == 6 ? 8 : orientation_ == 8 ? 6 : orientation_;
    return swaps_sides(orientation_) ? stored_box(stored, inverse, stored_width, stored_height)
                                     : stored_box(stored, inverse, stored_height, stored_width);
  }

  // Columns from one MCU to the left of the box to one to its right: upsampling looks at a pixel's neighbours.
  Picture decode_stored(const Box& box, int64_t reduction) {
    if (std::exchange(decoded_, true)) {
      read_header();
    }
    const int64_t channels = context_.options.channels, r = largest_reduction(reduction);
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(r);
    info_.out_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    run([&] { jpeg_start_decompress(&info_); });

    const int64_t mcu_width = int64_t{DCTSIZE} * info_.max_h_samp_factor;
    const int64_t mcu_height = int64_t{DCTSIZE} * info_.max_v_samp_factor;
    const int64_t stored_height = info_.image_height, stored_width = info_.image_width;
    const int64_t left = std::max<int64_t>(0, box.left / mcu_width - 1) * mcu_width;
    const int64_t right = std::min(stored_width, ((box.left + box.width - 1) / mcu_width + 2) * mcu_width);
    const int64_t top = std::max<int64_t>(0, box.top / mcu_height - 1) * mcu_height;
    const int64_t bottom = std::min(stored_height, (box.top + box.height + r - 1) / r * r);
    auto x = static_cast<JDIMENSION>(left / r), columns = static_cast<JDIMENSION>((right + r - 1) / r - left / r);
    const int64_t first_row = top / r, rows = (bottom + r - 1) / r - first_row;
    if (columns < info_.output_width) {
      run([&] { jpeg_crop_scanline(&info_, &x, &columns); });
    }

    auto pixels = at::empty({channels, rows, columns}, at::kByte);
    auto* const plane = pixels.mutable_data_ptr<uint8_t>();
    const int64_t plane_size = rows * columns;
    std::vector<uint8_t> line(columns * static_cast<size_t>(channels));
    const bool whole = rows == info_.output_height;
    run([&] {
      if (first_row > 0) {
        jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(first_row));
      }
      for (int64_t y = 0; y < rows; ++y) {
        auto* const row = plane + y * columns;
        auto* to = channels == 3 ? line.data() : row;
        jpeg_read_scanlines(&info_, &to, 1);
        if (channels == 3) {
          loops::split_rgb(line.data(), columns, row, row + plane_size, row + 2 * plane_size);
        }
      }
      whole ? void(jpeg_finish_decompress(&info_)) : jpeg_abort_decompress(&info_);
    });
    if (errors_.damaged) {
      context_.fail("it is truncated or damaged");
    }
    const int64_t first_column = x * r;
    return {
        .pixels = std::move(pixels),
        .box =
            {top,
             first_column,
             std::min(rows * r, stored_height - top),
             std::min(columns * r, stored_width - first_column)},
        .reduction = r};
  }

  ImageContext context_;
  jpeg_decompress_struct info_{};
  Errors errors_{};
  Progress progress_{};
  int orientation_ = 1;
  bool decoded_ = false;
};

} // namespace

std::unique_ptr<EncodedImage> open_jpeg(const ImageContext& context) {
  auto image = std::make_unique<Jpeg>(context);
  if (!image->open()) {
    return nullptr;
  }
  return image;
}

} // namespace barlow
#endif
