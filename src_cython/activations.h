/* Activations and dropout, forward and backward: fastnn/backends/numpy/activations.py. */
#ifndef FASTNN_ACTIVATIONS_H
#define FASTNN_ACTIVATIONS_H

#include "maths.h"
#include "random.h"

/* Functions of `elementwise`. */
enum {
    ONLY_EXP,
    ONLY_EXPM1,
    ONLY_TANH,
    ONLY_SIGMOID,
    ONLY_LOG,
    ONLY_LOG1P,
    ONLY_SOFTPLUS,
    ONLY_NORMAL_CDF
};

#define EACH(value)                                                                               \
    do {                                                                                          \
        VECTOR_LOOP for (Size s = 0; s < n; s++) out[s] = (value);                                \
    } while (0)

/* out = f(z); out may be z. The comparisons are written such that NaN propagates. */
NOINLINE void activate(const real *z, int activation, double constant, Size n, real *out)
{
    const real alpha = (real)constant;
    const real exp_lowest = hidden_from_compiler(EXP_LOWEST);
    const real tanh_lowest = hidden_from_compiler(EXPM1_LOWEST / 2);
    switch (activation) {
    case TANH: EACH(fast_tanh(z[s], tanh_lowest)); break;
    case SIGMOID: EACH(fast_sigmoid(z[s], exp_lowest)); break;
    case RELU: EACH(z[s] <= 0 ? 0 : z[s]); break;
    case LEAKY_RELU: EACH(z[s] <= 0 ? alpha * z[s] : z[s]); break;
    case ELU:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real below = alpha * fast_expm1(z[s]);
            out[s] = z[s] <= 0 ? below : z[s];
        }
        break;
    case SOFTPLUS: EACH(fast_softplus(z[s])); break;
    case SILU: EACH(z[s] * fast_sigmoid(z[s], exp_lowest)); break;
    case GELU:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real density;
            out[s] = z[s] * normal_pair(z[s], &density);
        }
        break;
    case SELU:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real below = (real)SELU_SCALE_ALPHA * fast_expm1(z[s]);
            out[s] = z[s] <= 0 ? below : (real)SELU_SCALE * z[s];
        }
        break;
    case MISH:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real derivative, t = tanh_softplus(z[s], &derivative);
            out[s] = z[s] * t;
        }
        break;
    default:
        if (out != z)
            EACH(z[s]);
    }
}

/* An elementary function: for tests, benchmarks and predictions of the Poisson loss. */
NOINLINE void elementwise(const real *x, int function, Size n, real *out)
{
    switch (function) {
    case ONLY_EXP: EACH(fast_exp(x[s])); break;
    case ONLY_EXPM1: EACH(fast_expm1(x[s])); break;
    case ONLY_TANH: activate(x, TANH, 0, n, out); break;
    case ONLY_SIGMOID: activate(x, SIGMOID, 0, n, out); break;
    case ONLY_LOG: EACH(fast_log(x[s])); break;
    case ONLY_LOG1P: EACH(fast_log1p(x[s])); break;
    case ONLY_SOFTPLUS: EACH(fast_softplus(x[s])); break;
    case ONLY_NORMAL_CDF:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real density;
            out[s] = normal_pair(x[s], &density);
        }
        break;
    }
}
#undef EACH

/* Multiply da by f'(z) in place, which gives dz. */
NOINLINE void activate_backward(const real *RESTRICT z, const real *RESTRICT a, int activation,
                            double constant, Size n, real *RESTRICT da)
{
    const real alpha = (real)constant;
#define EACH_TIMES(value)                                                                         \
    do {                                                                                          \
        VECTOR_LOOP for (Size s = 0; s < n; s++) da[s] *= (value);                                \
    } while (0)
    switch (activation) {
    case TANH: EACH_TIMES(1 - a[s] * a[s]); break;
    case SIGMOID: EACH_TIMES(a[s] * (1 - a[s])); break;
    case RELU: EACH_TIMES(a[s] > 0 ? 1 : 0); break;
    case LEAKY_RELU: EACH_TIMES(a[s] > 0 ? 1 : alpha); break;
    case ELU: EACH_TIMES(a[s] > 0 ? 1 : a[s] + alpha); break;
    case SOFTPLUS: EACH_TIMES(-fast_expm1(-a[s])); break;
    case SILU: {
        const real lowest = hidden_from_compiler(EXP_LOWEST);
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real p = fast_sigmoid(z[s], lowest);
            da[s] *= p + a[s] * (1 - p);
        }
        break;
    }
    case GELU:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real density, cdf = normal_pair(z[s], &density);
            da[s] *= cdf + z[s] * density;
        }
        break;
    case SELU: EACH_TIMES(a[s] > 0 ? (real)SELU_SCALE : a[s] + (real)SELU_SCALE_ALPHA); break;
    case MISH:
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            real derivative, t = tanh_softplus(z[s], &derivative);
            da[s] *= t + z[s] * derivative;
        }
        break;
    }
#undef EACH_TIMES
}

/* out = x / (1 - rate) where a unit is kept, else 0; out may be x. */
NOINLINE void apply_dropout(Matrix x, double rate, uint64_t key, Size first, Size units,
                            Size padded, Matrix out)
{
    const uint32_t threshold = (uint32_t)(rate * 4294967296.0);
    const real factor = (real)(1.0 / (1.0 - rate));
    for (Size unit = 0; unit < units; unit++, x.p += x.ld, out.p += out.ld) {
        const uint32_t row = (uint32_t)mix_bits(key + (uint64_t)unit);
        VECTOR_LOOP for (Size s = 0; s < padded; s++)
        {
            uint32_t h = row + (uint32_t)(first + s) * 0x9E3779B9u;
            h = (h ^ (h >> 16)) * 0x7FEB352Du;
            h = (h ^ (h >> 15)) * 0x846CA68Bu;
            h ^= h >> 16;
            real kept = x.p[s] * factor;
            out.p[s] = h >= threshold ? kept : 0;
        }
    }
}


#endif
