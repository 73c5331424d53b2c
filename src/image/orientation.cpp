// SPDX-License-Identifier: Apache-2.0
#include <ATen/Functions.h>

#include "encoded_image.h"

namespace barlow {
namespace {

// How the upright image comes of the stored one: transposed first, then rows and columns reversed.
struct Turn {
  bool transpose, reverse_rows, reverse_columns;
};

Turn turn_of(int orientation) {
  switch (orientation) {
    case 2:
      return {false, false, true};
    case 3:
      return {false, true, true};
    case 4:
      return {false, true, false};
    case 5:
      return {true, false, false};
    case 6:
      return {true, false, true};
    case 7:
      return {true, true, true};
    case 8:
      return {true, true, false};
    default:
      return {false, false, false};
  }
}

} // namespace

at::Tensor make_upright(const at::Tensor& stored, int orientation) {
  const auto turn = turn_of(orientation);
  auto image = turn.transpose ? stored.transpose(1, 2) : stored;
  std::vector<int64_t> reversed;
  if (turn.reverse_rows) {
    reversed.push_back(1);
  }
  if (turn.reverse_columns) {
    reversed.push_back(2);
  }
  return (reversed.empty() ? image : image.flip(reversed)).contiguous();
}

Box stored_box(const Box& upright, int orientation, int64_t height, int64_t width) {
  const auto turn = turn_of(orientation);
  auto box = upright;
  if (turn.reverse_rows) {
    box.top = (turn.transpose ? width : height) - box.top - box.height;
  }
  if (turn.reverse_columns) {
    box.left = (turn.transpose ? height : width) - box.left - box.width;
  }
  return turn.transpose ? Box{box.left, box.top, box.width, box.height} : box;
}

} // namespace barlow
