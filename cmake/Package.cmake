# SPDX-License-Identifier: Apache-2.0
#
# `cpack --config build/CPackConfig.cmake -G DEB`: library, headers and program as a Debian package. LibTorch is not in it
# and no Debian package has it: the program looks for one when it starts.

set(CPACK_PACKAGE_NAME barlow)
set(CPACK_PACKAGE_VENDOR "The barlow developers")
set(CPACK_PACKAGE_CONTACT "The barlow developers <barlow@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # what the program is linked with, but for LibTorch
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${LibTorch_ROOT}/lib)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS # to link the library, and to get LibTorch
  "cmake, g++, python3-pip, libarchive-dev, libexif-dev, libisal-dev, libjpeg-dev, libopencv-imgcodecs-dev, libtiff-dev, libwebp-dev, zlib1g-dev")
include(CPack)
