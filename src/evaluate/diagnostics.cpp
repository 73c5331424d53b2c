// SPDX-License-Identifier: Apache-2.0
#include <barlow/diagnostics.h>

#include <cmath>
#include <limits>

#include <torch/torch.h>

#include "../check.h"

namespace barlow {
namespace {

using torch::Tensor;

void check_embeddings(const char* here, const Tensor& z) {
  check(
      z.defined() && z.dim() == 2 && z.size(0) >= 2 && z.size(1) >= 1 && z.is_floating_point() && !z.is_meta(),
      here,
      "embeddings must be [N,D], floating, N at least 2, received {}",
      describe(z));
  check<NonFiniteError>(z.isfinite().all().item<bool>(), here, "embeddings must be finite");
}

Tensor standardised(const Tensor& z) { // zero where a feature has no spread but its mean's rounding
  const auto mean = z.mean(0);
  const auto centred = z - mean;
  const auto std = centred.square().mean(0).sqrt();
  const double rounding = 16 *
      (z.scalar_type() == torch::kDouble ? std::numeric_limits<double>::epsilon()
                                         : std::numeric_limits<float>::epsilon());
  return at::where(std > mean.abs() * rounding, centred / std, at::zeros_like(centred));
}

std::string warning_of(const Diagnostics& d, int64_t n, int64_t features) {
  const auto most = static_cast<double>(std::min(n, features));
  const double even = 1 / std::sqrt(static_cast<double>(features));
  if (d.dead_units * 2 > features) {
    return fmt::format(
        "{} of {} features have no spread: they say nothing of the image; lower the learning rate, or look whether the "
        "images are all alike",
        d.dead_units,
        features);
  }
  if (d.std < 0.1 * even) {
    return fmt::format(
        "all embeddings point one way (spread {:.2g}, even would be {:.2g}): collapsed; lower the learning rate, use a "
        "larger batch, or raise lambda",
        d.std,
        even);
  }
  if (most >= 8 && d.rank < 0.1 * most) {
    return fmt::format(
        "the embeddings use {:.1f} of {:.0f} directions: features repeat each other; raise lambda, or train longer",
        d.rank,
        most);
  }
  return {};
}

} // namespace

double rank_me(const Tensor& z) {
  check_embeddings("rank_me", z);
  const torch::NoGradGuard no_grad;
  const auto values = at::linalg_svdvals(z.to(torch::kCPU, torch::kDouble));
  const auto sum = values.sum().item<double>();
  if (sum <= 0) {
    return 1;
  }
  constexpr double kEpsilon = 1e-7; // Garrido et al.'s, in the shares
  const auto share = values / sum + kEpsilon;
  return std::exp(-(share * share.log()).sum().item<double>());
}

Diagnostics diagnose(const Tensor& z1, const Tensor& z2) {
  constexpr auto here = "diagnose";
  check_embeddings(here, z1);
  check_embeddings(here, z2);
  check(z1.sizes() == z2.sizes(), here, "both views need one shape, received {} and {}", describe(z1), describe(z2));
  const torch::NoGradGuard no_grad;
  const auto x = z1.to(torch::kCPU, torch::kDouble), y = z2.to(torch::kCPU, torch::kDouble);
  const auto n = x.size(0), d = x.size(1);
  const auto a = standardised(x), b = standardised(y);
  const auto c = a.t().mm(b) / n;
  const auto both = at::cat({x, y});
  Diagnostics out;
  out.rank = rank_me(both);
  const auto length = at::linalg_vector_norm(both, 2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  out.std = (both / length).std(0).mean().item<double>();
  out.mean_diagonal = c.diagonal().mean().item<double>();
  const auto off = c.square().sum().item<double>() - c.diagonal().square().sum().item<double>();
  out.rms_off_diagonal = d > 1 ? std::sqrt(std::max(off, 0.) / static_cast<double>(d * (d - 1))) : 0;
  const auto spread = both.std(0), size = both.abs().amax(0);
  constexpr double kRounding = 1e-6; // of float32
  out.dead_units = (spread <= kRounding * size).sum().item<int64_t>();
  out.warning = warning_of(out, 2 * n, d);
  return out;
}

} // namespace barlow
