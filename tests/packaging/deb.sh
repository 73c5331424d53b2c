#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the Debian package of a build folder, unpacks it and starts its program: deb.sh BUILD_FOLDER
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cpack --config "$1/CPackConfig.cmake" -G DEB -B "$folder"
dpkg -I "$folder"/barlow_*.deb | grep Depends
dpkg -x "$folder"/barlow_*.deb "$folder/unpacked"
"$folder/unpacked/usr/bin/barlow" doctor
"$folder/unpacked/usr/bin/barlow" encoders xresnet18 | grep -x xresnet18
