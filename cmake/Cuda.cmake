# SPDX-License-Identifier: Apache-2.0
#
# The CUDA runtime that kernels of our own link: LibTorch's, else the toolkit's. Installed too: who links the static
# library links it. Sets barlow_cudart_VERSION to its major version, empty if there is none.

set(barlow_cudart_VERSION "")
if(NOT TARGET barlow::cudart)
  file(GLOB _candidates
    "${LibTorch_ROOT}/../nvidia/*/lib/libcudart.so.*" "${LibTorch_ROOT}/lib/libcudart*.so*") # of the wheel, of the zip
  if(NOT _candidates)
    find_package(CUDAToolkit QUIET)
    set(_candidates ${CUDA_CUDART})
  endif()
  if(_candidates)
    list(GET _candidates 0 _cudart)
    add_library(barlow::cudart INTERFACE IMPORTED GLOBAL)
    set_target_properties(barlow::cudart PROPERTIES INTERFACE_LINK_LIBRARIES "${_cudart}")
  endif()
endif()
if(TARGET barlow::cudart)
  get_target_property(_cudart barlow::cudart INTERFACE_LINK_LIBRARIES)
  file(REAL_PATH "${_cudart}" _cudart)
  string(REGEX MATCH "\\.so\\.([0-9]+)" _ "${_cudart}")
  set(barlow_cudart_VERSION "${CMAKE_MATCH_1}")
endif()
