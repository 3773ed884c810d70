# cython: language_level=3, freethreading_compatible=True
"""Which vector levels the processor has; compiled once, for any processor."""

cdef extern from "processor.h":
    int processor_level()


def vector_levels():
    """Names of the vector levels that this processor has, lowest first."""
    return ["baseline", "avx2", "avx512"][:processor_level() + 1]
