// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

namespace barlow {

/// How a feature map [N,F,H,W] becomes features.
enum class PoolingType {
  Fast, ///< mean over pixels, [N,F]
  Avg, ///< the same, through adaptive pooling
  AvgMax, ///< mean of average and maximum, [N,F]
  CatAvgMax, ///< both, [N,2F]: average first in timm's networks, maximum first in fastai's
  Max, ///< maximum over pixels, [N,F]
};

/// A pooling that was asked for (nullopt: the family's own), or the default, which gives way to the family's own where
/// the family cannot do it; one that was asked for does not.
class PoolChoice : public std::optional<PoolingType> {
 public:
  using std::optional<PoolingType>::optional;
  PoolChoice(std::optional<PoolingType> asked) : std::optional<PoolingType>(asked) {}
  static PoolChoice by_default(PoolingType type) {
    PoolChoice choice(type);
    choice.is_default_ = true;
    return choice;
  }
  bool is_default() const {
    return is_default_;
  }

 private:
  bool is_default_ = false;
};

/// What a ResNet begins with.
enum class StemType {
  Network, ///< its own
  Small, ///< a 3x3 convolution of stride 1 and no pooling, for images of 32 pixels
  SmallPadded, ///< the same with padding 2: solo-learn's
  SmallLinear, ///< Small without the ReLU after the norm: lightly's
};

struct EncoderOptions {
  int64_t n_in = 3; ///< input channels
  bool pretrained = false; ///< load `weights`, or NAME.safetensors, .pth or .pt of the folder in $BARLOW_WEIGHTS
  PoolChoice pool_type = PoolChoice::by_default(PoolingType::CatAvgMax); ///< nullopt: the family's own
  std::string weights{}; ///< with pretrained: file for load_tensors with its keys, maybe behind a beginning ("model.")
  double drop_rate = 0; ///< dropout of the features, as timm's drop_rate
  double drop_path_rate = 0; ///< stochastic depth of the last block, falling linearly to 0 at the first
  StemType stem = StemType::Network; ///< timm's ResNets alone have another one
  int64_t checkpoint_nchunks = 0; ///< see SegmentedEncoderImpl::checkpoint; 0: keep all activations
};

/// Mean and standard deviation of the pixels (in 0..1) that published weights expect.
enum class PixelStats { Imagenet, Inception /* 0.5, 0.5 */, Clip, Unit /* 0, 1 */ };

/// The images that a variant was designed for.
struct InputSpec {
  int64_t size = 224; ///< pixels a side
  PixelStats stats = PixelStats::Imagenet;
};

/// What is known of a network without running it.
struct EncoderInfo {
  std::string name;
  int64_t n_in = 3;
  int64_t num_features = 0;
  int64_t input_size = 224; ///< pixels a side it was designed for
  int64_t smallest_size = 1; ///< pixels a side it takes at least
  int64_t size_multiple = 1; ///< height and width must be multiples of it
  bool fixed_size = false; ///< takes input_size alone
  std::vector<double> mean{0.485, 0.456, 0.406}; ///< of the pixels in 0..1 its published weights expect
  std::vector<double> std{0.229, 0.224, 0.225};
  std::string first_conv = "conv1"; ///< the convolution that sees the image: what n_in changes
  std::string classifier = "fc"; ///< prefix of the keys that published weights have beyond the encoder's
};

/// What create_encoder made an encoder from.
struct EncoderOrigin {
  std::string name;
  EncoderOptions options;
};

/// A part of an encoder: its input to the next one's.
struct Segment {
  std::string name;
  std::function<at::Tensor(const at::Tensor&)> forward;
};

/// A network that turns images [N,C,H,W] into features [N,F].
class EncoderImpl : public torch::nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& x) = 0;

  /// The network as a row of parts whose composition is forward: where gradient checkpointing may cut. They refer to
  /// this module. By default one part, the whole.
  virtual std::vector<Segment> segments();

  /// A tensor of published weights as this network needs it: a position embedding resampled to its grid, say.
  virtual at::Tensor adapt_weight(const std::string& name, const at::Tensor& weight) const;

  const EncoderInfo& info() const {
    return info_;
  }
  int64_t num_features() const { ///< F, the true width of the output
    return info_.num_features;
  }
  int64_t n_in() const { ///< C
    return info_.n_in;
  }
  const std::optional<EncoderOrigin>& origin() const { ///< nullopt: not made by create_encoder
    return origin_;
  }
  void origin(EncoderOrigin made_from) {
    origin_ = std::move(made_from);
  }

 protected:
  /// Throws Error if n_in or num_features is not positive.
  explicit EncoderImpl(EncoderInfo info);

 private:
  EncoderInfo info_;
  std::optional<EncoderOrigin> origin_;
};

/// A network that is the composition of its segments: what the families of this library derive from.
class SegmentedEncoderImpl : public EncoderImpl {
 public:
  using EncoderImpl::EncoderImpl;
  /// Throws Error for an input that is not [N,C,H,W] with n_in channels and a size that the network takes.
  at::Tensor forward(const at::Tensor& x) override;
  std::vector<Segment> segments() override = 0;

  /// In training, cuts the network into `nchunks` chunks and computes all but the last one's activations again in the
  /// backward pass: less memory, a third more time, the same results. 0 or 1: off. Throws Error if negative.
  /// Source: Chen et al., 2016; see gradient_checkpointing.h.
  void checkpoint(int64_t nchunks);

 private:
  at::Tensor to_fastest_layout(const at::Tensor& x);
  bool channels_last_ = false; // the weights lie so, since the first input that wanted it
  int64_t checkpoint_nchunks_ = 0;
};

/// Shared ownership of an EncoderImpl, as torch's module holders.
class Encoder : public torch::nn::ModuleHolder<EncoderImpl> {
 public:
  using Impl = EncoderImpl;
  Encoder(std::nullptr_t) : ModuleHolder(nullptr) {}
  Encoder(std::shared_ptr<EncoderImpl> impl) : ModuleHolder(std::move(impl)) {}
};

/// The network of this name, with random weights of its family's initialisation or with given ones.
///
/// A plain name is timm's network with timm's parameter names, where timm has none fastai's; "timm:NAME" and
/// "fastai:NAME" choose ("fastai:resnet18": torchvision's network as fastai's body, pooling, flatten). A name that ends
/// in .pt is a TorchScript file, as examples/export_encoder.py writes it: a module from [N,n_in,H,W] to [N,F]. Weights
/// of another number of input channels and with a classifier are adapted as the library in question does. Throws Error
/// for an unknown name (naming the nearest), weights that do not fit, n_in < 1, rates outside [0, 1), a pooling, stem
/// or checkpointing that was asked for and the family cannot do, FileError for unreadable weights or a file that is no
/// such module, NonFiniteError for weights with NaN or infinity.
Encoder create_encoder(const std::string& name, const EncoderOptions& options = {});

/// The names that match a pattern with * and ?, sorted.
std::vector<std::string> list_encoders(const std::string& pattern = "*");

using EncoderBuilder = std::function<Encoder(const std::string& name, const EncoderOptions& options)>;

/// Adds a network of yours to create_encoder and list_encoders. Throws Error if the name is taken.
void register_encoder(const std::string& name, EncoderBuilder builder);

} // namespace barlow
