# cython: language_level=3, freethreading_compatible=True
"""The vector levels that the processor supports; compiled once, for any processor."""

cdef extern from "processor.h":
    int processor_level()


def vector_levels():
    """Return the names of the vector levels that this processor supports, lowest first."""
    return ["baseline", "avx2", "avx512"][:processor_level() + 1]
