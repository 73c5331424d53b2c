#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fuzzes the readers of files that strangers may have written; needs clang and its compiler-rt.
#
#   bash tests/fuzz/run.sh [SECONDS for each, 600] [FORMAT...]
#
# The formats are the folders of tests/fuzz/seeds. It goes on from what keep.sh has kept. A crash stops it and leaves its
# input in build/fuzz. What has been found interesting stays in build/fuzz/corpus; keep.sh brings it to tests/fuzz/corpus,
# which the tests read again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${1:-600}
shift || true
if [ $# = 0 ]; then
  for seeds in tests/fuzz/seeds/*; do set -- "$@" "${seeds##*/}"; done
fi
build=build/fuzz
cmake -S . -B $build -G Ninja -DCMAKE_CXX_COMPILER="${CLANG:-clang++}" -DBARLOW_BUILD_FUZZERS=ON -DBARLOW_WITH_CUDA=OFF >/dev/null
cmake --build $build --target barlow_fuzz
cd $build
for format in "$@"; do
  mkdir -p "corpus/$format"
  if [ -e ../../tests/fuzz/corpus/"$format".tar.gz ]; then tar -C "corpus/$format" -xzf ../../tests/fuzz/corpus/"$format".tar.gz; fi
  # Leaks: LibTorch keeps what it loads, and what its zip reader has read of an archive that it refuses.
  BARLOW_FUZZ=$format ASAN_OPTIONS=detect_leaks=0 ./tests/fuzz/barlow_fuzz -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=4096 -detect_leaks=0 -artifact_prefix="$format-" -print_final_stats=1 "corpus/$format" \
    ../../tests/fuzz/seeds/"$format" 2>"$format.log" || { tail -40 "$format.log"; exit 1; }
  grep -E "stat::number_of_executed_units|^Done" "$format.log" | sed "s/^/$format: /"
done
