// SPDX-License-Identifier: Apache-2.0
// What the encoder families share.
#pragma once

#include <initializer_list>

#include <torch/torch.h>

#include <barlow/batch_norm.h>
#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

/// What a variant says of itself: its name, n_in, width and input.
EncoderInfo
describe_encoder(const std::string& name, const EncoderOptions& options, int64_t num_features, const InputSpec& input);

// --- activations

enum class Act { None, ReLU, ReLU6, LeakyReLU, SiLU, GELU, GELUTanh, HardSwish, HardSigmoid, Sigmoid };

/// May overwrite x, where the gradient allows it.
torch::Tensor activate(const torch::Tensor& x, Act act);

// --- convolutions and norms

struct ConvOptions {
  int64_t stride = 1;
  int64_t padding = -1; // -1: "same" for odd kernels, (k - 1) / 2
  int64_t groups = 1;
  bool bias = false;
  bool tf_same = false; // TensorFlow's padding instead: depends on the input's size, more of it at right and bottom
};

Conv2d conv(int64_t in, int64_t out, int64_t kernel, const ConvOptions& o = {});

/// Pads [N,C,H,W] for a kernel and stride as TensorFlow's "SAME" does.
torch::Tensor pad_tf_same(const torch::Tensor& x, int64_t kernel, int64_t stride, double value = 0);

BatchNorm2d batch_norm(int64_t channels, double eps = 1e-5, double momentum = 0.1);

/// Layer norm over the channels of [N,C,H,W], parameters named as torch::nn::LayerNorm's.
class LayerNorm2dImpl : public torch::nn::LayerNormImpl {
 public:
  explicit LayerNorm2dImpl(int64_t channels, double eps = 1e-6);
  torch::Tensor forward(const torch::Tensor& x);
};
TORCH_MODULE(LayerNorm2d);

// --- channel attention

/// `value` rounded to a multiple of `divisor`, at least `divisor`; one more if that lost more than 1 - round_limit.
int64_t make_divisible(double value, int64_t divisor = 8, double round_limit = 0.9);

/// x * gate(fc2(act(fc1(mean of x)))), the two 1x1 convolutions named as the family names them.
/// Source: Hu et al., "Squeeze-and-Excitation Networks", 2018.
class SqueezeExciteImpl : public torch::nn::Module {
 public:
  struct Options {
    Act act = Act::ReLU, gate = Act::Sigmoid;
    const char *fc1 = "fc1", *fc2 = "fc2";
  };
  SqueezeExciteImpl(int64_t channels, int64_t reduced, const Options& options);
  SqueezeExciteImpl(int64_t channels, int64_t reduced) : SqueezeExciteImpl(channels, reduced, Options{}) {}
  torch::Tensor forward(const torch::Tensor& x);

 private:
  Act act_, gate_;
  Conv2d fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(SqueezeExcite);

// --- regularisation

/// Zeroes whole samples of x with probability `rate` and scales the others by 1 / (1 - rate); x itself when not
/// training. Source: Huang et al., "Deep Networks with Stochastic Depth", 2016.
torch::Tensor drop_path(const torch::Tensor& x, double rate, bool training);

/// Rate of block `index` of `count`: linear from 0 to the last block's.
double drop_path_rate(double last, int64_t index, int64_t count);

// --- pooling

/// Which half of CatAvgMax comes first.
enum class CatOrder { AvgMax /* timm */, MaxAvg /* fastai */ };

/// The pooling that `options` ask for, or `own` (nullopt: not one of PoolingType). If the family cannot do it: the
/// default gives way to `own` with one line of notice, one that was asked for is an Error naming what works.
std::optional<PoolingType> choose_pooling(
    const EncoderOptions& options,
    const std::string& name,
    std::optional<PoolingType> own,
    std::initializer_list<PoolingType> possible);

/// The same for families that can do every pooling and whose own is Avg.
PoolingType choose_pooling(const EncoderOptions& options);

const char* pooling_name(PoolingType type);

/// Features per channel of a pooled map: 2 for CatAvgMax, else 1.
int64_t pooled_width(PoolingType type);

/// [N,F,H,W] -> [N, F * pooled_width]
torch::Tensor global_pool(const torch::Tensor& x, PoolingType type, CatOrder order);

// --- segments

/// A layer without parameters.
inline torch::nn::Functional layer(std::function<torch::Tensor(torch::Tensor)> f) {
  return torch::nn::Functional(std::move(f));
}

/// Adds every child of `row` as a segment PREFIX.NAME. They refer to the row.
void append_segments(std::vector<Segment>& segments, const std::string& prefix, Sequential& row);

// --- initialisation

/// Every convolution's weight: normal with std = sqrt(2 / fan_out), fan_out without the groups' division, as timm.
void init_convolutions_fan_out(torch::nn::Module& module);

/// Normal with this standard deviation, cut off at -2 and 2 (not at two deviations), as timm's trunc_normal_.
void trunc_normal_(const torch::Tensor& weight, double std = 0.02);

} // namespace barlow
