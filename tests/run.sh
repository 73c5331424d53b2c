#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets up what is missing, builds, and passes every test. Arguments go to ctest: -R Loss, say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/build.sh barlow_tests barlow_crash
ctest --test-dir build --output-on-failure --no-tests=error "$@"
