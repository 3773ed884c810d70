# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""The kernels of :mod:`fastnn.backends.numpy` compiled by Cython, for one dtype and vector level.

Formulas, shapes and meanings of the arguments are documented there. Here are layers and networks,
in files named as the twin's; the inner loops are C functions in headers by topic. ``setup.py``
compiles this file once for each vector level and dtype; :mod:`fastnn.backends.cython` chooses.

* A matrix is a pointer and a leading dimension, because a view of an array costs a reference count.
* ``lanes`` is a number of samples rounded up to ``PADDING``, so that no loop ends in scalar code. A
  block that is not whole is copied to scratch memory, its last sample repeated: the padding lanes
  are as finite as the data. Their weight is zero, so that they add nothing to a gradient.
* Public functions check the arrays' types and sizes, then release the interpreter's lock.
"""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport isfinite, pow, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

cimport numpy as cnp

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
