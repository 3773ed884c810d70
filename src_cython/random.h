/* Counter-based random streams: the same integers as fastnn/backends/numpy/random.py. */
#ifndef FASTNN_RANDOM_H
#define FASTNN_RANDOM_H

#include "platform.h"

INLINE uint64_t mix_bits(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

INLINE uint64_t stream_key(uint64_t seed, uint64_t purpose, uint64_t number)
{
    return mix_bits(mix_bits(mix_bits(seed) + purpose) + number);
}

NOINLINE void shuffle_order(uint64_t seed, Size epoch, Size samples, int64_t *order)
{
    uint64_t key = stream_key(seed, STREAM_SHUFFLE, (uint64_t)epoch);
    for (Size i = 0; i < samples; i++)
        order[i] = i;
    for (Size i = samples - 1; i > 0; i--) {
        uint64_t draw = mix_bits(key + (uint64_t)i) >> 32;
        Size j = (Size)((draw * (uint64_t)(i + 1)) >> 32);
        int64_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

#endif
