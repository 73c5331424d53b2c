#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what this machine lacks to build and test barlow, and nothing else.
#
#   bash cmake/setup.sh [--lint] [--peers] [FOLDER]
#
#   --lint   also clang-format and clang-tidy, in .venv-lint, and Doxygen
#   --peers  also what reads our files, in .venv-peers, for tests/interop and tests/program, Conan, and a browser
#   FOLDER   where LibTorch (5 GB) goes if there is none; .venv will be a link to it
#
# A LibTorch that is already there is taken instead: see cmake/LibTorch.cmake.
set -euo pipefail

lint=false
peers=false
folder=
for arg in "$@"; do
  case $arg in
    --lint) lint=true ;;
    --peers) peers=true ;;
    -*) sed -n '4,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 1 ;;
    *) folder=$(realpath -m "$arg") ;;
  esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "$1: $2"; }
die() { echo "$1" >&2; exit 1; }

# --- packages

# Each prints where it found what it was asked for, or fails.
program() { command -v "$1"; }
header() {
  local dir
  for dir in ${CPATH//:/ } /usr/local/include /usr/include /usr/include/*-linux-gnu; do
    if [ -e "$dir/$1" ]; then echo "$dir/$1"; return; fi
  done
  return 1
}
python() { # able to make virtual environments: Debian's alone is not
  python3 -c "import $1, sys; print(sys.executable)" 2>/dev/null
}

CPATH=${CPATH-}
missing=()
packages=()
need() { # need NAME FINDER WHAT PACKAGE...
  local found
  if found=$("$2" "$3"); then
    say "$1" "$found"
  else
    missing+=("$1")
    packages+=("${@:4}")
  fi
}
need "C++ compiler" program g++ g++
need CMake program cmake cmake
need Ninja program ninja ninja-build
need Python python ensurepip python3 python3-venv
need OpenCV header opencv4/opencv2/imgcodecs.hpp libopencv-{core,imgproc,imgcodecs}-dev
need libjpeg-turbo header jpeglib.h libjpeg-dev
need libtiff header tiffio.h libtiff-dev
need libwebp header webp/decode.h libwebp-dev
need libexif header libexif/exif-data.h libexif-dev
need libarchive header archive.h libarchive-dev
need zlib header zlib.h zlib1g-dev
need GoogleTest header gmock/gmock.h libgtest-dev libgmock-dev
need "Google Benchmark" header benchmark/benchmark.h libbenchmark-dev
need nlohmann-json header nlohmann/json.hpp nlohmann-json3-dev
need protozero header protozero/pbf_builder.hpp libprotozero-dev
need CLI11 header CLI/CLI.hpp libcli11-dev
need yaml-cpp header yaml-cpp/yaml.h libyaml-cpp-dev
need ISA-L header isa-l/crc.h libisal-dev
need gloo header gloo/config.h libgloo-dev
if $lint; then
  need Doxygen program doxygen doxygen
fi
if $peers; then
  need Chromium program chromium chromium # looks at reports
fi

if [ ${#missing[@]} -gt 0 ]; then
  list=$(printf ', %s' "${missing[@]}")
  list=${list:2}
  install=(apt-get install -y --no-install-recommends "${packages[@]}")
  command -v apt-get >/dev/null || die "Missing: $list. Install them; this script only knows apt-get."
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    # sudo may ask for a password only where somebody can type one.
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      die "Missing: $list. Have an administrator run this, then try again:
  apt-get update && ${install[*]}"
    fi
  fi
  say Installing "$list"
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}"; } </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    die "apt-get failed; its output is above and in $log"
  fi
  rm "$log"
fi

# --- LibTorch

install_libtorch() {
  local venv=${folder:-$(readlink -f .venv)}
  # While this file is there .venv is half-made, and ours to remove.
  if [ -e .venv-unfinished ]; then
    say LibTorch ".venv was left half-made; making it again"
    rm -rf "$(readlink -f .venv)"
  fi
  [ -z "$folder" ] || ln -sfnT "$folder" .venv
  if [ ! -e "$venv/pyvenv.cfg" ]; then
    [ ! -e "$venv" ] || die "$venv is there and is no virtual environment; remove it or name another folder."
    touch .venv-unfinished
  fi
  say LibTorch "installing torch==2.11.0 into $venv (5 GB, some minutes)"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check torch==2.11.0
  rm -f .venv-unfinished
}

if [ -n "${BARLOW_LIBTORCH-}" ]; then
  cmake -P cmake/LibTorch.cmake
elif [ -e .venv-unfinished ] || ! cmake -P cmake/LibTorch.cmake 2>/dev/null; then
  install_libtorch
  cmake -P cmake/LibTorch.cmake
fi

# --- lint

if $lint; then
  tools=(clang-format==23.1.5 clang-tidy==23.1.4)
  if [ "$(cat .venv-lint/tools 2>/dev/null)" != "${tools[*]}" ]; then
    python3 -m venv .venv-lint
    .venv-lint/bin/python -m pip install --quiet --disable-pip-version-check "${tools[@]}"
    echo "${tools[*]}" >.venv-lint/tools
  fi
  say Lint "${tools[*]} in .venv-lint"
fi

# --- the Python libraries that files are exchanged with

if $peers; then
  packages=(timm==1.0.31 torchvision==0.26.0 onnx==1.23.2 onnxruntime==1.32.0 safetensors==0.8.0 tensorboard==2.21.0 numpy
    conan==2.34.0)
  if [ "$(cat .venv-peers/packages 2>/dev/null)" != "${packages[*]}" ]; then
    python3 -m venv .venv-peers
    site=$(.venv-peers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    if [ -e .venv/bin/python ]; then # its torch, not a second one of 5 GB
      .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/torch.pth"
    fi
    .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check torch==2.11.0 "${packages[@]}"
    echo "${packages[*]}" >.venv-peers/packages
  fi
  say Peers "${packages[*]} in .venv-peers"
fi
