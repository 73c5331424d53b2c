#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings what run.sh has found interesting to tests/fuzz/corpus, one shard a format: the smallest inputs that reach all
# code that it has reached, none above 4 KiB.
#
#   bash tests/fuzz/keep.sh [FORMAT...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -gt 0 ] || set -- $(ls build/fuzz/corpus)
mkdir -p tests/fuzz/corpus
for format in "$@"; do
  folder=$(mktemp -d)
  BARLOW_FUZZ=$format ASAN_OPTIONS=detect_leaks=0 build/fuzz/tests/fuzz/barlow_fuzz -merge=1 -max_len=4096 -detect_leaks=0 \
    "$folder" build/fuzz/corpus/"$format" 2>/dev/null
  tar -C "$folder" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - . | gzip -9n >tests/fuzz/corpus/"$format".tar.gz
  echo "$format: $(ls "$folder" | wc -l) inputs, $(stat -c %s tests/fuzz/corpus/"$format".tar.gz) bytes"
  rm -r "$folder"
done
