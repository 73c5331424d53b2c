#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds with sanitizers, in build/address or build/thread, and runs the tests under them:
#
#   bash tests/sanitize.sh address   # address, leaks and undefined behaviour: all tests
#   bash tests/sanitize.sh thread    # the loader's, those of several processes, and the Learner's
#
# Further arguments go to ctest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
  address)
    sanitizers=address,undefined
    chosen=()
    ;;
  thread)
    sanitizers=thread
    export OMP_NUM_THREADS=1 # OpenMP is built without instrumentation: its threads would seem to race with what they wait for
    chosen=(-R 'Load|Shards|FitOnFiles|WithViews|Distributed|ProcessGroup|Synced|Learner|Loop|Resuming|Micro|ReadLag|Thread|Checkpoint')
    ;;
  *)
    sed -n '4,9s/^# \{0,1\}//p' tests/sanitize.sh
    exit 1
    ;;
esac
build=build/$1
suppressions=$PWD/tests/sanitizers
shift

bash cmake/setup.sh
cmake -S . -B "$build" -G Ninja -DBARLOW_SANITIZE=$sanitizers -DBARLOW_WITH_CUDA=OFF
cmake --build "$build" --target barlow_tests
export LSAN_OPTIONS=suppressions=$suppressions/leak.txt UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=suppressions=$suppressions/thread.txt
ctest --test-dir "$build" --output-on-failure --no-tests=error --timeout 3600 -LE program -E 'crash|packaging' "${chosen[@]}" "$@"
