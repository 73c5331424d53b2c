# SPDX-License-Identifier: Apache-2.0
#
# What barlow links besides LibTorch. Installed too: who links the static library links these.

find_package(Threads REQUIRED)

if(BARLOW_WITH_OPENCV AND NOT TARGET barlow::opencv)
  find_package(OpenCV QUIET COMPONENTS core imgproc imgcodecs)
  if(OpenCV_FOUND)
    set(_include "${OpenCV_INCLUDE_DIRS}")
    set(_libraries opencv_imgcodecs opencv_imgproc opencv_core)
  else() # Debian's packages of single modules come without OpenCVConfig.cmake
    find_path(OpenCV_INCLUDE_DIR opencv2/imgcodecs.hpp PATH_SUFFIXES opencv4)
    set(_include "${OpenCV_INCLUDE_DIR}")
    set(_libraries "")
    foreach(_module IN ITEMS imgcodecs imgproc core)
      find_library(OpenCV_${_module}_LIBRARY opencv_${_module})
      list(APPEND _libraries "${OpenCV_${_module}_LIBRARY}")
    endforeach()
  endif()
  if("${_include};${_libraries}" MATCHES "NOTFOUND")
    if(NOT BARLOW_WITH_OPENCV STREQUAL "AUTO")
      message(FATAL_ERROR "barlow needs OpenCV (core, imgproc, imgcodecs) unless built with BARLOW_WITH_OPENCV=OFF.")
    endif()
    message(STATUS "OpenCV not found: building without image files and pictures")
  else()
    add_library(barlow::opencv INTERFACE IMPORTED GLOBAL)
    set_target_properties(barlow::opencv PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${_include}"
      INTERFACE_LINK_LIBRARIES "${_libraries}")
  endif()
  unset(_include)
  unset(_libraries)
endif()
