#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets up what is missing and builds the named targets in build/:  bash cmake/build.sh TARGET...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/setup.sh
if [ ! -e build/build.ninja ] || [ -n "${BARLOW_LIBTORCH-}" ]; then
  cmake -S . -B build -G Ninja ${BARLOW_LIBTORCH:+"-DBARLOW_LIBTORCH=$BARLOW_LIBTORCH"}
fi
# A compiler takes up to 2 GB.
jobs=$(awk '/MemAvailable/ { print int($2 / 2e6) + 1 }' /proc/meminfo)
cores=$(nproc)
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$((jobs < cores ? jobs : cores))}
cmake --build build --target "$@"
