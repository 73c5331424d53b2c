# SPDX-License-Identifier: Apache-2.0
"""Conan 2 recipe: `conan create .`. LibTorch and the other libraries are the system's, found as cmake/ says."""
import os
import re

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeToolchain
from conan.tools.files import load

PARTS = ["opencv", "archive", "tensorboard", "gloo", "cuda"]


class Barlow(ConanFile):
    name = "barlow"
    description = "Barlow Twins self-supervised pretraining on LibTorch"
    license = "Apache-2.0"
    topics = ("self-supervised-learning", "deep-learning", "libtorch")
    settings = "os", "compiler", "build_type", "arch"
    package_type = "static-library"
    options = {"program": [True, False], "libtorch": ["ANY"], **{f"with_{part}": ["AUTO", "ON", "OFF"] for part in PARTS}}
    default_options = {"program": False, "libtorch": "", **{f"with_{part}": "AUTO" for part in PARTS}}
    exports_sources = "CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "src/*"

    def set_version(self):
        text = load(self, os.path.join(self.recipe_folder, "CMakeLists.txt"))
        self.version = re.search(r"VERSION (\S+)", text[text.index("project("):]).group(1)

    def layout(self):
        self.folders.build = "build"  # as README has it: `conan export-pkg .` takes what is built there
        self.folders.generators = "build/conan"

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False
        toolchain.cache_variables["BARLOW_BUILD_PROGRAM"] = bool(self.options.program)
        for what in ["TESTS", "BENCH", "EXAMPLES"]:
            toolchain.cache_variables[f"BARLOW_BUILD_{what}"] = False
        for part in PARTS:
            toolchain.cache_variables[f"BARLOW_WITH_{part.upper()}"] = str(self.options.get_safe(f"with_{part}"))
        if self.options.libtorch:
            toolchain.cache_variables["BARLOW_LIBTORCH"] = str(self.options.libtorch)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()

    def package_info(self):
        self.cpp_info.set_property("cmake_find_mode", "none")  # the package has its own barlowConfig.cmake
        self.cpp_info.builddirs = ["lib/cmake/barlow"]
