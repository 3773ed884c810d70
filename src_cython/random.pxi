# Counter-based random streams.

cdef extern from "random.h" nogil:
    uint64_t mix_bits(uint64_t z) noexcept
    uint64_t stream_key(uint64_t seed, uint64_t purpose, uint64_t number) noexcept
    void shuffle_order(uint64_t seed, Size epoch, Size samples, int64_t *order) noexcept


def mix(uint64_t z, /):
    """Return the next output of SplitMix64 from the state ``z``."""
    return mix_bits(z)


def stream(uint64_t seed, uint64_t purpose, uint64_t number, /):
    """Return the key of a random stream, whose draw at position i is ``mix(key + i)``."""
    return stream_key(seed, purpose, number)


def shuffle(uint64_t seed, Size epoch, cnp.ndarray order not None, /):
    """Draw a random order of the samples for one epoch (Fisher-Yates)."""
    check(order, cnp.NPY_INT64, 0, True, "order")
    cdef int64_t *order_ = <int64_t *> data_of(order)
    cdef Size samples = cnp.PyArray_SIZE(order)
    with nogil:
        shuffle_order(seed, epoch, samples, order_)
