# SPDX-License-Identifier: Apache-2.0
#
# What barlow links besides LibTorch. Installed too: who links the static library links these.

find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED) # the checksum of checkpoints

# Adds imported targets for libraries that a header and a name tell of: barlow_find(TARGET HEADER NAME...)
macro(barlow_find target header)
  find_path(${target}_INCLUDE_DIR ${header} PATH_SUFFIXES opencv4)
  list(APPEND _includes "${${target}_INCLUDE_DIR}")
  foreach(_name IN ITEMS ${ARGN})
    find_library(${target}_${_name}_LIBRARY ${_name})
    list(APPEND _libraries "${${target}_${_name}_LIBRARY}")
  endforeach()
endmacro()
macro(barlow_add_found target option what)
  if("${_includes};${_libraries}" MATCHES "NOTFOUND")
    if(NOT ${option} STREQUAL "AUTO")
      message(FATAL_ERROR "barlow needs ${what} unless built with ${option}=OFF; missing among ${_includes};${_libraries}")
    endif()
    message(STATUS "Not all there: ${what}. Building without")
  else()
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${_includes}"
      INTERFACE_LINK_LIBRARIES "${_libraries}")
  endif()
  unset(_includes)
  unset(_libraries)
endmacro()

if(BARLOW_WITH_OPENCV AND NOT TARGET barlow::images)
  find_package(OpenCV QUIET COMPONENTS core imgproc imgcodecs)
  if(OpenCV_FOUND)
    set(_includes "${OpenCV_INCLUDE_DIRS}")
    set(_libraries opencv_imgcodecs opencv_imgproc opencv_core)
  else() # Debian's packages of single modules come without OpenCVConfig.cmake
    barlow_find(OpenCV opencv2/imgcodecs.hpp opencv_imgcodecs opencv_imgproc opencv_core)
  endif()
  barlow_find(JPEG jpeglib.h jpeg)
  barlow_find(TIFF tiffio.h tiff)
  barlow_find(WEBP webp/decode.h webp)
  barlow_find(EXIF libexif/exif-data.h exif)
  barlow_add_found(barlow::images BARLOW_WITH_OPENCV
    "OpenCV (core, imgproc, imgcodecs), libjpeg-turbo, libtiff, libwebp and libexif for image files and pictures")
endif()

# Headers alone: Gloo itself is in LibTorch, which has no headers of it.
if(BARLOW_WITH_GLOO AND NOT TARGET barlow::gloo)
  barlow_find(GLOO gloo/config.h)
  barlow_add_found(barlow::gloo BARLOW_WITH_GLOO "Gloo's headers for training by several processes")
endif()

if(BARLOW_WITH_TENSORBOARD AND NOT TARGET barlow::isal)
  barlow_find(ISAL isa-l/crc.h isal)
  barlow_add_found(barlow::isal BARLOW_WITH_TENSORBOARD "ISA-L for the checksums of TensorBoard's files")
endif()

if(BARLOW_WITH_ARCHIVE AND NOT TARGET barlow::archive)
  barlow_find(ARCHIVE archive.h archive)
  barlow_add_found(barlow::archive BARLOW_WITH_ARCHIVE "libarchive for tar shards and gzip")
endif()
