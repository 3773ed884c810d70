/* Losses with their derivatives, and the transformation of net inputs to predictions:
 * fastnn/backends/numpy/losses.py. */
#ifndef FASTNN_LOSSES_H
#define FASTNN_LOSSES_H

#include "activations.h"

#define LOSS_SAMPLES 512 /* samples processed at a time, so that temporary rows fit on the stack */

/* Losses are summed in double, in separate loops: the compiler does not vectorise a loop that both
 * computes exponentials and sums. */
#if VECTOR_BYTES
typedef double Doubles __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(double)), may_alias));
#else
typedef double Doubles;
#endif
#define DOUBLES ((Size)(sizeof(Doubles) / sizeof(double)))

INLINE double sum_losses(const double *losses, Size n)
{
    Doubles sums = (Doubles){0};
    double parts[DOUBLES], sum = 0;
    Size s = 0;
    for (; s + DOUBLES <= n; s += DOUBLES)
        sums += *(const Doubles *)(losses + s);
    memcpy(parts, &sums, sizeof(sums));
    for (Size i = 0; i < DOUBLES; i++)
        sum += parts[i];
    for (; s < n; s++)
        sum += losses[s];
    return sum;
}

/* Sum of log(1 + es[s]) for n <= LOSS_SAMPLES numbers between 0 and 1, computed as the logarithm of
 * the product, which is at most 2^LOSS_SAMPLES. */
INLINE double sum_log1p(const double *es, Size n)
{
    Doubles products[2] = {(Doubles){0} + 1, (Doubles){0} + 1};
    double parts[DOUBLES], product = 1;
    Size s = 0;
    for (; s + 2 * DOUBLES <= n; s += 2 * DOUBLES) {
        products[0] *= 1 + *(const Doubles *)(es + s);
        products[1] *= 1 + *(const Doubles *)(es + s + DOUBLES);
    }
    products[0] *= products[1];
    memcpy(parts, products, sizeof(parts));
    for (Size i = 0; i < DOUBLES; i++)
        product *= parts[i];
    for (; s < n; s++)
        product *= 1 + es[s];
    return log(product);
}

/* Maximum of each sample's net inputs. */
INLINE void max_over_units(Matrix z, Size units, Size n, real *RESTRICT top)
{
    const real *last = z.p + (units - 1) * z.ld;
    for (Size s = 0; s < n; s++)
        top[s] = last[s] > z.p[s] ? last[s] : z.p[s];
    for (Size k = 1; k < units - 1; k++) {
        const real *row = z.p + k * z.ld;
        for (Size s = 0; s < n; s++)
            top[s] = row[s] > top[s] ? row[s] : top[s];
    }
}

/* Cross-entropy, row by row: maximum, exponentials and their sum, loss, derivative. */
INLINE double cross_entropy(Matrix z, const real *targets, real *RESTRICT weight, real scale,
                            Size units, Size n, Matrix dz)
{
    real top[LOSS_SAMPLES], total[LOSS_SAMPLES], chosen[LOSS_SAMPLES];
    double sum = 0;
    max_over_units(z, units, n, top);
    for (Size k = 0; k < units; k++) {
        const real *row = z.p + k * z.ld, unit = (real)k;
        real *out = dz.p + k * dz.ld;
        if (k == 0)
            VECTOR_LOOP for (Size s = 0; s < n; s++)
            {
                real e = softmax_exp(row[s] - top[s]);
                chosen[s] = targets[s] == unit ? row[s] : 0;
                total[s] = e;
                out[s] = e;
            }
        else
            VECTOR_LOOP for (Size s = 0; s < n; s++)
            {
                real e = softmax_exp(row[s] - top[s]);
                chosen[s] = targets[s] == unit ? row[s] : chosen[s];
                total[s] += e;
                out[s] = e;
            }
    }
    SUM_LOOP(sum)
    for (Size s = 0; s < n; s++) {
        sum += (double)((fast_log(total[s]) + (top[s] - chosen[s])) * weight[s]);
        weight[s] *= scale;
        total[s] = weight[s] / total[s];
    }
    for (Size k = 0; k < units; k++) {
        real *out = dz.p + k * dz.ld, unit = (real)k;
        VECTOR_LOOP for (Size s = 0; s < n; s++)
            out[s] = out[s] * total[s] - (targets[s] == unit ? weight[s] : 0);
    }
    return sum;
}

/* The same for two units in one pass. With v the net input of the wrong class minus that of the
 * target, the loss is log(1 + exp(v)). Its derivative with respect to v is the probability of the
 * wrong class, 1 / (1 + exp(-v)). `plain`: weights are 1 or 0, so that one logarithm at the end
 * suffices. */
INLINE double two_classes(const int plain, const real *z0, const real *z1,
                                const real *targets, const real *weight, real scale, Size n,
                                real *dz0, real *dz1)
{
    double losses[LOSS_SAMPLES], es[LOSS_SAMPLES];
    VECTOR_LOOP for (Size s = 0; s < n; s++)
    {
        const real sign = targets[s] == 0 ? 1 : -1, v = sign * (z1[s] - z0[s]);
        const real e = softmax_exp(-MATH(fabs)(v));
        const real d = (v >= 0 ? 1 : e) / (1 + e) * (sign * (weight[s] * scale));
        losses[s] = ((v < 0 ? 0 : v) + (plain ? 0 : fast_log1p(e))) * weight[s];
        es[s] = e * weight[s];
        dz0[s] = -d;
        dz1[s] = d;
    }
    return sum_losses(losses, n) + (plain ? sum_log1p(es, n) : 0);
}

/* Binary cross-entropy of one unit; loss and derivative share an exponential. */
INLINE double binary_row(const int plain, const real *z, const real *targets,
                               const real *weight, real scale, Size n, real *dz)
{
    double losses[LOSS_SAMPLES], es[LOSS_SAMPLES];
    VECTOR_LOOP for (Size s = 0; s < n; s++)
    {
        real x = z[s], t = targets[s];
        real e = softmax_exp(-MATH(fabs)(x));
        losses[s] = ((x < 0 ? 0 : x) - t * x + (plain ? 0 : fast_log1p(e))) * weight[s];
        es[s] = e * weight[s];
        dz[s] = ((x >= 0 ? 1 : e) / (1 + e) - t) * (weight[s] * scale);
    }
    return sum_losses(losses, n) + (plain ? sum_log1p(es, n) : 0);
}

/* Squared error of one unit. */
INLINE double squared_row(const real *z, const real *targets, const real *weight, real scale,
                                Size n, real *dz)
{
    double sum = 0;
    SUM_LOOP(sum)
    for (Size s = 0; s < n; s++) {
        real d = z[s] - targets[s];
        sum += (double)(d * d * weight[s]);
        dz[s] = d * (weight[s] * scale);
    }
    return 0.5 * sum;
}

/* Any other regression loss for one unit. */
INLINE double other_row(const real *z, const real *targets, const real *weight, int loss,
                              double constant, real scale, Size n, real *dz)
{
    double losses[LOSS_SAMPLES];
    if (loss == HUBER) {
        const real high = (real)constant;
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            const real d = z[s] - targets[s];
            real c = d > high ? high : d;
            c = d < -high ? -high : c;
            losses[s] = c * (d - (real)0.5 * c) * weight[s];
            dz[s] = c * (weight[s] * scale);
        }
    } else if (loss == POISSON) {
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            const real x = z[s], t = targets[s], mean = fast_exp(x);
            const real positive = t > (real)1e-30 ? t : 1;
            losses[s] = (mean - t * x + (t * fast_log(positive) - t)) * weight[s];
            dz[s] = (mean - t) * (weight[s] * scale);
        }
    } else {
        const real up = loss == QUANTILE ? (real)(1 - constant) : 1;
        const real down = loss == QUANTILE ? (real)-constant : -1;
        VECTOR_LOOP for (Size s = 0; s < n; s++)
        {
            const real d = z[s] - targets[s];
            real slope = d > 0 ? up : 0;
            slope = d < 0 ? down : slope;
            losses[s] = slope * d * weight[s];
            dz[s] = slope * (weight[s] * scale);
        }
    }
    return sum_losses(losses, n);
}

/* Gaussian loss for the two units of one target, mean and log-variance. */
INLINE double gaussian_rows(const real *mean, const real *log_variance, const real *targets,
                            const real *weight, double beta, real scale, Size n, real *dmean,
                            real *dlog_variance)
{
    double losses[LOSS_SAMPLES];
    const real high = (real)LOG_VARIANCE_LIMIT, power = (real)beta;
    VECTOR_LOOP for (Size i = 0; i < n; i++)
    {
        const real given = log_variance[i], d = mean[i] - targets[i];
        real s = given > high ? high : given;
        s = given < -high ? -high : s;
        const real q = d * d * fast_exp(-s), scaled = weight[i] * scale;
        real slope = (real)0.5 * (1 - q);
        slope = given < -high && slope > 0 ? 0 : slope;
        slope = given > high && slope < 0 ? 0 : slope;
        losses[i] = (real)0.5 * (s + q) * weight[i];
        dmean[i] = d * fast_exp((power - 1) * s) * scaled;
        dlog_variance[i] = slope * fast_exp(power * s) * scaled;
    }
    return sum_losses(losses, n);
}

/* The term that label smoothing adds to the loss. It is linear in the net inputs: the sum of
 * smoothing (t - mean t) z. If `scale` is not 0, its derivative times `scale` is added to z
 * instead. */
NOINLINE double smoothing_rows(Matrix z, Matrix targets, const real *weights, int loss,
                               double smoothing, double scale, Size units, Size samples)
{
    const double mean = loss == CROSS_ENTROPY ? 1.0 / (double)units : 0.5;
    double sum = 0;
    for (Size k = 0; k < units; k++, z.p += z.ld)
        for (Size s = 0; s < samples; s++) {
            const double t = loss == CROSS_ENTROPY ? targets.p[s] == (real)k
                                                   : targets.p[k * targets.ld + s];
            const double factor = smoothing * (t - mean) * (weights ? weights[s] : 1);
            if (scale != 0)
                z.p[s] += (real)(factor * scale);
            else
                sum += factor * z.p[s];
        }
    return sum;
}

/* Summed loss, and its derivative times scale; dz may be z. Each target has `per_target`
 * consecutive outputs; with several quantiles, each of these has its own constant. In the padding
 * lanes, from `samples` up to `padded`, weights and derivatives are zero. */
NOINLINE double loss_rows(Matrix z, Matrix targets, const real *weights, int loss,
                          const double *constants, Size per_target, double scale, Size units,
                          Size samples, Size padded, Matrix dz)
{
    const double constant = constants[0];
    const int smoothed = constant != 0 && loss <= BINARY_CROSS_ENTROPY;
    const real factor = (real)scale;
    double sum = 0;
    if (smoothed)
        sum = smoothing_rows(z, targets, weights, loss, constant, 0, units, samples);
    for (Size first = 0; first < padded; first += LOSS_SAMPLES) {
        real weight[LOSS_SAMPLES];
        const Size n = padded - first < LOSS_SAMPLES ? padded - first : LOSS_SAMPLES;
        const real *logits = z.p + first, *t = targets.p + first;
        real *out = dz.p + first;
        for (Size s = 0; s < n; s++)
            weight[s] = 1;
        if (weights)
            memcpy(weight, weights + first,
                   (size_t)(samples - first < n ? samples - first : n) * sizeof(real));
        for (Size s = samples - first; s < n; s++)
            weight[s] = 0;
        if (loss == CROSS_ENTROPY && units == 2) {
#define TWO_CLASSES(plain)                                                                        \
    two_classes(plain, logits, logits + z.ld, t, weight, factor, n, out, out + dz.ld)
            sum += weights ? TWO_CLASSES(0) : TWO_CLASSES(1);
#undef TWO_CLASSES
            continue;
        }
        if (loss == CROSS_ENTROPY) {
            sum += cross_entropy((Matrix){z.p + first, z.ld}, t, weight, factor, units, n,
                                 (Matrix){out, dz.ld});
            continue;
        }
        if (loss == GAUSSIAN) {
            for (Size k = 0; k < units; k += 2, logits += 2 * z.ld, t += targets.ld, out += 2 * dz.ld)
                sum += gaussian_rows(logits, logits + z.ld, t, weight, constant, factor, n, out,
                                     out + dz.ld);
            continue;
        }
        for (Size k = 0; k < units; k++, logits += z.ld, out += dz.ld) {
            const Size which = k % per_target;
            if (k > 0 && which == 0)
                t += targets.ld;
            if (loss == BINARY_CROSS_ENTROPY && weights)
                sum += binary_row(0, logits, t, weight, factor, n, out);
            else if (loss == BINARY_CROSS_ENTROPY)
                sum += binary_row(1, logits, t, weight, factor, n, out);
            else if (loss == SQUARED_ERROR)
                sum += squared_row(logits, t, weight, factor, n, out);
            else
                sum += other_row(logits, t, weight, loss, constants[loss == QUANTILE ? which : 0], factor,
                                 n, out);
        }
    }
    if (smoothed && scale != 0)
        smoothing_rows(dz, targets, weights, loss, constant, scale, units, samples);
    return sum;
}

/* Transform net inputs to predictions in place. */
NOINLINE void transform_rows(Matrix z, int loss, Size units, Size padded)
{
    if (loss == BINARY_CROSS_ENTROPY)
        for (Size k = 0; k < units; k++)
            activate(z.p + k * z.ld, SIGMOID, 0, padded, z.p + k * z.ld);
    if (loss == POISSON)
        for (Size k = 0; k < units; k++)
            elementwise(z.p + k * z.ld, ONLY_EXP, padded, z.p + k * z.ld);
    if (loss != CROSS_ENTROPY)
        return;
    for (Size first = 0; first < padded; first += LOSS_SAMPLES) {
        real top[LOSS_SAMPLES], total[LOSS_SAMPLES];
        Size n = padded - first < LOSS_SAMPLES ? padded - first : LOSS_SAMPLES;
        max_over_units((Matrix){z.p + first, z.ld}, units, n, top);
        memset(total, 0, sizeof(total));
        for (Size k = 0; k < units; k++) {
            real *row = z.p + k * z.ld + first;
            VECTOR_LOOP for (Size s = 0; s < n; s++)
            {
                row[s] = softmax_exp(row[s] - top[s]);
                total[s] += row[s];
            }
        }
        for (Size k = 0; k < units; k++) {
            real *row = z.p + k * z.ld + first;
            VECTOR_LOOP for (Size s = 0; s < n; s++) row[s] /= total[s];
        }
    }
}

#endif
