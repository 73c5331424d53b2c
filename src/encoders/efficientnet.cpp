// SPDX-License-Identifier: Apache-2.0
#include <barlow/encoders/efficientnet.h>

#include <cmath>
#include <sstream>

#include "layers.h"
#include "registry.h"

namespace barlow {
namespace {

namespace nn = torch::nn;
using torch::Tensor;
using Config = EfficientNetConfig;

Act act_of(Config::Activation activation) {
  switch (activation) {
    case Config::Activation::ReLU:
      return Act::ReLU;
    case Config::Activation::ReLU6:
      return Act::ReLU6;
    case Config::Activation::SiLU:
      return Act::SiLU;
    case Config::Activation::HardSwish:
      return Act::HardSwish;
  }
  TORCH_INTERNAL_ASSERT(false, "an Activation without a case");
}

int64_t round_channels(const Config& config, double channels) {
  return make_divisible(channels * config.width, 8, config.round_limit);
}

// --- the notation

struct BlockSpec {
  std::string type;
  int64_t repeats = 1, stride = 1, channels = 0;
  std::vector<int64_t> kernel, first_kernel, last_kernel; // more than one: mixed
  double expansion = 1, squeeze = 0;
  int64_t group_size = 0, forced_in = 0, experts = 0;
  int64_t space_to_depth = 0; // 1: the block that does it, 2: behind it, channels are four times as many
  bool skip = false, no_skip = false;
  std::optional<Act> act;
};

std::vector<int64_t> numbers(std::string text) {
  std::replace(text.begin(), text.end(), '.', ' ');
  std::istringstream in(text);
  return {std::istream_iterator<int64_t>(in), {}};
}

BlockSpec parse_block(const std::string& text) {
  BlockSpec block;
  std::istringstream in(text);
  std::getline(in, block.type, '_');
  for (std::string word; std::getline(in, word, '_');) {
    const auto digits = std::min(word.find_first_of("0123456789"), word.size());
    const auto key = word.substr(0, digits), value = word.substr(digits);
    if (key == "r") {
      block.repeats = std::stoll(value);
    } else if (key == "s") {
      block.stride = std::stoll(value);
    } else if (key == "c") {
      block.channels = std::stoll(value);
    } else if (key == "k") {
      block.kernel = numbers(value);
    } else if (key == "a") {
      block.first_kernel = numbers(value);
    } else if (key == "p") {
      block.last_kernel = numbers(value);
    } else if (key == "e") {
      block.expansion = std::stod(value);
    } else if (key == "se") {
      block.squeeze = std::stod(value);
    } else if (key == "gs") {
      block.group_size = std::stoll(value);
    } else if (key == "fc") {
      block.forced_in = std::stoll(value);
    } else if (key == "cc") {
      block.experts = std::stoll(value);
    } else if (key == "d") {
      block.space_to_depth = std::stoll(value);
    } else if (key == "skip") {
      block.skip = true;
    } else if (key == "noskip") {
      block.no_skip = true;
    } else if (key == "nre") {
      block.act = Act::ReLU;
    } else if (key == "nsw") {
      block.act = Act::SiLU;
    } else {
      TORCH_INTERNAL_ASSERT(false, "unknown word ", word, " in ", text);
    }
  }
  return block;
}

// Repeats scaled so that they add up to the stage's scaled number, the last blocks first. Halves round to even.
void scale_repeats(std::vector<BlockSpec>& blocks, double multiplier, bool round) {
  int64_t total = 0;
  for (const auto& b : blocks) {
    total += b.repeats;
  }
  const double exact = static_cast<double>(total) * multiplier;
  int64_t scaled = round ? std::max<int64_t>(1, std::lrint(exact)) : static_cast<int64_t>(std::ceil(exact));
  for (auto b = blocks.rbegin(); b != blocks.rend(); ++b) {
    const auto share = static_cast<double>(b->repeats) / static_cast<double>(total) * static_cast<double>(scaled);
    const auto repeats = std::max<int64_t>(1, std::lrint(share));
    total -= b->repeats;
    scaled -= repeats;
    b->repeats = repeats;
  }
}

// Every block of every stage, in the order of the network.
std::vector<std::vector<BlockSpec>> parse_stages(const Config& config) {
  std::vector<std::vector<BlockSpec>> stages;
  std::istringstream rows(config.stages);
  for (std::string row; std::getline(rows, row, '|');) {
    std::istringstream words(row);
    std::vector<BlockSpec> blocks;
    for (std::string word; words >> word;) {
      blocks.push_back(parse_block(word));
    }
    stages.push_back(std::move(blocks));
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    const bool fixed = config.fix_first_last && (i == 0 || i + 1 == stages.size());
    const double depth = config.depths.empty() ? config.depth : config.depths.at(i);
    scale_repeats(stages[i], fixed ? 1 : depth, config.round_depth);
    std::vector<BlockSpec> single;
    for (const auto& b : stages[i]) {
      single.insert(single.end(), static_cast<size_t>(b.repeats), b);
    }
    for (size_t b = 1; b < single.size(); ++b) {
      single[b].stride = 1;
    }
    stages[i] = std::move(single);
  }
  return stages;
}

// --- convolutions

// Channels split evenly, each part with a kernel of its own. Source: Tan & Le, "MixConv", 2019.
class MixedConvImpl : public nn::Module {
 public:
  MixedConvImpl(int64_t in, int64_t out, const std::vector<int64_t>& kernels, const ConvOptions& options) {
    const auto parts = static_cast<int64_t>(kernels.size());
    const auto part = [&](int64_t channels, int64_t i) { return channels / parts + (i == 0 ? channels % parts : 0); };
    for (int64_t i = 0; i < parts; ++i) {
      auto own = options;
      own.groups = options.groups == 1 ? 1 : part(in, i);
      splits_.push_back(part(in, i));
      convs_.push_back(
          register_module(std::to_string(i), conv(part(in, i), part(out, i), kernels[static_cast<size_t>(i)], own)));
    }
  }

  Tensor forward(const Tensor& x) {
    auto parts = x.split_with_sizes(splits_, 1);
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i] = convs_[i]->forward(parts[i]);
    }
    return at::cat(parts, 1);
  }

 private:
  std::vector<int64_t> splits_;
  std::vector<Conv2d> convs_;
};
TORCH_MODULE(MixedConv);

// A convolution whose kernel is a sum of experts', weighted for each sample. Source: Yang et al., "CondConv", 2019.
class CondConvImpl : public nn::Module {
 public:
  CondConvImpl(int64_t in, int64_t out, int64_t kernel, int64_t experts, const ConvOptions& options)
      : out_(out), kernel_(kernel), options_(options), shape_{out, in / options.groups, kernel, kernel} {
    weight_ = register_parameter("weight", torch::empty({experts, out * in / options.groups * kernel * kernel}));
  }

  Tensor forward(const Tensor& x, const Tensor& routing) { // routing [N,experts]
    const int64_t n = x.size(0);
    if (n == 0) { // a convolution has at least one group
      auto shape = x.sizes().vec();
      shape[0] = 1;
      return forward(x.new_zeros(shape), routing.new_zeros({1, routing.size(1)})).narrow(0, 0, 0);
    }
    const auto weight = routing.mm(weight_).view({n * out_, shape_[1], kernel_, kernel_});
    const bool dynamic = options_.tf_same && (options_.stride != 1 || kernel_ % 2 == 0);
    const auto padded = dynamic ? pad_tf_same(x, kernel_, options_.stride) : x;
    const auto one_sample = padded.reshape({1, n * x.size(1), padded.size(2), padded.size(3)});
    const auto y = barlow::conv2d(
        one_sample, weight, {}, options_.stride, dynamic ? 0 : (kernel_ - 1) / 2, 1, options_.groups * n);
    return y.view({n, out_, y.size(2), y.size(3)});
  }

  void init() {
    const int64_t fan_out = kernel_ * kernel_ * out_ / options_.groups;
    nn::init::normal_(weight_, 0, std::sqrt(2. / static_cast<double>(fan_out)));
  }

 private:
  int64_t out_, kernel_;
  ConvOptions options_;
  std::vector<int64_t> shape_;
  Tensor weight_;
};
TORCH_MODULE(CondConv);

// --- blocks

// Steps in a row around which a shortcut may lead.
class BlockImpl : public nn::Module {
 public:
  BlockImpl(const Config& config, BlockSpec spec, int64_t in, double drop)
      : config_(config),
        spec_(std::move(spec)),
        act_(spec_.act.value_or(act_of(config.act))),
        out_(round_channels(config, static_cast<double>(spec_.channels)) * (spec_.space_to_depth > 0 ? 4 : 1)),
        drop_(drop),
        skip_(spec_.stride == 1 && in == out_) {
    if (spec_.type == "cn") {
      skip_ = skip_ && spec_.skip;
      add_conv("conv", "bn1", in, out_, spec_.kernel, spec_.stride, 1, act_);
    } else if (spec_.type == "er") {
      build_fused(in);
    } else if (spec_.type == "uir") {
      build_universal(in);
    } else if (spec_.type == "ir") {
      build_inverted(in);
    } else {
      build_separable(in);
    }
    skip_ = skip_ && !spec_.no_skip;
  }

  Tensor forward(const Tensor& x) {
    const Tensor routing = routing_ ? routing_->forward(x.mean({2, 3})).sigmoid() : Tensor();
    Tensor y = x;
    for (const auto& step : steps_) {
      y = step(y, routing);
    }
    return skip_ ? drop_path(y, drop_, is_training()) + x : y;
  }

  int64_t out_channels() const {
    return out_;
  }

 private:
  using Kernels = std::vector<int64_t>;

  ConvOptions conv_options(int64_t stride, int64_t groups) const {
    return {.stride = stride, .groups = groups, .tf_same = config_.tf || spec_.space_to_depth == 1};
  }

  void add_norm(nn::Module& owner, const std::string& name, int64_t channels, Act act) {
    const auto norm = owner.register_module(name, batch_norm(channels, config_.bn_eps));
    steps_.emplace_back(
        [norm, act](const Tensor& x, const Tensor&) mutable { return activate(norm->forward(x), act); });
  }

  void add_conv(
      const std::string& conv_name,
      const std::string& norm_name,
      int64_t in,
      int64_t out,
      const Kernels& kernels,
      int64_t stride,
      int64_t groups,
      Act act) {
    const auto options = conv_options(stride, groups);
    if (spec_.experts > 0) {
      const auto c =
          register_module(conv_name, CondConv(in, out, kernels[0], spec_.experts * config_.expert_factor, options));
      steps_.emplace_back([c](const Tensor& x, const Tensor& routing) mutable { return c->forward(x, routing); });
    } else if (kernels.size() > 1) {
      const auto c = register_module(conv_name, MixedConv(in, out, kernels, options));
      steps_.emplace_back([c](const Tensor& x, const Tensor&) mutable { return c->forward(x); });
    } else {
      const auto c = register_module(conv_name, conv(in, out, kernels[0], options));
      steps_.emplace_back([c](const Tensor& x, const Tensor&) mutable { return c->forward(x); });
    }
    add_norm(*this, norm_name, out, act);
  }

  // A convolution and its norm in a child of their own.
  void add_child(const char* name, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t groups, Act act) {
    const auto child = register_module(name, std::make_shared<nn::Module>());
    const auto c = child->register_module("conv", conv(in, out, kernel, conv_options(stride, groups)));
    steps_.emplace_back([c](const Tensor& x, const Tensor&) mutable { return c->forward(x); });
    add_norm(*child, "bn", out, act);
  }

  void add_squeeze(int64_t channels) {
    using Squeeze = Config::Squeeze;
    if (spec_.squeeze == 0) {
      return;
    }
    double ratio = spec_.squeeze;
    if (!config_.squeeze_of_expanded && spec_.type != "ds" && spec_.type != "dsa") {
      ratio /= spec_.expansion;
    }
    if (spec_.space_to_depth == 1) {
      ratio /= 4;
    }
    const auto kind = config_.squeeze;
    const double exact = static_cast<double>(channels) * ratio;
    const bool by_8 = kind == Squeeze::HardReLU8 || kind == Squeeze::Hard8;
    const auto se = register_module(
        "se",
        SqueezeExcite(
            channels,
            by_8 ? make_divisible(exact, 8, config_.round_limit) : std::lrint(exact),
            SqueezeExciteImpl::Options{
                .act = kind == Squeeze::HardReLU || kind == Squeeze::HardReLU8 ? Act::ReLU : act_,
                .gate = kind == Squeeze::Plain ? Act::Sigmoid : Act::HardSigmoid,
                .fc1 = "conv_reduce",
                .fc2 = "conv_expand"}));
    steps_.emplace_back([se](const Tensor& x, const Tensor&) mutable { return se->forward(x); });
  }

  // A 2x2 convolution of stride 2 in front; the depthwise kernel halves.
  void add_space_to_depth(int64_t& in) {
    if (spec_.space_to_depth != 1) {
      return;
    }
    const auto c = register_module("conv_s2d", conv(in, 4 * in, 2, {.stride = 2, .tf_same = true}));
    steps_.emplace_back([c](const Tensor& x, const Tensor&) mutable { return c->forward(x); });
    in *= 4;
    add_norm(*this, "bn_s2d", in, act_);
    spec_.kernel[0] = (spec_.kernel[0] + 1) / 2;
  }

  void build_separable(int64_t in) {
    add_space_to_depth(in);
    const bool activated = spec_.type == "dsa";
    add_conv("conv_dw", "bn1", in, in, spec_.kernel, spec_.stride, in, act_);
    add_squeeze(in);
    add_conv("conv_pw", "bn2", in, out_, last_kernel(), 1, 1, activated ? act_ : Act::None);
    skip_ = skip_ && !activated;
  }

  void build_inverted(int64_t in) {
    const auto mid = make_divisible(static_cast<double>(in) * spec_.expansion);
    add_conv("conv_pw", "bn1", in, mid, spec_.first_kernel.empty() ? Kernels{1} : spec_.first_kernel, 1, 1, act_);
    add_conv("conv_dw", "bn2", mid, mid, spec_.kernel, spec_.stride, mid, act_);
    add_squeeze(mid);
    add_conv("conv_pwl", "bn3", mid, out_, last_kernel(), 1, 1, Act::None);
    if (spec_.experts > 0) {
      routing_ = register_module("routing_fn", nn::Linear(in, spec_.experts * config_.expert_factor));
    }
  }

  void build_fused(int64_t in) {
    const auto expanded = spec_.forced_in > 0 ? round_channels(config_, static_cast<double>(spec_.forced_in)) : in;
    const auto mid = make_divisible(static_cast<double>(expanded) * spec_.expansion);
    const auto groups = spec_.group_size > 0 ? mid / spec_.group_size : 1;
    add_conv("conv_exp", "bn1", in, mid, spec_.kernel, spec_.stride, groups, act_);
    add_squeeze(mid);
    add_conv("conv_pwl", "bn2", mid, out_, last_kernel(), 1, 1, Act::None);
  }

  // Depthwise convolutions before, between and after the two pointwise ones. Source: Qin et al., "MobileNetV4", 2024.
  void build_universal(int64_t in) {
    const auto first = spec_.first_kernel.empty() ? 0 : spec_.first_kernel[0], middle = spec_.kernel[0];
    const auto last = spec_.last_kernel.empty() ? 0 : spec_.last_kernel[0];
    const auto mid = make_divisible(static_cast<double>(in) * spec_.expansion);
    if (first > 0) {
      add_child("dw_start", in, in, first, middle > 0 ? 1 : spec_.stride, in, Act::None);
    }
    add_child("pw_exp", in, mid, 1, 1, 1, act_);
    if (middle > 0) {
      add_child("dw_mid", mid, mid, middle, spec_.stride, mid, act_);
    }
    add_squeeze(mid);
    add_child("pw_proj", mid, out_, 1, 1, 1, Act::None);
    if (last > 0) {
      add_child("dw_end", out_, out_, last, first == 0 && middle == 0 ? spec_.stride : 1, out_, Act::None);
    }
  }

  Kernels last_kernel() const {
    return spec_.last_kernel.empty() ? Kernels{1} : spec_.last_kernel;
  }

  Config config_;
  BlockSpec spec_;
  Act act_;
  int64_t out_;
  double drop_;
  bool skip_;
  nn::Linear routing_{nullptr};
  std::vector<std::function<Tensor(const Tensor& x, const Tensor& routing)>> steps_;
};
TORCH_MODULE(Block);

int64_t stem_channels(const Config& config) {
  return config.fix_stem ? config.stem : round_channels(config, static_cast<double>(config.stem));
}

// Channels that the blocks give.
int64_t trunk_channels(const Config& config) {
  return round_channels(config, static_cast<double>(parse_stages(config).back().back().channels));
}

EncoderInfo info_of(const std::string& name, const Config& config, const EncoderOptions& options) {
  int64_t width = config.features > 0 ? config.features : trunk_channels(config);
  if (config.head == Config::Head::Conv) {
    width *= pooled_width(choose_pooling(options));
  }
  auto info = describe_encoder(name, options, width, config.input);
  info.first_conv = "conv_stem";
  info.classifier = "classifier";
  return info;
}

void init_module(nn::Module& m) {
  if (auto* c = m.as<nn::Conv2dImpl>()) {
    const auto& w = c->weight;
    const auto fan_out = w.size(2) * w.size(3) * w.size(0) / c->options.groups();
    nn::init::normal_(w, 0, std::sqrt(2. / static_cast<double>(fan_out)));
    if (c->bias.defined()) {
      nn::init::zeros_(c->bias);
    }
  } else if (auto* conditional = m.as<CondConvImpl>()) {
    conditional->init();
  } else if (auto* routing = m.as<nn::LinearImpl>()) {
    const double range = 1 / std::sqrt(static_cast<double>(routing->weight.size(0) + routing->weight.size(1)));
    nn::init::uniform_(routing->weight, -range, range);
    nn::init::zeros_(routing->bias);
  }
}

} // namespace

EfficientNetImpl::EfficientNetImpl(const std::string& name, const Config& config, const EncoderOptions& options)
    : SegmentedEncoderImpl(info_of(name, config, options)),
      config_(config),
      pool_(choose_pooling(options)),
      drop_rate_(options.drop_rate) {
  if (config_.tf) {
    config_.bn_eps = 1e-3;
  }
  int64_t channels = stem_channels(config_);
  conv_stem_ = register_module(
      "conv_stem", conv(options.n_in, channels, config_.stem_kernel, {.stride = 2, .tf_same = config_.tf}));
  bn1_ = register_module("bn1", batch_norm(channels, config_.bn_eps));

  const auto stages = parse_stages(config_);
  int64_t count = 0, block = 0;
  for (const auto& stage : stages) {
    count += static_cast<int64_t>(stage.size());
  }
  Sequential blocks;
  bool deep = false; // behind space to depth, until the next stride, which it has taken already
  for (const auto& stage : stages) {
    Sequential row;
    for (auto spec : stage) {
      if (deep && spec.stride == 2) {
        spec.stride = 1;
        spec.expansion /= 4;
        deep = false;
      } else if (deep) {
        spec.space_to_depth = 2;
      }
      deep = deep || spec.space_to_depth == 1;
      const double drop = options.drop_path_rate * static_cast<double>(block++) / static_cast<double>(count);
      Block next(config_, spec, channels, drop);
      channels = next->out_channels();
      row->push_back(next);
    }
    blocks->push_back(row);
    stages_.push_back(row);
  }
  register_module("blocks", blocks);

  using Head = Config::Head;
  if (config_.head == Head::Conv) {
    if (config_.features > 0) {
      conv_head_ = register_module("conv_head", conv(channels, config_.features, 1));
      head_norm_ = register_module("bn2", batch_norm(config_.features, config_.bn_eps));
    }
  } else {
    conv_head_ = register_module(
        "conv_head",
        conv(channels * pooled_width(pool_), config_.features, 1, {.bias = config_.head == Head::PooledConv}));
    if (config_.head == Head::PooledConvNorm) {
      head_norm_ = register_module("norm_head", batch_norm(config_.features, config_.bn_eps));
    }
  }
  apply(init_module);
}

Tensor EfficientNetImpl::head(const Tensor& x) {
  const bool pool_first = config_.head != Config::Head::Conv;
  Tensor y = pool_first ? global_pool(x, pool_, CatOrder::AvgMax).unsqueeze(-1).unsqueeze(-1) : x;
  if (conv_head_) {
    y = conv_head_->forward(y);
    y = activate(head_norm_ ? head_norm_->forward(y) : y, act_of(config_.act));
  }
  y = pool_first ? y.flatten(1) : global_pool(y, pool_, CatOrder::AvgMax);
  return at::dropout(y, drop_rate_, is_training());
}

std::vector<Segment> EfficientNetImpl::segments() {
  std::vector<Segment> parts{{"stem", [this](const Tensor& x) {
                                return activate(bn1_->forward(conv_stem_->forward(x)), act_of(config_.act));
                              }}};
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    append_segments(parts, "blocks." + std::to_string(stage), stages_[stage]);
  }
  parts.push_back({"head", [this](const Tensor& x) { return head(x); }});
  return parts;
}

} // namespace barlow
