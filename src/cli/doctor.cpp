// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/torch.h>
#include <unistd.h>
#ifdef BARLOW_HAS_OPENCV
#include <opencv2/core/version.hpp>
#endif

#include <barlow/encoder.h>

#include "commands.h"

namespace barlow::cli {
namespace {

void say(const char* what, const std::string& found, const std::string& remedy = {}) {
  fmt::print("{:<14}{}\n", what, found);
  if (!remedy.empty()) {
    fmt::print("{:<14}-> {}\n", "", remedy);
  }
}

std::string libtorch_path() {
  Dl_info info{};
  const auto* symbol = reinterpret_cast<const void*>(&at::get_num_threads);
  return ::dladdr(symbol, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "an unknown place";
}

void say_cuda() {
  const auto devices = torch::cuda::device_count();
  if (devices > 0) {
    say("CUDA", fmt::format("{} devices, cuDNN {}", devices, torch::cuda::cudnn_is_available() ? "there" : "missing"));
    return;
  }
  const bool built = at::hasCUDA();
  const bool driver = std::filesystem::exists("/proc/driver/nvidia/version");
  const char* remedy = "";
  if (driver) {
    remedy = built ? "the driver is there but gives no device; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
                   : "this LibTorch has no CUDA: pip install torch==2.11.0, or the CUDA zip, then build again";
  }
  say("CUDA", driver ? "no device" : "no NVIDIA driver: training runs on the CPU", remedy);
}

void say_parts() {
#ifdef BARLOW_HAS_CUDA
  say("CUDA kernels", "barlow's own");
#else
  say("CUDA kernels", "ATen's alone", "with an nvcc of LibTorch's CUDA version on the PATH, build again");
#endif
#ifdef BARLOW_HAS_OPENCV
  say("images", "OpenCV " CV_VERSION ", JPEG, PNG, TIFF, WebP, BMP");
#else
  say("images",
      "none can be read from files",
      "apt-get install libopencv-{core,imgproc,imgcodecs}-dev libjpeg-dev libtiff-dev libwebp-dev libexif-dev; build "
      "again");
#endif
#ifdef BARLOW_HAS_ARCHIVE
  say("archives", "tar shards and gzip");
#else
  say("archives", "none", "apt-get install libarchive-dev; build again");
#endif
#ifdef BARLOW_HAS_ISAL
  say("TensorBoard", "event files");
#else
  say("TensorBoard", "none", "apt-get install libisal-dev; build again");
#endif
#ifdef BARLOW_HAS_GLOO
#ifdef BARLOW_HAS_NCCL
  say("processes", "Gloo and NCCL");
#else
  say("processes", "Gloo");
#endif
#else
  say("processes", "one alone", "apt-get install libgloo-dev; build again");
#endif
}

double gibibytes(const char* key) { // of /proc/meminfo
  std::ifstream file("/proc/meminfo");
  std::string name;
  for (double kib = 0; file >> name >> kib; file.ignore(64, '\n')) {
    if (name == key) {
      return kib / (1 << 20);
    }
  }
  return 0;
}

void say_machine() {
  const auto* limit = std::getenv("OMP_NUM_THREADS");
  const auto cores = std::thread::hardware_concurrency();
  say("threads",
      fmt::format("{} of {} cores{}", at::get_num_threads(), cores, limit != nullptr ? ", by OMP_NUM_THREADS" : ""),
      static_cast<unsigned>(at::get_num_threads()) < cores && limit != nullptr ? "unset OMP_NUM_THREADS to use all"
                                                                               : "");
  say("memory", fmt::format("{:.1f} GiB, {:.1f} free", gibibytes("MemTotal:"), gibibytes("MemAvailable:")));
  const auto space = std::filesystem::space(std::filesystem::current_path());
  constexpr double kGib = 1 << 30;
  say("disk",
      fmt::format("{:.1f} GiB free here", static_cast<double>(space.available) / kGib),
      static_cast<double>(space.available) < kGib
          ? "a checkpoint of a ResNet-50 takes 0.5 GB; give --out on another disk"
          : "");
  const auto* weights = std::getenv("BARLOW_WEIGHTS");
  say("weights", weights != nullptr ? weights : "BARLOW_WEIGHTS names no folder of published weights");
}

} // namespace

int run_doctor(const Arguments& arguments) {
  const auto app =
      make_app("doctor", "What there is to compute with, what is missing, and how to get it.", "barlow doctor");
  parse(*app, arguments);
  say("barlow", fmt::format("{}, {} encoders", BARLOW_VERSION, list_encoders().size()));
  say("LibTorch", fmt::format("{}, {}", TORCH_VERSION, libtorch_path()));
  say_cuda();
  say_parts();
  say_machine();
  return 0;
}

} // namespace barlow::cli
