// SPDX-License-Identifier: Apache-2.0
#include <barlow/callbacks/progress.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <barlow/learner.h>

#include "../threads.h"
#include "data_summary.h"

namespace barlow {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);

size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string clock(double seconds) { // 04:07, 1:04:07
  const auto s = std::lround(seconds);
  return s < 3600 ? fmt::format("{:02}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{:.6f}", *value) : "-";
}

} // namespace

std::string Progress::name() const {
  return "Progress";
}

int Progress::order() const {
  return 60;
}

void Progress::before_fit(Learner& learn) {
  wait_ = train_seconds_ = 0;
  work_before_ = learn.dls.train.times();
  terminal_ = ::isatty(STDOUT_FILENO) == 1;
  fmt::print("{:<8}{:<14}{:<14}{}\n", "epoch", "train_loss", "valid_loss", "time");
  std::fflush(stdout);
}

void Progress::start() {
  start_ = Clock::now();
  drawn_ = Clock::time_point();
}

void Progress::before_train(Learner&) {
  start();
}

void Progress::after_train(Learner& learn) {
  wait_ += learn.wait_seconds;
  train_seconds_ += std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::before_validate(Learner&) {
  start();
}

void Progress::after_batch(Learner& learn) {
  const auto now = Clock::now();
  const int64_t done = learn.iter + 1;
  if (!terminal_ || (now - drawn_ < kRedraw && done < learn.n_iter)) {
    return;
  }
  drawn_ = now;
  const double seconds = std::max(std::chrono::duration<double>(now - start_).count(), 1e-9);
  const double rate = static_cast<double>(done) / seconds;
  const auto text = fmt::format(
      " {}/{} [{}<{}, {:.2f} batch/s, loss {:.1f}, data {:.0f}%]",
      done,
      learn.n_iter,
      clock(seconds),
      clock(static_cast<double>(learn.n_iter - done) / rate),
      rate,
      learn.training && !learn.recorder.losses.empty() ? learn.recorder.losses.back() : learn.values.loss,
      100 * learn.wait_seconds / seconds);
  const auto head = fmt::format("{} {} ", learn.training ? "train" : "valid", learn.epoch);
  const size_t width = terminal_width() - 1;
  const size_t room = width > head.size() + text.size() + 2 ? width - head.size() - text.size() - 2 : 0;
  const size_t bar = std::min<size_t>(room, 40);
  const auto filled = bar * static_cast<size_t>(done) / static_cast<size_t>(std::max<int64_t>(learn.n_iter, 1));
  auto line = head;
  if (bar >= 4) {
    line += fmt::format("|{:<{}}|", std::string(filled, '#'), bar);
  }
  line = (line + text).substr(0, width);
  fmt::print("\r{}\033[K", line);
  std::fflush(stdout);
  line_shown_ = true;
}

void Progress::clear_line() {
  if (line_shown_) {
    fmt::print("\r\033[K");
    line_shown_ = false;
  }
}

void Progress::after_epoch(Learner& learn) {
  clear_line();
  const auto& line = learn.recorder.values.back();
  fmt::print(
      "{:<8}{:<14}{:<14}{}\n", line.epoch, number(line.train_loss), number(line.valid_loss), clock(line.seconds));
  std::fflush(stdout);
}

void Progress::after_fit(Learner& learn) {
  clear_line();
  if (learn.skipped > 0) {
    fmt::print("{} steps were skipped: their loss was not finite\n", learn.skipped);
  }
  const auto now = learn.dls.train.times();
  const LoaderTimes work{now.read - work_before_.read, now.decode - work_before_.decode, now.crop - work_before_.crop};
  if (train_seconds_ > 0) {
    fmt::print(
        "{}\n",
        data_summary(
            wait_,
            train_seconds_,
            work,
            learn.dls.train.workers(),
            share_of_cores(learn.dls.train.part().local_count)));
  }
  fmt::print("{}", bad_sample_report(learn.dls));
  std::fflush(stdout);
}

} // namespace barlow
