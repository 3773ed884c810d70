/* Gradients of samples by themselves. */
#ifndef FASTNN_SAMPLE_GRADIENTS_H
#define FASTNN_SAMPLE_GRADIENTS_H

#include "platform.h"

/* Of a layer's weights, then biases: each a row of out, `ldo` numbers apart. */
FUNCTION void layer_rows(Matrix x, Matrix dz, Size n_in, Size n_out, Size samples,
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
