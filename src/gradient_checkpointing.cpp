// SPDX-License-Identifier: Apache-2.0
#include <barlow/gradient_checkpointing.h>

#include <torch/torch.h>

#include "autocast.h"
#include "check.h"
#include "generator.h"

namespace barlow {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  result.reserve(tensors.size());
  for (const auto& x : tensors) {
    result.push_back(x.clone());
  }
  return result;
}

// Some segments in a row, and what their second pass must find as the first one did.
struct Chunk : torch::CustomClassHolder {
  std::vector<Segment> segments;
  std::vector<Tensor> buffers;
  at::Device device = at::kCPU;
  Tensor generator;
  std::optional<at::ScalarType> autocast;

  Tensor forward(Tensor x) const {
    for (const auto& segment : segments) {
      x = segment.forward(x);
    }
    return x;
  }

  // With a graph that is dropped: some kernels are others without one, and so are their last bits.
  Tensor first_pass(const Tensor& x) {
    device = x.device();
    generator = generator_state(device);
    autocast = Autocast::current(device.type());
    const torch::AutoGradMode with_grad(true);
    return forward(x.detach().requires_grad_(x.requires_grad())).detach();
  }

  Tensor second_pass(const Tensor& x) const {
    const KeepGenerator keep(device);
    set_generator_state(device, generator);
    const Autocast as_then(device.type(), autocast);
    const auto before = copies(buffers);
    auto y = forward(x);
    for (size_t i = 0; i < buffers.size(); ++i) { // variable_data: the norms' backward has yet to see them unchanged
      buffers[i].variable_data().copy_(before[i]);
    }
    return y;
  }
};

// `anchor` is a scalar that wants a gradient: the images do not, and the parameters are hidden in the segments.
struct Checkpointed : torch::autograd::Function<Checkpointed> {
  static Tensor
  forward(AutogradContext* ctx, const Tensor& x, const Tensor& /*anchor*/, const c10::intrusive_ptr<Chunk>& chunk) {
    ctx->save_for_backward({x});
    ctx->saved_data["chunk"] = c10::IValue::make_capsule(chunk);
    return chunk->first_pass(x);
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grad_output) {
    check(
        !torch::GradMode::is_enabled(),
        "checkpoint_sequential",
        "the gradient cannot be differentiated again; call backward without create_graph");
    const auto capsule = ctx->saved_data["chunk"].toCapsule();
    const auto& chunk = static_cast<const Chunk&>(*capsule);
    const auto saved = ctx->get_saved_variables()[0];
    const auto x = saved.detach().requires_grad_(ctx->needs_input_grad(0));
    Tensor y;
    {
      const torch::AutoGradMode with_grad(true);
      y = chunk.second_pass(x);
    }
    torch::autograd::backward({y}, {grad_output[0]});
    return {x.grad(), {}, {}};
  }
};

} // namespace

Tensor checkpoint_sequential(
    const std::vector<Segment>& segments,
    int64_t nchunks,
    const Tensor& x,
    const std::vector<Tensor>& buffers) {
  constexpr auto here = "checkpoint_sequential";
  check(!segments.empty(), here, "there must be at least one segment");
  check(nchunks >= 1, here, "nchunks must be at least 1, received {}", nchunks);
  check(
      std::all_of(segments.begin(), segments.end(), [](const Segment& s) { return s.forward != nullptr; }),
      here,
      "every segment must have a function");
  check(x.defined() && !x.is_meta(), here, "x must be a tensor with data, received {}", describe(x));
  check(
      std::all_of(buffers.begin(), buffers.end(), [](const Tensor& b) { return b.defined(); }),
      here,
      "buffers must be tensors, received an undefined one");
  const auto anchor = torch::empty({0}, x.options().dtype(torch::kFloat)).requires_grad_();
  const auto count = static_cast<int64_t>(segments.size());
  const auto chunks = std::min(nchunks, count);
  Tensor y = x;
  for (int64_t c = 0; c < chunks; ++c) {
    auto chunk = c10::make_intrusive<Chunk>();
    chunk->segments.assign(segments.begin() + c * count / chunks, segments.begin() + (c + 1) * count / chunks);
    const bool keeps_activations = c + 1 == chunks;
    if (keeps_activations) {
      return chunk->forward(y);
    }
    chunk->buffers = buffers;
    y = Checkpointed::apply(y, anchor, chunk);
  }
  return y;
}

} // namespace barlow
