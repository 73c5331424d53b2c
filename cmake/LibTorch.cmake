# SPDX-License-Identifier: Apache-2.0
#
# Finds LibTorch and makes the imported target LibTorch::LibTorch of it. find_package(Torch) is not
# used: whenever LibTorch has CUDA it asks for a CUDA toolkit too, which nothing here compiles with.
#
# Looked at, in this order; the first that is new enough is taken:
#   BARLOW_LIBTORCH            CMake or environment variable; nothing else is looked at when it is set
#   barlow_LIBTORCH_HINT       (installed package) the LibTorch that barlow was built with
#   CMAKE_PREFIX_PATH          CMake or environment variable
#   .venv                      the virtual environment made by cmake/setup.sh
#   python3                    its torch package
# Each may name the folder that holds include/ and lib/ (of the pip wheel or of the zip), one above
# it, its share/cmake, or a virtual environment.
#
# Sets LibTorch_FOUND, LibTorch_VERSION, LibTorch_ROOT, or LibTorch_ERROR. As a script
# (cmake -P cmake/LibTorch.cmake) it only says which one it would take.

set(LibTorch_MINIMUM 2.11)
set(BARLOW_LIBTORCH "" CACHE PATH "LibTorch's folder; empty: looked for")
if(NOT BARLOW_LIBTORCH) # cached, so that a later run without the environment takes the same one
  set_property(CACHE BARLOW_LIBTORCH PROPERTY VALUE "$ENV{BARLOW_LIBTORCH}")
endif()

# The folder under `dir` that holds a LibTorch, or nothing.
function(_libtorch_below dir out)
  file(GLOB in_venv "${dir}/lib/python3*/site-packages/torch")
  set(${out} "" PARENT_SCOPE)
  foreach(root IN ITEMS "${dir}" "${dir}/torch" "${dir}/libtorch" ${in_venv} "${dir}/../.." "${dir}/../../..")
    if(EXISTS "${root}/include/torch/csrc/api/include/torch/version.h"
       AND EXISTS "${root}/lib/libtorch.so"
       AND EXISTS "${root}/lib/libtorch_cpu.so"
       AND EXISTS "${root}/lib/libc10.so")
      file(REAL_PATH "${root}" root)
      set(${out} "${root}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

function(_libtorch_version root out)
  set(header "${root}/include/torch/headeronly/version.h")
  if(NOT EXISTS "${header}") # before 2.9
    set(header "${root}/include/torch/csrc/api/include/torch/version.h")
  endif()
  file(STRINGS "${header}" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
  list(JOIN numbers "." version)
  set(${out} "${version}" PARENT_SCOPE)
endfunction()

function(_libtorch_locate)
  set(candidates "") # reason, folder, reason, folder, ...
  if(BARLOW_LIBTORCH)
    list(APPEND candidates "BARLOW_LIBTORCH" "${BARLOW_LIBTORCH}")
  else()
    if(barlow_LIBTORCH_HINT)
      list(APPEND candidates "barlow was built with it" "${barlow_LIBTORCH_HINT}")
    endif()
    cmake_path(CONVERT "$ENV{CMAKE_PREFIX_PATH}" TO_CMAKE_PATH_LIST prefixes)
    foreach(dir IN LISTS CMAKE_PREFIX_PATH prefixes)
      list(APPEND candidates "CMAKE_PREFIX_PATH" "${dir}")
    endforeach()
    cmake_path(GET CMAKE_CURRENT_FUNCTION_LIST_DIR PARENT_PATH repository)
    if(EXISTS "${repository}/.venv" AND NOT EXISTS "${repository}/.venv-unfinished")
      list(APPEND candidates "the repository's .venv" "${repository}/.venv")
    endif()
    execute_process(
      COMMAND python3 -c "import importlib.util as u; s = u.find_spec('torch'); s and print(s.submodule_search_locations[0])"
      OUTPUT_VARIABLE dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(dir)
      list(APPEND candidates "python3's torch" "${dir}")
    endif()
  endif()

  set(refused "")
  while(candidates)
    list(POP_FRONT candidates reason dir)
    _libtorch_below("${dir}" root)
    if(NOT root)
      string(APPEND refused "\n  ${dir} (${reason}) holds no LibTorch")
      continue()
    endif()
    _libtorch_version("${root}" version)
    if(version VERSION_LESS LibTorch_MINIMUM)
      string(APPEND refused "\n  ${root} (${reason}) is LibTorch ${version}")
      continue()
    endif()
    set(LibTorch_FOUND TRUE PARENT_SCOPE)
    set(LibTorch_ROOT "${root}" PARENT_SCOPE)
    set(LibTorch_VERSION "${version}" PARENT_SCOPE)
    set(LibTorch_REASON "${reason}" PARENT_SCOPE)
    return()
  endwhile()
  set(LibTorch_FOUND FALSE PARENT_SCOPE)
  set(LibTorch_ERROR
    "LibTorch >= ${LibTorch_MINIMUM} not found.${refused}\nSet BARLOW_LIBTORCH to the folder that holds its include/ and lib/, or pip install torch==2.11.0 (cmake/setup.sh does it)."
    PARENT_SCOPE)
endfunction()

_libtorch_locate()
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  if(NOT LibTorch_FOUND)
    message(FATAL_ERROR "${LibTorch_ERROR}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo
    "LibTorch: ${LibTorch_VERSION} in ${LibTorch_ROOT} (${LibTorch_REASON})")
  return()
endif()
if(NOT LibTorch_FOUND OR TARGET LibTorch::LibTorch)
  return()
endif()

set(_include "${LibTorch_ROOT}/include" "${LibTorch_ROOT}/include/torch/csrc/api/include")
set(_lib "${LibTorch_ROOT}/lib")
# No symbol of ours refers to the CUDA libraries, yet they must be loaded to register themselves.
set(_cuda "")
if(EXISTS "${_lib}/libtorch_cuda.so")
  set(_cuda "-Wl,--push-state,--no-as-needed,\"${_lib}/libtorch_cuda.so\",\"${_lib}/libc10_cuda.so\",--pop-state")
  file(GLOB _nvidia "${LibTorch_ROOT}/../nvidia/*/include") # the wheel's CUDA, cuDNN and NCCL
  list(APPEND _include ${_nvidia})
endif()
add_library(LibTorch::LibTorch INTERFACE IMPORTED GLOBAL)
set_target_properties(LibTorch::LibTorch PROPERTIES
  INTERFACE_COMPILE_FEATURES cxx_std_20
  INTERFACE_INCLUDE_DIRECTORIES "${_include}"
  # libstdc++ first: the wheel's libraries export a std::filesystem of their own that crashes elsewhere.
  INTERFACE_LINK_LIBRARIES "stdc++;${_lib}/libtorch.so;${_lib}/libtorch_cpu.so;${_lib}/libc10.so;${_cuda}"
  # The wheel's libraries find each other, and NVIDIA's, by an rpath of their own.
  INTERFACE_LINK_OPTIONS "LINKER:-rpath,${_lib};LINKER:--allow-shlib-undefined")
# The C++ ABI that LibTorch was built with shows in its symbols.
file(STRINGS "${_lib}/libc10.so" _abi REGEX "__cxx11" LIMIT_COUNT 1)
if(NOT _abi)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    INTERFACE_COMPILE_DEFINITIONS _GLIBCXX_USE_CXX11_ABI=0)
endif()
if(_cuda)
  set(_cuda "with CUDA")
else()
  set(_cuda "CPU only")
endif()
message(STATUS "LibTorch ${LibTorch_VERSION}, ${_cuda}: ${LibTorch_ROOT} (${LibTorch_REASON})")
unset(_include)
unset(_lib)
unset(_cuda)
unset(_nvidia)
unset(_abi)
