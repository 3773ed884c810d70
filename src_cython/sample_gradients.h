/* Per-sample parameter gradients. */
#ifndef FASTNN_SAMPLE_GRADIENTS_H
#define FASTNN_SAMPLE_GRADIENTS_H

#include "platform.h"

/* Write a row of out for each weight and then each bias of a layer; rows are `ldo` apart. */
NOINLINE void layer_sample_gradients(Matrix x, Matrix dz, Size n_in, Size n_out, Size samples,
                         real *RESTRICT out, Size ldo)
{
    for (Size i = 0; i < n_in; i++) {
        const real *RESTRICT a = x.p + i * x.ld;
        for (Size j = 0; j < n_out; j++, out += ldo) {
            const real *RESTRICT d = dz.p + j * dz.ld;
            for (Size s = 0; s < samples; s++)
                out[s] = a[s] * d[s];
        }
    }
    for (Size j = 0; j < n_out; j++, out += ldo)
        memcpy(out, dz.p + j * dz.ld, (size_t)samples * sizeof(real));
}

#endif
