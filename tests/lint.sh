#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks format and clang-tidy's findings:
#
#   bash tests/lint.sh format [--fix]
#   bash tests/lint.sh tidy [FILE...]    # default: all
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=.venv-lint/bin
[ -x $tools/clang-tidy ] || bash cmake/setup.sh --lint
mapfile -t sources < <(find src tests examples -name '*.cpp' | sort)

case ${1-} in
  format)
    mapfile -t headers < <(find include src tests examples -name '*.h' | sort)
    mode=(--dry-run --Werror)
    [ "${2-}" != --fix ] || mode=(-i)
    $tools/clang-format "${mode[@]}" "${headers[@]}" "${sources[@]}"
    ;;
  tidy)
    shift
    [ $# = 0 ] || sources=("$@")
    # A compilation database of its own: clang cannot read g++'s precompiled header.
    cmake -S . -B build/lint -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
      -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
    python3 tests/tidy.py $tools/clang-tidy build/lint "${sources[@]}"
    ;;
  *)
    sed -n '4,7s/^# \{0,1\}//p' tests/lint.sh
    exit 1
    ;;
esac
