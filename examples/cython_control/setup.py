"""Builds the example: ``python setup.py build_ext --inplace`` here, fastnn and Cython installed."""

import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import fastnn

OPENMP = [] if sys.platform in ("win32", "darwin") else ["-fopenmp"]  # without: one thread

setup(
    name="control",
    ext_modules=cythonize(
        [Extension("control", ["control.pyx"], extra_compile_args=OPENMP, extra_link_args=OPENMP)],
        # Cython finds installed packages by itself, but not editable ones.
        include_path=[str(Path(fastnn.__file__).parent.parent)],
    ),
)
