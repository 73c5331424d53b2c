#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets up what is missing, builds, and trains on the bundled digits. Arguments go to the example:
# --help lists them.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

bash "$repository/cmake/build.sh" mnist_tiny
exec "$repository/build/examples/mnist_tiny" "$@"
