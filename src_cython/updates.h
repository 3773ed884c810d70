/* Update rules, penalty, clipping, sums of gradients: fastnn/backends/numpy/updates.py. */
#ifndef FASTNN_UPDATES_H
#define FASTNN_UPDATES_H

#include "platform.h"

/* Do one step for n parameters, with step size `rate` and decay factor `shrink`. */
NOINLINE void update_range(const real *RESTRICT grads, double l2_, double shrink_, int rule,
                           const double *constants, double rate_, Size n, real *RESTRICT params,
                           real *RESTRICT moment, real *RESTRICT second)
{
    const real l2 = (real)l2_, shrink = (real)shrink_, rate = (real)rate_;
    const real c0 = (real)constants[0], c1 = (real)constants[1], epsilon = (real)constants[2];
    /* 1 - constant in double, since float would lose too many digits */
    const real d0 = (real)(1 - constants[0]), d1 = (real)(1 - constants[1]);
    if (rule == SGD && constants[0] == 0) {
        for (Size i = 0; i < n; i++)
            params[i] = params[i] * shrink - rate * (grads[i] + l2 * params[i]);
    } else if (rule == SGD) {
        /* Nesterov momentum: the step is c0 v - rate g instead of v */
        const real of_v = constants[1] != 0 ? c0 : 1, of_step = constants[1] != 0 ? 1 : 0;
        for (Size i = 0; i < n; i++) {
            real step = rate * (grads[i] + l2 * params[i]);
            real v = c0 * moment[i] - step;
            moment[i] = v;
            params[i] = params[i] * shrink + (of_v * v - of_step * step);
        }
    } else if (rule == ADAM) {
        for (Size i = 0; i < n; i++) {
            real g = grads[i] + l2 * params[i];
            real m = c0 * moment[i] + d0 * g;
            real v = c1 * second[i] + d1 * g * g;
            moment[i] = m;
            second[i] = v;
            params[i] = params[i] * shrink - rate * m / (MATH(sqrt)(v) + epsilon);
        }
    } else {
        const int adagrad = rule == ADAGRAD;
        const real keep = adagrad ? 1 : c0, take = adagrad ? 1 : d0, eps = adagrad ? c0 : c1;
        for (Size i = 0; i < n; i++) {
            real g = grads[i] + l2 * params[i];
            real v = keep * moment[i] + take * g * g;
            moment[i] = v;
            params[i] = params[i] * shrink - rate * g / (MATH(sqrt)(v) + eps);
        }
    }
}

/* Replace the gradient of n products s w by the gradient of w; return the gradient of s. */
NOINLINE double split_gradient(const real *RESTRICT w, real s, Size n, real *RESTRICT grads)
{
    double sum = 0;
    SUM_LOOP(sum)
    for (Size i = 0; i < n; i++)
        sum += (double)w[i] * (double)grads[i];
    for (Size i = 0; i < n; i++)
        grads[i] *= s;
    return sum;
}

/* out = s x */
NOINLINE void scale_to(const real *RESTRICT x, real s, Size n, real *RESTRICT out)
{
    for (Size i = 0; i < n; i++)
        out[i] = s * x[i];
}

/* Prefetch n elements for writing, since they may be in the cache of another core. */
NOINLINE void prefetch_range(const real *x, Size n)
{
    for (Size i = 0; i < n; i += LINE_REALS)
        PREFETCH_WRITE(x + i);
}

/* out += x */
NOINLINE void add_to(const real *RESTRICT x, Size n, real *RESTRICT out)
{
    for (Size i = 0; i < n; i++)
        out[i] += x[i];
}

/* Clip to the interval from -limit to limit. */
NOINLINE void clip_entries(real *grads, double limit, Size n)
{
    const real high = (real)limit;
    for (Size i = 0; i < n; i++) {
        real g = grads[i] > high ? high : grads[i];
        grads[i] = g < -high ? -high : g;
    }
}

/* x = factor x */
NOINLINE void scale_range(real *x, double factor_, Size n)
{
    const real factor = (real)factor_;
    for (Size i = 0; i < n; i++)
        x[i] *= factor;
}

/* out = keep out + (1 - keep) params */
NOINLINE void average_range(const real *RESTRICT params, double keep, Size n, real *RESTRICT out)
{
    const real kept = (real)keep, new_ = (real)(1 - keep);
    for (Size i = 0; i < n; i++)
        out[i] = kept * out[i] + new_ * params[i];
}

/* out += factor x */
NOINLINE void add_scaled(const real *RESTRICT x, double factor, Size n, real *RESTRICT out)
{
    const real f = (real)factor;
    for (Size i = 0; i < n; i++)
        out[i] += f * x[i];
}

/* Sum of squares in double. */
NOINLINE double sum_of_squares(const real *x, Size n)
{
    double sum = 0;
    SUM_LOOP(sum)
    for (Size i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Sum in double of n elements x[order[first]], x[order[first + 1]], ..., or x[first], ... if order
 * is NULL. */
NOINLINE double sum_range(const real *x, const int64_t *order, Size first, Size n)
{
    double sum = 0;
    for (Size i = first; i < first + n; i++)
        sum += (double)x[order ? order[i] : i];
    return sum;
}

#endif
