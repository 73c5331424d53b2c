// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <variant>
#include <vector>

#include <barlow/encoder.h>
#include <barlow/nn.h>

namespace barlow {

/// torchvision's ResNet, ResNeXt and wide ResNet.
struct TvResNetConfig {
  bool bottleneck = false; ///< 1x1, 3x3 (stride), 1x1, else 3x3 (stride), 3x3
  std::array<int64_t, 4> layers{}; ///< blocks a stage
  int64_t groups = 1, base_width = 64; ///< of the 3x3 convolutions: planes * base_width / 64 * groups channels
  InputSpec input{};
};

struct TvVggConfig {
  std::array<int64_t, 5> layers{}; ///< 3x3 convolutions a stage
  bool batch_norm = false; ///< after each of them
  InputSpec input{};
};

struct TvConvNeXtConfig {
  std::array<int64_t, 4> layers{}; ///< blocks a stage
  std::array<int64_t, 4> widths{}; ///< channels a stage
  InputSpec input{};
};

/// torchvision's EfficientNet and EfficientNet V2.
struct TvEfficientNetConfig {
  struct Stage {
    int64_t expand, kernel, stride, out, layers;
    bool fused = false; ///< one full convolution in place of the 1x1 and the depthwise one
  };
  std::vector<Stage> stages; ///< before scaling
  double width = 1, depth = 1; ///< scale channels and layers
  int64_t stem = 32; ///< channels of the first convolution, before scaling
  int64_t features = 0; ///< of the last convolution; 0: four times its input's
  double norm_eps = 1e-5, norm_momentum = 0.1;
  InputSpec input{};
};

struct TvMobileNetV3Config {
  struct Block {
    int64_t kernel, expanded, out;
    bool squeeze, hard_swish; ///< else ReLU
    int64_t stride;
  };
  std::vector<Block> blocks;
  InputSpec input{};
};

struct TvSqueezeNetConfig {
  bool v1_1 = false; ///< narrower stem, earlier pooling
  InputSpec input{};
};

struct TvAlexNetConfig {
  InputSpec input{};
};

using TorchvisionConfig = std::variant<
    TvResNetConfig,
    TvVggConfig,
    TvConvNeXtConfig,
    TvEfficientNetConfig,
    TvMobileNetV3Config,
    TvSqueezeNetConfig,
    TvAlexNetConfig>;

struct TorchvisionBody;

/// torchvision's networks as fastai cuts them: the children of create_body, a pooling, flatten. A ResNet's children are
/// 0 (convolution), 1 (norm), 2, 3, 4 ... 7 (stages); of the other networks the features are child 0.
/// Default pooling: Avg. CatAvgMax is [max, avg].
/// Initialisation: torchvision's, except that for n_in other than 3 the first convolution has torch's default.
/// torchvision's own stochastic depth (0.2 in EfficientNet, say) is not taken over: drop_path_rate's default is 0 here.
/// Source: torchvision 0.26.0, fastai 2.8.12.
class TorchvisionImpl : public SegmentedEncoderImpl {
 public:
  TorchvisionImpl(const std::string& name, const TorchvisionConfig& config, const EncoderOptions& options);
  std::vector<Segment> segments() override;

 private:
  TorchvisionImpl(const std::string& name, const TorchvisionBody& body, const EncoderOptions& options);

  PoolingType pool_;
  double drop_rate_;
  std::string prefix_;
  Sequential body_{nullptr};
};

} // namespace barlow
