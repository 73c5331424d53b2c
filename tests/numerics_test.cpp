// SPDX-License-Identifier: Apache-2.0
// Loss, convolutions and batch norms against references written here in float64: random shapes and memory layouts, half
// types, extreme values.
#include <cmath>
#include <random>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <barlow/batch_norm.h>
#include <barlow/conv.h>
#include <barlow/loss.h>

#include "conv_lowered.h"
#include "conv_winograd.h"
#include "support/numbers.h"
#include "support/oracle.h"

namespace barlow {
namespace {

using namespace testing;
using torch::Tensor;
namespace nn = torch::nn;

// --- the loss against its definition

// The formula of loss.h, written differently: C in strips, its derivative term by term, in float64.
struct Reference {
  double loss = 0;
  double size = 0; // of what is summed: D + lmb sum C^2
  Tensor g1, g2; // d loss / d z
  Tensor std1, std2; // [D], 0 for a constant feature
  double slope = 0; // largest |d loss / d a|, a standardised, or 2 / N: gradients round to a share of slope / std
};

std::pair<Tensor, Tensor> standardised(const Tensor& z) { // and the standard deviations
  const auto top = z.amax(0), bottom = z.amin(0);
  const auto constant = top - bottom <= 1e-6 * at::maximum(top.abs(), bottom.abs()); // float32's rounding
  const auto centred = z - z.mean(0);
  const auto std = centred.square().mean(0).masked_fill(constant, 1).sqrt();
  return {(centred / std).masked_fill(constant, 0), std.detach().masked_fill(constant, 0)};
}

Reference reference(const Tensor& z1, const Tensor& z2, double lmb) {
  const auto x1 = exact(z1).clone().requires_grad_(), x2 = exact(z2).clone().requires_grad_();
  const auto [a, std1] = standardised(x1);
  const auto [b, std2] = standardised(x2);
  const auto n = static_cast<double>(z1.size(0));
  const int64_t d = z1.size(1);
  Reference out{.g1 = {}, .g2 = {}, .std1 = std1, .std2 = std2};
  auto grad_a = at::zeros_like(x1), grad_b = at::zeros_like(x2);
  {
    const torch::NoGradGuard no_grad;
    constexpr int64_t kStrip = 256; // rows of C: all of 9000 x 9000 would be 648 MB
    for (int64_t i = 0; i < d; i += kStrip) {
      const int64_t rows = std::min(kStrip, d - i);
      const auto a_rows = a.narrow(1, i, rows);
      const auto c = a_rows.t().mm(b) / n;
      const auto diagonal = c.diagonal(i);
      const auto squares = c.square().sum().item<double>();
      out.loss += ((diagonal - 1).square().sum() + lmb * (squares - diagonal.square().sum())).item<double>();
      out.size += static_cast<double>(rows) + lmb * squares;
      const auto by_c = c * (2 * lmb / n); // d loss / d C_ij, over n
      by_c.diagonal(i).copy_((diagonal - 1) * (2 / n));
      grad_a.narrow(1, i, rows).copy_(b.mm(by_c.t()));
      grad_b.add_(a_rows.mm(by_c));
    }
  }
  out.slope = std::max({grad_a.abs().max().item<double>(), grad_b.abs().max().item<double>(), 2 / n});
  const auto grads = torch::autograd::grad({a, b}, {x1, x2}, {grad_a, grad_b});
  out.g1 = grads[0];
  out.g2 = grads[1];
  return out;
}

// Standardising rounds some ten times, sums of 300 and 9000 products a few times more: with random data at most 1e-15
// and 5e-15 of size and slope in float64, 4e-7 and 7e-7 in float32. Half types are computed as float32, then the
// gradient is rounded to 11 or 8 bits, in half down to 2^-24.
struct LossTolerance {
  double loss, gradient, rounding = 0, least = 0;

  explicit LossTolerance(torch::ScalarType type)
      : loss(type == torch::kDouble ? 1e-13 : 2e-6), gradient(type == torch::kDouble ? 1e-13 : 5e-6) {
    if (type == torch::kHalf) {
      rounding = std::ldexp(1, -11);
      least = std::ldexp(1, -25);
    } else if (type == torch::kBFloat16) {
      rounding = std::ldexp(1, -8);
    }
  }
};

// `slack`: factor of the tolerance.
void expect_loss_of_reference(
    const Tensor& z1,
    const Tensor& z2,
    const std::vector<LossRoute>& routes,
    double slack = 1) {
  constexpr double kLmb = 0.005;
  const auto expected = reference(z1, z2, kLmb);
  const LossTolerance tolerance(z1.scalar_type());
  for (const auto route : routes) {
    SCOPED_TRACE(fmt::format("route {}", static_cast<int>(route)));
    const auto a = z1.detach().requires_grad_(), b = z2.detach().requires_grad_();
    const auto loss = barlow_twins_loss_terms(a, b, {.lmb = kLmb, .route = route}).loss;
    const auto grads = torch::autograd::grad({loss}, {a, b});
    EXPECT_NEAR(loss.item<double>(), expected.loss, slack * tolerance.loss * expected.size);
    const auto expect_gradient = [&](const Tensor& g, const Tensor& exact_g, const Tensor& std) {
      EXPECT_EQ(g.scalar_type(), z1.scalar_type());
      const auto shown = exact_g * std; // without unit, whatever the scale of a feature
      const auto bound = shown.abs() * tolerance.rounding + slack * tolerance.gradient * expected.slope;
      EXPECT_TRUE(within(exact(g) * std, shown, bound + tolerance.least * std));
      EXPECT_EQ(g.masked_fill(std != 0, 0).abs().max().item<double>(), 0) << "of constant features";
    };
    expect_gradient(grads[0], expected.g1, expected.std1);
    expect_gradient(grads[1], expected.g2, expected.std2);
  }
}

// Corners, then D log-uniform, for each size of it to have its turn, with few enough samples for a second's work.
std::vector<std::pair<int64_t, int64_t>> loss_shapes() {
  std::vector<std::pair<int64_t, int64_t>> all{{2, 1}, {2, 9000}, {300, 1}, {7, 50}, {33, 33}, {50, 7}, {300, 1333}};
  std::mt19937 random(20);
  std::uniform_real_distribution<double> log_d(0, std::log(9001));
  std::uniform_int_distribution<int64_t> any_n(2, 300);
  while (all.size() < 40) {
    const auto d = static_cast<int64_t>(std::exp(log_d(random)));
    const auto n = any_n(random);
    if (n * d <= 400'000 && n * d * d <= 400'000'000) {
      all.emplace_back(n, d);
    }
  }
  return all;
}

std::vector<LossRoute> routes_for(int64_t d) {
  return d <= 2000 ? std::vector{LossRoute::Features, LossRoute::Samples, LossRoute::Auto} // else D x D is large
                   : std::vector{LossRoute::Samples, LossRoute::Auto};
}

// Reference: features of any scale and mean, every type, every layout; four types and five layouts give each pair
// twice.
TEST(RandomShapes, LossEqualsItsDefinition) {
  constexpr std::array kTypes{torch::kFloat, torch::kDouble, torch::kHalf, torch::kBFloat16};
  const auto shapes = loss_shapes();
  for (size_t k = 0; k < shapes.size(); ++k) {
    torch::manual_seed(static_cast<uint64_t>(k));
    const auto [n, d] = shapes[k];
    const auto type = kTypes[k % kTypes.size()];
    const auto& layout = kLayouts[k % kLayouts.size()];
    const auto laid = [&, width = d](const Tensor& z) {
      const auto scale = at::pow(10, 2 * torch::rand({width}, torch::kDouble) - 1);
      return layout.of((z * scale + 3 * torch::randn({width}, torch::kDouble)).to(type));
    };
    const auto [z1, z2] = two_views(n, d);
    const auto a = laid(z1), b = laid(z2);
    SCOPED_TRACE(fmt::format("{}x{} {} {}", n, d, torch::toString(type), layout.name));
    // Sums of equal terms, where the layout repeats a feature, round one way at each step: 1e-5 of size and slope.
    const bool repeats = &layout == &kLayouts.back();
    expect_loss_of_reference(a, b, routes_for(d), repeats ? 10 : 1);
  }
}

// Properties: permuted samples, scaled and shifted features, swapped views (C transposed) and a batch that is there
// twice give the same loss, and gradients that follow. In float64: sums in another order, and shifts of some ten
// standard deviations.
TEST(RandomShapes, LossHasItsSymmetries) {
  torch::manual_seed(30);
  for (const auto& [n, d] : loss_shapes()) {
    if (n < 3 || d > 500) { // of two samples there is no gradient to follow
      continue;
    }
    const auto [z1, z2] = two_views(n, d);
    const auto order = torch::randperm(n);
    const auto scale = at::pow(10, 2 * torch::rand({d}, torch::kDouble) - 1);
    const auto shift = 10 * torch::randn({d}, torch::kDouble) * scale;
    const double size = reference(z1, z2, 0.005).size;
    for (const auto route : kBothRoutes) {
      SCOPED_TRACE(fmt::format("{}x{}, route {}", n, d, static_cast<int>(route)));
      const auto plain = loss_and_gradients(z1, z2, route);
      const auto expect_same = [&](const LossAndGradients& other, const Tensor& g1, const Tensor& g2) {
        EXPECT_NEAR(other.loss, plain.loss, 1e-12 * size);
        EXPECT_TRUE(close_to_scale(other.g1, g1, 1e-10));
        EXPECT_TRUE(close_to_scale(other.g2, g2, 1e-10));
      };
      const auto twice = [](const Tensor& z) { return at::cat({z, z}); };
      expect_same(
          loss_and_gradients(z1.index_select(0, order), z2.index_select(0, order), route),
          plain.g1.index_select(0, order),
          plain.g2.index_select(0, order));
      expect_same(loss_and_gradients(z1 * scale + shift, z2, route), plain.g1 / scale, plain.g2);
      expect_same(loss_and_gradients(z1, z2 * scale - shift, route), plain.g1, plain.g2 / scale);
      expect_same(loss_and_gradients(z2, z1, route), plain.g2, plain.g1);
      expect_same(loss_and_gradients(twice(z1), twice(z2), route), twice(plain.g1) / 2, twice(plain.g2) / 2);
    }
  }
}

// --- convolutions and batch norms against their definitions

// y and, for the gradient g of y, those of x and w: one product after the other.
std::array<Tensor, 3>
convolution_by_loops(const Tensor& x, const Tensor& w, const Tensor& g, int64_t stride, int64_t padding) {
  const std::array from{exact(x), exact(w), exact(g)};
  const std::array to{
      torch::zeros(g.sizes(), torch::kDouble),
      torch::zeros(x.sizes(), torch::kDouble),
      torch::zeros(w.sizes(), torch::kDouble)};
  const auto xs = from[0].accessor<double, 4>(), ws = from[1].accessor<double, 4>(), gs = from[2].accessor<double, 4>();
  auto ys = to[0].accessor<double, 4>(), grad_xs = to[1].accessor<double, 4>(), grad_ws = to[2].accessor<double, 4>();
  const auto each_tap = [&](int64_t n, int64_t o, int64_t i, int64_t j) {
    for (int64_t c = 0; c < w.size(1); ++c) {
      for (int64_t p = 0; p < w.size(2); ++p) {
        for (int64_t q = 0; q < w.size(3); ++q) {
          const int64_t r = i * stride + p - padding, s = j * stride + q - padding;
          if (r >= 0 && r < x.size(2) && s >= 0 && s < x.size(3)) {
            ys[n][o][i][j] += xs[n][c][r][s] * ws[o][c][p][q];
            grad_xs[n][c][r][s] += gs[n][o][i][j] * ws[o][c][p][q];
            grad_ws[o][c][p][q] += gs[n][o][i][j] * xs[n][c][r][s];
          }
        }
      }
    }
  };
  for (int64_t n = 0; n < g.size(0); ++n) {
    for (int64_t o = 0; o < g.size(1); ++o) {
      for (int64_t i = 0; i < g.size(2); ++i) {
        for (int64_t j = 0; j < g.size(3); ++j) {
          each_tap(n, o, i, j);
        }
      }
    }
  }
  return to;
}

using OneConvolution = std::function<Tensor(const Tensor& x, const Tensor& w)>;

// `of_each`: tolerance as a share of the sum of magnitudes that an element is; `of_largest`: of the largest such sum.
void expect_convolution_of_loops(
    const OneConvolution& f,
    const Convolution& s,
    torch::ScalarType type,
    size_t k,
    double of_each,
    double of_largest) {
  const auto laid = [&](at::IntArrayRef shape, size_t layout) {
    return kLayouts[layout % kLayouts.size()].of(torch::randn(shape, type)).detach();
  };
  const auto x = laid({s.n, s.in, s.height, s.width}, k).requires_grad_();
  const auto w = laid({s.out, s.in, s.kernel, s.kernel}, k / 2).requires_grad_();
  const auto g = laid({s.n, s.out, s.out_height(), s.out_width()}, k / 3);
  SCOPED_TRACE(
      fmt::format(
          "{} {}: {} image, {} kernel, {} gradient",
          s.name(),
          torch::toString(type),
          kLayouts[k % kLayouts.size()].name,
          kLayouts[k / 2 % kLayouts.size()].name,
          kLayouts[k / 3 % kLayouts.size()].name));
  const auto expected = convolution_by_loops(x, w, g, s.stride, s.padding);
  const auto magnitude = convolution_by_loops(x.abs(), w.abs(), g.abs(), s.stride, s.padding);
  const auto y = f(x, w);
  const auto grads = torch::autograd::grad({y}, {x, w}, {g});
  const std::array results{y.detach(), grads[0], grads[1]};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(within(results[i], expected[i], magnitude[i] * of_each + magnitude[i].max() * of_largest)) << i;
  }
  // Who wants one gradient gets the same.
  EXPECT_TRUE(torch::autograd::grad({f(x, w.detach())}, {x}, {g})[0].equal(grads[0]));
  EXPECT_TRUE(torch::autograd::grad({f(x.detach(), w)}, {w}, {g})[0].equal(grads[1]));
}

// Reference: sums of up to 700 products, whose magnitudes are summed too; rounding adds up to some 26 (their root) ulp
// of that, 3e-15 or 2e-6.
TEST(RandomShapes, LoweredConvolution) {
  torch::manual_seed(40);
  std::mt19937 random(40);
  const auto any = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  for (size_t k = 0; k < 60;) {
    const Convolution s{any(1, 3), any(1, 4), any(1, 4), any(1, 9), any(1, 9), any(1, 5), any(1, 3), any(0, 3)};
    if (s.kernel > std::min(s.height, s.width) + 2 * s.padding) {
      continue;
    }
    const auto f = [&](const Tensor& x, const Tensor& w) { return lowered_conv2d(x, w, s.stride, s.padding); };
    const auto type = k % 3 == 2 ? torch::kFloat : torch::kDouble;
    expect_convolution_of_loops(f, s, type, k, type == torch::kDouble ? 1e-14 : 1e-5, 0);
    ++k;
  }
}

// Reference: the transforms' numbers, up to 64 times another, round the more; conv_winograd.h says 1e-5 of the largest
// output, and 600 random shapes had at most 6e-6.
TEST(RandomShapes, WinogradsConvolution) {
  torch::manual_seed(41);
  std::mt19937 random(41);
  const auto any = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  for (size_t k = 0; k < 30; ++k) {
    const Convolution s{any(1, 3), any(1, 6), any(1, 6), any(1, 11), any(1, 11), 3, 1, 1};
    const auto f = [](const Tensor& x, const Tensor& w) { return winograd_conv2d(x, w); };
    expect_convolution_of_loops(f, s, torch::kFloat, k, 0, 2e-5);
  }
}

// y and the gradients of x, weight and bias for the gradient g of y; weight, bias undefined: 1, 0.
std::array<Tensor, 4>
batch_norm_by_definition(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& g, double eps) {
  std::vector<int64_t> over, shape(static_cast<size_t>(x.dim()), 1);
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (d != 1) {
      over.push_back(d);
    }
  }
  shape[1] = x.size(1);
  const auto mean = [&](const Tensor& t) { return t.mean(over, /*keepdim=*/true); };
  const auto centred = exact(x) - mean(exact(x)), up = exact(g);
  const auto inv_std = (mean(centred.square()) + eps).rsqrt(), hat = centred * inv_std;
  const auto w = weight.defined() ? exact(weight).view(shape) : torch::ones(shape, torch::kDouble);
  const auto b = bias.defined() ? exact(bias).view(shape) : torch::zeros(shape, torch::kDouble);
  return {hat * w + b, w * inv_std * (up - mean(up) - hat * mean(up * hat)), (up * hat).sum(over), up.sum(over)};
}

struct NormCase {
  Tensor x, g, weight, bias;
};

// Rows some standard deviations from zero, in the k-th layout; every third case without weight and bias.
NormCase norm_case(std::mt19937& random, torch::ScalarType type, size_t k) {
  const auto any = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  const int64_t n = any(2, 9), c = any(1, 5), h = k % 2 == 0 ? any(1, 6) : 1, w = k % 2 == 0 ? any(1, 6) : 1;
  const auto shaped = [&](const Tensor& rows, size_t layout) {
    const auto images = rows.view({n, h, w, c}).permute({0, 3, 1, 2});
    return kLayouts[layout % kLayouts.size()].of((k % 2 == 0 ? images : images.flatten(1)).to(type)).detach();
  };
  NormCase out;
  out.x = shaped(2 * embeddings(n * h * w, c) + 6, k).requires_grad_();
  out.g = shaped(torch::randn({n * h * w, c}, torch::kDouble), k / 2);
  if (k % 3 != 0) {
    const auto kept = type == torch::kDouble ? torch::kDouble : torch::kFloat;
    out.weight = (torch::rand({c}, kept) + 0.5).requires_grad_();
    out.bias = torch::randn({c}, kept).requires_grad_();
  }
  return out;
}

// `sums`: tolerance of the arithmetic; `rounding`: of a half type, by which results are rounded twice.
void expect_norm_of_definition(const NormCase& of, double sums, double rounding) {
  const nn::BatchNormOptions options(of.x.size(1));
  BatchNormTensors tensors{of.weight, of.bias, {}, {}, {}};
  tensors.running_mean =
      torch::zeros({of.x.size(1)}, of.x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat);
  tensors.running_var = torch::zeros_like(tensors.running_mean);
  const auto expected = batch_norm_by_definition(of.x, of.weight, of.bias, of.g, options.eps());
  const auto y = synced_batch_norm(ProcessGroup(), of.x, tensors, options);
  auto leaves = std::vector<Tensor>{of.x};
  if (of.weight.defined()) {
    leaves.insert(leaves.end(), {of.weight, of.bias});
  }
  const auto grads = torch::autograd::grad({y}, leaves, {of.g});
  const auto up = exact(of.g).abs();
  const std::array<double, 4> scales{
      expected[0].abs().max().item<double>(),
      expected[1].abs().max().item<double>() + up.max().item<double>(), // standard deviations are 1 and more
      3 * up.sum().item<double>(),
      up.sum().item<double>()};
  EXPECT_EQ(y.scalar_type(), of.x.scalar_type());
  for (size_t i = 0; i < leaves.size() + 1; ++i) {
    const auto& ours = i == 0 ? y : grads[i - 1];
    EXPECT_TRUE(close_each(ours, expected[i], 0, scales[i] * (sums + 2 * rounding))) << i;
  }
  // 0.1 of the way from 0 to mean and unbiased variance
  const auto rows = exact(of.x).transpose(0, 1).flatten(1);
  EXPECT_TRUE(close_each(tensors.running_mean, 0.1 * rows.mean(1), 2 * sums));
  EXPECT_TRUE(close_each(tensors.running_var, 0.1 * rows.var(1, /*unbiased=*/true), 2 * sums));
}

// Reference: 200 random shapes had errors of 2e-15 and 5e-7.
TEST(RandomShapes, SyncedBatchNorm) {
  torch::manual_seed(42);
  std::mt19937 random(42);
  for (size_t k = 0; k < 60; ++k) {
    const auto type = k % 4 < 2 ? torch::kDouble : torch::kFloat;
    const auto one = norm_case(random, type, k);
    std::ostringstream shape;
    shape << one.x.sizes() << ' ' << torch::toString(type) << ' ' << kLayouts[k % kLayouts.size()].name;
    SCOPED_TRACE(shape.str());
    expect_norm_of_definition(one, type == torch::kDouble ? 1e-13 : 5e-6, 0);
  }
}

// Reference. Under autocast images come as half types; as with torch's norm, statistics are float32 nevertheless: bits
// that the mean of large values lacks are missing from every difference to it.
TEST(HalfTypes, SyncedBatchNormKeepsStatisticsInFloat32) {
  torch::manual_seed(43);
  std::mt19937 random(43);
  for (const auto type : {torch::kHalf, torch::kBFloat16}) {
    for (size_t k = 0; k < 20; ++k) {
      const auto one = norm_case(random, type, k);
      std::ostringstream shape;
      shape << one.x.sizes() << ' ' << torch::toString(type) << ' ' << kLayouts[k % kLayouts.size()].name;
      SCOPED_TRACE(shape.str());
      expect_norm_of_definition(one, 5e-6, std::ldexp(1, type == torch::kHalf ? -11 : -8));
    }
  }
}

// --- extremes

// By name: views [16,8] in float64. loss.h: a feature without spread beyond rounding has correlation zero.
std::vector<std::pair<std::string, std::pair<Tensor, Tensor>>> extremes() {
  torch::manual_seed(50);
  const auto [x, y] = two_views(16, 8);
  const auto sizes = at::pow(10, torch::tensor({-30., 0., 30., -30., 0., 30., 15., -15.}, torch::kDouble));
  const auto one_hot = torch::eye(8, torch::kDouble).repeat({2, 1});
  const auto alike = x.narrow(0, 0, 1).expand_as(x);
  const auto few = torch::arange(16) % 4;

  const auto constant = x.clone(), other_constant = y.clone();
  constant.select(1, 0).fill_(0);
  constant.select(1, 1).fill_(0.1);
  constant.select(1, 2).fill_(1e30);
  other_constant.select(1, 2).fill_(-7);
  other_constant.select(1, 3).fill_(1e-30);

  const auto nearly = x.clone(); // two neighbours of float32
  nearly.select(1, 5).fill_(0.1F);
  nearly.select(1, 5).slice(0, 0, 16, 2).fill_(std::nextafter(0.1F, 1.F));

  const auto outlier = x.clone(), other_outlier = y.clone();
  outlier[3][1].fill_(1e30);
  outlier[4][4].fill_(1e30);
  other_outlier[4][4].fill_(1e30);
  other_outlier[5][2].fill_(-1e30);
  return {
      {"values of 1e-30", {x * 1e-30, y * 1e-30}},
      {"values of 1e30", {x * 1e30, y * 1e30}},
      {"both, and others", {x * sizes, y * sizes.flip(0)}},
      {"constant features", {constant, other_constant}},
      {"all samples alike in a view", {alike, y}},
      {"all samples alike", {alike, alike + 1}},
      {"duplicates", {x.index_select(0, few), y.index_select(0, few)}},
      {"one-hot rows", {one_hot, one_hot}},
      {"outliers", {outlier, other_outlier}},
      {"a spread of rounding", {nearly, y}}};
}

// Reference: loss and gradient are finite and right, those of constant features zero.
TEST(Extremes, LossAndGradientAreThoseOfTheDefinition) {
  for (const auto& [name, views] : extremes()) {
    for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
      if (name == "a spread of rounding" && type == torch::kDouble) {
        continue; // there it is one
      }
      SCOPED_TRACE(fmt::format("{}, {}", name, torch::toString(type)));
      expect_loss_of_reference(views.first.to(type), views.second.to(type), kBothRoutes);
    }
  }
}

// By hand: C is zero, so that each feature costs 1 and nothing else does.
TEST(Extremes, CollapsedViewsCostOneAFeature) {
  torch::manual_seed(53);
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kHalf, torch::kBFloat16}) {
    const auto z = torch::randn({1, 5}).expand({6, 5}).to(type);
    for (const auto route : kBothRoutes) {
      const auto r = loss_and_gradients(z, z * 2, route);
      EXPECT_EQ(r.loss, 5);
      EXPECT_EQ(at::maximum(r.g1.abs(), r.g2.abs()).max().item<double>(), 0);
    }
  }
}

// Reference: nothing of half's range, up to 65504, leaves float32's.
TEST(Extremes, LargeHalfValuesDoNotOverflow) {
  torch::manual_seed(51);
  const auto [x, y] = two_views(16, 8);
  const auto large = [](const Tensor& z) { return (z * (65504 / z.abs().max())).to(torch::kHalf); };
  expect_loss_of_reference(large(x), large(y), kBothRoutes);
}

// Reference. Precision::Float16 multiplies the loss so that small gradients do not vanish: they are rounded to half
// after that, not before, and the factor, 65536 at first, need not be a half number itself.
TEST(HalfTypes, LossIsScaledBeforeItsGradientIsRounded) {
  torch::manual_seed(52);
  const auto [x, y] = two_views(16, 8);
  for (const double size : {1., 4000.}) { // at the second, gradients are some 4e-6: 6 bits of half, or 11 once scaled
    const auto a = (x * size).to(torch::kHalf).requires_grad_(), b = (y * size).to(torch::kHalf).requires_grad_();
    const auto expected = reference(a, b, 0.005);
    const auto grads = torch::autograd::grad({barlow_twins_loss(a, b) * 65536}, {a, b});
    const auto expect_gradient = [&](const Tensor& g, const Tensor& exact_g, const Tensor& std) {
      const auto scaled = 65536 * exact_g;
      ASSERT_LT(scaled.abs().max().item<double>(), 65504); // or half could not hold it
      const LossTolerance tolerance(torch::kHalf);
      const auto bound =
          scaled.abs() * tolerance.rounding + 65536 * tolerance.gradient * expected.slope / std + tolerance.least;
      EXPECT_TRUE(within(g, scaled, bound)) << size;
    };
    expect_gradient(grads[0], expected.g1, expected.std1);
    expect_gradient(grads[1], expected.g2, expected.std2);
  }
}

} // namespace
} // namespace barlow
