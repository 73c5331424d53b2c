// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/swin.h>

#include <numeric>

#include "registry.h"
#include "tokens.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

constexpr int64_t kPatch = 4;
constexpr TokenNormImpl::Options kNorm{.eps = 1e-5};

// [N,H,W,C] <-> [N * windows, side * side, C]
Tensor to_windows(const Tensor& x, int64_t side) {
  return x.unflatten(2, {-1, side}).unflatten(1, {-1, side}).transpose(2, 3).flatten(0, 2).flatten(1, 2);
}

Tensor from_windows(const Tensor& x, int64_t side, int64_t height, int64_t width) {
  return x.unflatten(1, {side, side})
      .unflatten(0, {-1, height / side, width / side})
      .transpose(2, 3)
      .flatten(3, 4)
      .flatten(1, 2);
}

// Attention within a window, with a learned bias for each offset between two places.
class WindowAttentionImpl : public nn::Module {
 public:
  WindowAttentionImpl(int64_t width, int64_t heads, int64_t side) : heads_(heads), side_(side) {
    const int64_t offsets = 2 * side - 1;
    table_ = register_parameter("relative_position_bias_table", torch::empty({offsets * offsets, heads}));
    qkv_ = register_module("qkv", linear(width, 3 * width));
    proj_ = register_module("proj", linear(width, width));
    trunc_normal_(table_);
  }

  // mask: [windows, places, places], added; or undefined
  Tensor forward(const Tensor& x, const Tensor& mask) {
    const auto qkv = qkv_->forward(x).chunk(3, -1);
    auto bias = position_bias().unsqueeze(0);
    if (mask.defined()) {
      bias = (bias + mask.unsqueeze(1)).repeat({x.size(0) / mask.size(0), 1, 1, 1});
    }
    return proj_->forward(merge_heads(
        at::scaled_dot_product_attention(
            split_heads(qkv[0], heads_), split_heads(qkv[1], heads_), split_heads(qkv[2], heads_), bias)));
  }

 private:
  // [heads, places, places]: entry (i, j) is the table's at offset i - j. Row i is a window of the table that starts at
  // i, read backwards.
  Tensor position_bias() {
    const int64_t offsets = 2 * side_ - 1, places = side_ * side_;
    const auto slid = table_.view({offsets, offsets, heads_}).unfold(0, side_, 1).unfold(1, side_, 1);
    return slid.flip({3, 4}).permute({2, 0, 1, 3, 4}).reshape({heads_, places, places});
  }

  int64_t heads_, side_;
  Tensor table_;
  nn::Linear qkv_{nullptr}, proj_{nullptr};
};
TORCH_MODULE(WindowAttention);

// -100 between places of a window that were not neighbours before the map was rolled by -shift, else 0.
Tensor shift_mask(int64_t height, int64_t width, int64_t side, int64_t shift, const torch::TensorOptions& options) {
  const auto region = [&](int64_t length) {
    const auto i = torch::arange(length, options.dtype(torch::kLong));
    return (i >= length - side).to(torch::kLong) + (i >= length - shift).to(torch::kLong);
  };
  const auto regions = 3 * region(height).unsqueeze(1) + region(width).unsqueeze(0);
  const auto of_window = to_windows(regions.unsqueeze(0).unsqueeze(3), side).squeeze(2);
  return of_window.unsqueeze(1).ne(of_window.unsqueeze(2)).to(options.dtype()) * -100;
}

class BlockImpl : public nn::Module {
 public:
  BlockImpl(int64_t width, int64_t heads, int64_t side, int64_t shift, double drop)
      : side_(side), shift_(shift), drop_(drop) {
    norm1_ = register_module("norm1", TokenNorm(width, kNorm));
    attention_ = register_module("attn", WindowAttention(width, heads, side));
    norm2_ = register_module("norm2", TokenNorm(width, kNorm));
    mlp_ = register_module("mlp", Mlp(width, 4 * width, MlpImpl::Options{}));
  }

  Tensor forward(const Tensor& x) {
    const auto y = x + drop_path(attend(norm1_->forward(x)), drop_, is_training());
    return y + drop_path(mlp_->forward(norm2_->forward(y)), drop_, is_training());
  }

 private:
  Tensor attend(const Tensor& x) {
    const int64_t height = x.size(1), width = x.size(2);
    const auto missing = [&](int64_t length) { return (side_ - length % side_) % side_; };
    const int64_t padded_height = height + missing(height), padded_width = width + missing(width);
    auto y = shift_ > 0 ? x.roll({-shift_, -shift_}, {1, 2}) : x;
    y = at::constant_pad_nd(y, {0, 0, 0, missing(width), 0, missing(height)});
    const auto mask = shift_ > 0 ? shift_mask(padded_height, padded_width, side_, shift_, y.options()) : Tensor();
    y = from_windows(attention_->forward(to_windows(y, side_), mask), side_, padded_height, padded_width);
    y = y.narrow(1, 0, height).narrow(2, 0, width);
    return shift_ > 0 ? y.roll({shift_, shift_}, {1, 2}) : y;
  }

  int64_t side_, shift_;
  double drop_;
  TokenNorm norm1_{nullptr}, norm2_{nullptr};
  WindowAttention attention_{nullptr};
  Mlp mlp_{nullptr};
};
TORCH_MODULE(Block);

// Four neighbours become one token of twice the width.
class PatchMergingImpl : public nn::Module {
 public:
  explicit PatchMergingImpl(int64_t width) {
    norm_ = register_module("norm", TokenNorm(4 * width, kNorm));
    reduction_ = register_module("reduction", linear(4 * width, 2 * width, /*bias=*/false));
  }

  Tensor forward(const Tensor& x) {
    const auto even = at::constant_pad_nd(x, {0, 0, 0, x.size(2) % 2, 0, x.size(1) % 2});
    // columns vary slowest within the four
    const auto merged = even.unflatten(2, {-1, 2}).unflatten(1, {-1, 2}).permute({0, 1, 3, 4, 2, 5}).flatten(3);
    return reduction_->forward(norm_->forward(merged));
  }

 private:
  TokenNorm norm_{nullptr};
  nn::Linear reduction_{nullptr};
};
TORCH_MODULE(PatchMerging);

EncoderInfo info_of(const std::string& name, const SwinConfig& config, const EncoderOptions& options) {
  auto info = describe_encoder(name, options, 8 * config.width * pooled_width(choose_pooling(options)), config.input);
  info.smallest_size = info.size_multiple = kPatch;
  info.first_conv = "patch_embed.proj";
  info.classifier = "head";
  return info;
}

} // namespace

SwinTransformerImpl::SwinTransformerImpl(
    const std::string& name,
    const SwinConfig& config,
    const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  const auto add = [&](const char* key, nn::AnyModule module) {
    register_module(key, module.ptr());
    return module;
  };
  patch_embed_ =
      add("patch_embed", nn::AnyModule(PatchEmbed(options.n_in, config.width, kPatch, /*bias=*/true, kNorm)));
  const auto count = std::accumulate(config.depths.begin(), config.depths.end(), int64_t{0});
  int64_t block = 0, width = config.width, grid = config.input.size / kPatch;
  Sequential layers;
  for (size_t i = 0; i < config.depths.size(); ++i) {
    Stage stage;
    Sequential children;
    if (i > 0) {
      stage.downsample = nn::AnyModule(PatchMerging(width));
      children->push_back("downsample", stage.downsample);
      width *= 2;
      grid = (grid + 1) / 2;
    }
    const int64_t side = std::min(grid, config.windows[i]);
    for (int64_t k = 0; k < config.depths[i]; ++k) {
      const int64_t shift = k % 2 == 1 && grid > side ? side / 2 : 0; // a single window has nowhere to move
      const double drop = drop_path_rate(options.drop_path_rate, block++, count);
      stage.blocks->push_back(Block(width, config.heads[i], side, shift, drop));
    }
    children->push_back("blocks", stage.blocks);
    layers->push_back(children);
    stages_.push_back(std::move(stage));
  }
  register_module("layers", layers);
  norm_ = add("norm", nn::AnyModule(TokenNorm(width, kNorm)));
  init_token_layers(*this);
}

std::vector<Segment> SwinTransformerImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) { return patch_embed_.forward(x); }}};
  for (size_t i = 0; i < stages_.size(); ++i) {
    const auto prefix = "layers." + std::to_string(i) + ".";
    if (auto& downsample = stages_[i].downsample; !downsample.is_empty()) {
      parts.push_back({prefix + "downsample", [&downsample](const Tensor& x) { return downsample.forward(x); }});
    }
    append_segments(parts, prefix + "blocks", stages_[i].blocks);
  }
  parts.push_back({"pool", [this](const Tensor& x) {
                     const auto map = norm_.forward<Tensor>(x).permute({0, 3, 1, 2});
                     return at::dropout(global_pool(map, pool_, CatOrder::AvgMax), drop_rate_, is_training());
                   }});
  return parts;
}

void add_swins(EncoderRegistry& registry) {
  constexpr std::array<int64_t, 4> k18{2, 2, 18, 2};
  add_family<SwinTransformerImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<SwinConfig>>{
          // clang-format off
          {"swin_base_patch4_window7_224", {.width = 128, .depths = k18, .heads = {4, 8, 16, 32}}},
          {"swin_base_patch4_window12_384", {.width = 128, .depths = k18, .heads = {4, 8, 16, 32}, .windows = {12, 12, 12, 12}, .input = {384}}},
          {"swin_large_patch4_window7_224", {.width = 192, .depths = k18, .heads = {6, 12, 24, 48}}},
          {"swin_large_patch4_window12_384", {.width = 192, .depths = k18, .heads = {6, 12, 24, 48}, .windows = {12, 12, 12, 12}, .input = {384}}},
          {"swin_s3_base_224", {.depths = {2, 2, 30, 2}, .windows = {7, 7, 14, 7}}},
          {"swin_s3_small_224", {.depths = k18, .windows = {14, 14, 14, 7}}},
          {"swin_s3_tiny_224", {.windows = {7, 7, 14, 7}}},
          {"swin_small_patch4_window7_224", {.depths = k18}},
          {"swin_tiny_patch4_window7_224", {}},
          // clang-format on
      });
}

} // namespace barlow
