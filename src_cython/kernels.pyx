# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""The kernels of :mod:`fastnn.backends.numpy` compiled by Cython, for one dtype and vector level.

Formulas, shapes and meanings of the arguments are documented there. The ``.pxi`` files have the
names of the NumPy modules and contain layers and networks; the inner loops are C functions in
headers by topic. ``setup.py`` compiles this file once for each vector level and dtype;
:mod:`fastnn.backends.cython` selects one.

* A matrix is a pointer and a leading dimension, because a view of an array costs a reference count.
* ``padded`` is the number of samples rounded up to a multiple of ``PADDING``, so that no loop has a
  scalar remainder. If samples are missing, the block is copied to scratch memory and its last
  sample is repeated, so that the padding lanes are as finite as the data. Their weight is zero, so
  that they add nothing to a gradient.
* Public functions check dtypes and sizes of the arrays, then release the GIL.
"""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport isfinite, pow, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

cimport numpy as cnp

cdef extern from "import_guard.h":
    pass

cnp.import_array()

NAME = "cython"

include "structs.pxi"
include "checks.pxi"
include "random.pxi"
include "data.pxi"
include "threads.pxi"
include "strategy.pxi"
include "products.pxi"
include "activations.pxi"
include "losses.pxi"
include "updates.pxi"
include "network.pxi"
include "train.pxi"
include "derivatives.pxi"
include "tape.pxi"
include "sample_gradients.pxi"
