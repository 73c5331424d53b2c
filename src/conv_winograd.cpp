// SPDX-License-Identifier: Apache-2.0
#include "conv_winograd.h"

#include <torch/torch.h>

namespace barlow {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Letters of the paper: V = B'dB of the input's 6x6 tiles d, U = G g G' of the kernel g, M = U V summed over channels,
// and A'MA the output's 4x4 tiles. Here a tile is a column, and B', G, A' are Kronecker products [36,36], [36,9],
// [16,36], so that each transform is one matrix product over all tiles and channels.
struct Transforms {
  Tensor b, g, a;

  Transforms() {
    const auto matrix = [](const std::vector<float>& values, int64_t rows) {
      return torch::tensor(values).view({rows, -1});
    };
    // clang-format off
    const auto bt = matrix({4,  0, -5,  0, 1, 0,
                            0, -4, -4,  1, 1, 0,
                            0,  4, -4, -1, 1, 0,
                            0, -2, -1,  2, 1, 0,
                            0,  2, -1, -2, 1, 0,
                            0,  4,  0, -5, 0, 1}, 6);
    const auto gt = matrix({6, -4, -4, 1,  1, 0,
                            0, -4,  4, 2, -2, 0,
                            0, -4, -4, 4,  4, 24}, 3) / 24;
    const auto at = matrix({1, 1,  1, 1,  1, 0,
                            0, 1, -1, 2, -2, 0,
                            0, 1,  1, 4,  4, 0,
                            0, 1, -1, 8, -8, 1}, 4);
    // clang-format on
    b = at::kron(bt, bt);
    g = at::kron(gt.t(), gt.t()).contiguous();
    a = at::kron(at, at);
  }
};

const Transforms& transforms() {
  static const Transforms all;
  return all;
}

constexpr int64_t kOut = 4, kIn = 6; // pixels a side of an output tile, an input tile

struct Tiling {
  int64_t n, channels, out_channels, height, width, rows, columns; // rows, columns: of tiles

  Tiling(const Tensor& x, const Tensor& weight)
      : n(x.size(0)),
        channels(x.size(1)),
        out_channels(weight.size(0)),
        height(x.size(2)),
        width(x.size(3)),
        rows((height + kOut - 1) / kOut),
        columns((width + kOut - 1) / kOut) {}

  int64_t tiles() const {
    return n * rows * columns;
  }
  int64_t padded_height() const {
    return rows * kOut + 2;
  }
  int64_t padded_width() const {
    return columns * kOut + 2;
  }

  // Pixels from..from+size of every input tile of a padded [N,H,W,C], as a view [size_i,size_j,N,rows,columns,C].
  Tensor windows(const Tensor& padded, int64_t from_i, int64_t size_i, int64_t from_j, int64_t size_j) const {
    const int64_t row = padded_width() * channels;
    return padded.as_strided(
        {size_i, size_j, n, rows, columns, channels},
        {row, channels, padded_height() * row, kOut * row, kOut * channels, 1},
        padded.storage_offset() + from_i * row + from_j * channels);
  }

  Tensor input_tiles(const Tensor& x) const { // [36, tiles * C]
    auto padded = at::zeros({n, padded_height(), padded_width(), channels}, x.options());
    padded.slice(1, 1, 1 + height).slice(2, 1, 1 + width).copy_(x.permute({0, 2, 3, 1}));
    return windows(padded, 0, kIn, 0, kIn).reshape({kIn * kIn, -1});
  }

  Tensor add_input_tiles(const Tensor& tiles) const { // the adjoint: [36, tiles * C] -> [N,C,H,W]
    const auto parts = tiles.view({kIn, kIn, n, rows, columns, channels});
    auto padded = at::zeros({n, padded_height(), padded_width(), channels}, tiles.options());
    constexpr std::array<std::array<int64_t, 2>, 2> kRanges{{{0, kOut}, {kOut, kIn - kOut}}}; // without overlap
    for (const auto& [i, size_i] : kRanges) {
      for (const auto& [j, size_j] : kRanges) {
        windows(padded, i, size_i, j, size_j).add_(parts.narrow(0, i, size_i).narrow(1, j, size_j));
      }
    }
    return padded.slice(1, 1, 1 + height).slice(2, 1, 1 + width).contiguous().permute({0, 3, 1, 2});
  }

  Tensor from_output_tiles(const Tensor& tiles) const { // [16, tiles * O] -> [N,O,H,W], channels-last
    const auto whole = tiles.view({kOut, kOut, n, rows, columns, out_channels})
                           .permute({2, 3, 0, 4, 1, 5})
                           .reshape({n, rows * kOut, columns * kOut, out_channels});
    return whole.slice(1, 0, height).slice(2, 0, width).contiguous().permute({0, 3, 1, 2});
  }

  Tensor output_tiles(const Tensor& y) const { // the adjoint
    auto whole = y.permute({0, 2, 3, 1});
    if (rows * kOut != height || columns * kOut != width) {
      whole = at::constant_pad_nd(whole, {0, 0, 0, columns * kOut - width, 0, rows * kOut - height});
    }
    return whole.reshape({n, rows, kOut, columns, kOut, out_channels})
        .permute({2, 4, 0, 1, 3, 5})
        .reshape({kOut * kOut, -1});
  }

  Tensor transformed(const Tensor& weight) const { // U [36,O,C]
    return transforms().g.mm(weight.permute({2, 3, 0, 1}).reshape({9, -1})).view({-1, out_channels, channels});
  }
};

struct Winograd : torch::autograd::Function<Winograd> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight) {
    const Tiling tiling(x, weight);
    const auto v = transforms().b.mm(tiling.input_tiles(x)).view({-1, tiling.tiles(), tiling.channels});
    ctx->save_for_backward({x, weight, v});
    const auto m = at::bmm(v, tiling.transformed(weight).transpose(1, 2));
    return tiling.from_output_tiles(transforms().a.mm(m.view({kIn * kIn, -1})));
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grad_output) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &v = saved[2];
    if (torch::GradMode::is_enabled()) { // create_graph: torch's own backward can be differentiated again
      const auto [grad_x, grad_weight, unused] = at::convolution_backward(
          grad_output[0], x, weight, {}, {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1, {true, true, false});
      return {grad_x, grad_weight};
    }
    const Tiling tiling(x, weight);
    const auto& t = transforms();
    const auto grad_m = t.a.t().mm(tiling.output_tiles(grad_output[0])).view({-1, tiling.tiles(), tiling.out_channels});
    Tensor grad_x, grad_weight;
    if (ctx->needs_input_grad(0)) {
      const auto grad_v = at::bmm(grad_m, tiling.transformed(weight));
      grad_x = tiling.add_input_tiles(t.b.t().mm(grad_v.view({kIn * kIn, -1})));
    }
    if (ctx->needs_input_grad(1)) {
      const auto grad_u = at::bmm(grad_m.transpose(1, 2), v);
      grad_weight = t.g.t()
                        .mm(grad_u.view({kIn * kIn, -1}))
                        .view({3, 3, tiling.out_channels, tiling.channels})
                        .permute({2, 3, 0, 1});
    }
    return {grad_x, grad_weight};
  }
};

// Below these the transforms cost more than the products save; measured on two cores, tests/bench, rows conv.
constexpr int64_t kFewestChannels = 128, kFewestTiles = 64;
constexpr double kMostWaste = 1.35; // pixels of the tiles over those of the map

} // namespace

bool winograd_pays(const Tensor& x, const Tensor& weight) {
  if (x.scalar_type() != torch::kFloat || weight.size(2) != 3 || weight.size(3) != 3) {
    return false;
  }
  const Tiling tiling(x, weight);
  const auto covered = static_cast<double>(tiling.rows * tiling.columns * kOut * kOut);
  return std::min(tiling.channels, tiling.out_channels) >= kFewestChannels && tiling.tiles() >= kFewestTiles &&
      covered <= kMostWaste * static_cast<double>(tiling.height * tiling.width);
}

Tensor winograd_conv2d(const Tensor& x, const Tensor& weight) {
  return Winograd::apply(x, weight);
}

} // namespace barlow
