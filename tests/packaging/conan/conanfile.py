# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the consumer of tests/packaging/find_package against the Conan package."""
import os

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake


class Consumer(ConanFile):
    settings = "os", "compiler", "build_type", "arch"
    generators = "CMakeDeps", "CMakeToolchain"

    def requirements(self):
        self.requires(self.tested_reference_str)

    def build(self):
        cmake = CMake(self)
        cmake.configure(build_script_folder="../find_package")
        cmake.build()

    def test(self):
        if can_run(self):
            self.run(os.path.join(self.build_folder, "consumer"), env="conanrun")
