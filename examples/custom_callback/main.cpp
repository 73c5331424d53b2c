// SPDX-License-Identifier: Apache-2.0
// Something of your own at each step: derive from Callback, override the events of interest.
#include <iostream>

#include <torch/torch.h>

#include <barlow/barlow.h>

// Logs how many directions the embeddings use, and ends the fit when they are no longer growing in number.
class StopWhenRankSettles : public barlow::Callback {
 public:
  explicit StopWhenRankSettles(double least_gain) : least_gain_(least_gain) {}
  std::string name() const override {
    return "StopWhenRankSettles";
  }
  int order() const override {
    return 70; // after those that record the epoch
  }

  void after_pred(barlow::Learner& learn) override {
    if (learn.training) {
      const torch::NoGradGuard no_grad;
      last_ = learn.pred.detach(); // [2N,D], both views
    }
  }
  void after_epoch(barlow::Learner&) override {
    const double rank = barlow::rank_me(last_.to(torch::kFloat));
    std::cout << "rank of the last batch's embeddings " << rank << '\n';
    const bool settled = rank - rank_ < least_gain_;
    rank_ = rank;
    if (settled) {
      throw barlow::CancelFit();
    }
  }

  // What a run that is interrupted and goes on needs.
  barlow::NamedTensors state() const override {
    return {{"rank", torch::tensor(rank_, torch::kDouble)}};
  }
  void load_state(const barlow::NamedTensors& state) override {
    rank_ = state.at(0).second.item<double>();
  }

 private:
  double least_gain_, rank_ = 0;
  torch::Tensor last_;
};

int main() try {
  torch::manual_seed(42);
  const auto dls =
      barlow::DataLoaders::from_folder(BARLOW_EXAMPLE_DATA "/mnist_tiny", {.batch_size = 50, .channels = 1});
  const auto model = barlow::create_barlow_twins_model(barlow::create_encoder("xresnet18", {.n_in = 1}));
  barlow::Learner learn(dls, model);
  learn.add(barlow::BarlowTwins(barlow::get_gray_aug_pipelines({.size = 28})));
  learn.add(StopWhenRankSettles(1));
  learn.print_loop(std::cout); // who listens where
  learn.fit(5);
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
