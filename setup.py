"""The compiled extensions; every other fact stands in pyproject.toml.

One source, ``src_cython/cython_kernels.pyx``, becomes one module for each vector level, since
the instructions a compiler may use are fixed by its flags. The fitting one is chosen when the
backend is loaded. Without a C compiler the package installs without this backend.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src_cython")
GENERATED = Path("build", "cython")

MSVC = sys.platform == "win32"
# The compiler may fuse products with sums, but neither reorder sums nor forget NaN: no
# -ffast-math, which at link time would even change the floating-point mode of the whole process.
FLAGS = (
    ["/O2", "/fp:precise", "/std:c11"]
    if MSVC
    else [
        "-O3",
        "-std=gnu11",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-signed-zeros",
        "-ffp-contract=fast",
        "-fopenmp-simd",
        "-g0",
    ]
)
# GCC's tuning for unnamed processors, from 13 on, fuses no product with a sum that the next turn of
# a loop adds to, if it is the only one; so the bits of a sum would depend on how many are made
# beside it, and these on the number of threads. Other compilers do not know the setting.
ALWAYS_FUSE = "--param=avoid-fma-max-bits=0"
LEVELS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS["avx2"] = ["/arch:AVX2"] if MSVC else ["-march=x86-64-v3"]
    LEVELS["avx512"] = (
        ["/arch:AVX512"] if MSVC else ["-march=x86-64-v4", "-mprefer-vector-width=512"]
    )


def extensions():
    """One extension a level; the source is copied because its name is the module's."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    source, header = SOURCE / "cython_kernels.pyx", SOURCE / "vector_math.h"
    for level, flags in LEVELS.items():
        copy = GENERATED / f"_cython_{level}.pyx"
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            shutil.copy(source, copy)
        yield Extension(
            f"fastnn.backends._cython_{level}",
            [str(copy)],
            include_dirs=[np.get_include(), str(SOURCE)],
            depends=[str(source), str(header)],
            extra_compile_args=FLAGS + flags,
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        )


class ParallelBuild(build_ext):
    """Compiles the levels at the same time."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = min(len(LEVELS), os.cpu_count() or 1)

    def build_extensions(self):
        if not MSVC and self.accepted(ALWAYS_FUSE):
            for extension in self.extensions:
                extension.extra_compile_args.append(ALWAYS_FUSE)
        super().build_extensions()

    def accepted(self, flag):
        """Whether the compiler takes a flag without complaint."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "nothing.c")
            source.write_text("int nothing;\n")
            command = [*self.compiler.compiler, "-Werror", flag, "-c", str(source)]
            try:
                result = subprocess.run(command, cwd=folder, capture_output=True, check=False)
            except OSError:  # no compiler: the build will say so
                return False
        return result.returncode == 0


modules = cythonize(list(extensions()), language_level=3)
for module in modules:
    module.optional = True  # cythonize forgets it

setup(
    ext_modules=modules,
    cmdclass={"build_ext": ParallelBuild},
)
