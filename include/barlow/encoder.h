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

struct EncoderOptions {
  int64_t n_in = 3; ///< input channels
  bool pretrained = false; ///< load `weights`
  std::optional<PoolingType> pool_type = PoolingType::CatAvgMax; ///< nullopt: the family's own
  std::string weights{}; ///< safetensors file with the encoder's keys; what `pretrained` loads
};

/// What is known of a network without running it.
struct EncoderInfo {
  std::string name;
  int64_t n_in = 3;
  int64_t num_features = 0;
  int64_t input_size = 224; ///< pixels a side it was designed for
  std::vector<double> mean{0.485, 0.456, 0.406}; ///< of the pixels in 0..1 its published weights expect
  std::vector<double> std{0.229, 0.224, 0.225};
};

/// A network that turns images [N,C,H,W] into features [N,F].
class EncoderImpl : public torch::nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& x) = 0;

  const EncoderInfo& info() const {
    return info_;
  }
  int64_t num_features() const { ///< F, the true width of the output
    return info_.num_features;
  }
  int64_t n_in() const { ///< C
    return info_.n_in;
  }

 protected:
  /// Throws Error if n_in or num_features is not positive.
  explicit EncoderImpl(EncoderInfo info);

 private:
  EncoderInfo info_;
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
/// A plain name is timm's network with timm's parameter names; xresnet* are fastai's, as its body, pooling, flatten.
/// Throws Error for an unknown name (naming the nearest), n_in < 1, FileError for unreadable weights.
Encoder create_encoder(const std::string& name, const EncoderOptions& options = {});

/// The names that match a pattern with * and ?, sorted.
std::vector<std::string> list_encoders(const std::string& pattern = "*");

using EncoderBuilder = std::function<Encoder(const std::string& name, const EncoderOptions& options)>;

/// Adds a network of yours to create_encoder and list_encoders. Throws Error if the name is taken.
void register_encoder(const std::string& name, EncoderBuilder builder);

} // namespace barlow
