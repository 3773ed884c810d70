# Activations and dropout: for ranges of units of a layer, and as public functions.

cdef extern from "activations.h" nogil:
    const int ONLY_EXP, ONLY_EXPM1, ONLY_TANH, ONLY_SIGMOID, ONLY_LOG, ONLY_LOG1P, ONLY_SOFTPLUS
    const int ONLY_NORMAL_CDF
    void activate(const real *z, int activation, double alpha, Size n, real *out) noexcept
    void activate_backward(const real *z, const real *a, int activation, double alpha, Size n,
                           real *da) noexcept
    void apply_dropout(Matrix x, double rate, uint64_t key, Size first, Size units, Size padded,
                       Matrix out) noexcept
    void elementwise(const real *x, int function, Size n, real *out) noexcept


cdef inline void activate_units(Block *b, Size k, Size unit, Size last) noexcept nogil:
    """Compute the outputs of some units of layer k, and of the dropout layer if one follows."""
    cdef Layer *layer = b.net.layers + k
    cdef double constant = b.net.constants[k]
    cdef real *z = b.memory.work + layer.net_input
    cdef real *a = b.memory.work + layer.output
    cdef Size ld = b.ld, u
    if layer.activation == IDENTITY:
        pass  # output and net input share memory
    elif b.padded == ld:
        activate(z + unit * ld, <int> layer.activation, constant, (last - unit) * ld, a + unit * ld)
    else:
        for u in range(unit, last):
            activate(z + u * ld, <int> layer.activation, constant, b.padded, a + u * ld)
    if k + 1 < b.net.n_layers and layer[1].kind == DROPOUT:
        drop_units(b, k + 1, unit, last, Matrix(a, ld),
                   Matrix(b.memory.work + layer[1].output, ld))


cdef inline void activate_units_backward(Block *b, Size k, Size unit, Size last,
                                         Matrix da) noexcept nogil:
    """Convert the gradient w.r.t. the input of layer k + 1 to that w.r.t. net inputs of layer k.

    In place, for some units. If layer k is dropout, also through it, to the net inputs of k - 1.
    """
    cdef Layer *layer
    cdef real *z
    cdef real *a
    cdef double constant
    cdef Size u
    if k > 0 and b.net.layers[k].kind == DROPOUT:
        drop_units(b, k, unit, last, da, da)
        k -= 1
    if k < 0:
        return
    layer, constant = b.net.layers + k, b.net.constants[k]
    z, a = b.memory.work + layer.net_input, b.memory.work + layer.output
    if layer.activation == IDENTITY:
        return
    if b.padded == b.ld:
        activate_backward(z + unit * b.ld, a + unit * b.ld, <int> layer.activation, constant,
                          (last - unit) * b.ld, da.p + unit * b.ld)
        return
    for u in range(unit, last):
        activate_backward(z + u * b.ld, a + u * b.ld, <int> layer.activation, constant, b.padded,
                          da.p + u * b.ld)


cdef void drop_units(Block *b, Size k, Size unit, Size last, Matrix x, Matrix out) noexcept nogil:
    """Apply dropout layer k, forward or backward, to some units."""
    cdef uint64_t key = stream_key(b.seed, STREAM_DROPOUT + <uint64_t> k, <uint64_t> b.step)
    apply_dropout(Matrix(x.p + unit * x.ld, x.ld), b.net.constants[k], key + <uint64_t> unit,
                  b.first, last - unit, b.padded, Matrix(out.p + unit * out.ld, out.ld))


def activation_forward(cnp.ndarray z not None, int activation, double alpha,
                       cnp.ndarray out not None, /):
    """``out = f(z)``; ``out`` may be ``z``."""
    cdef Size n = cnp.PyArray_SIZE(z)
    cdef real *z_ = reals(z, n, False, "z")
    cdef real *out_ = reals(out, n, True, "out")
    with nogil:
        activate(z_, activation, alpha, n, out_)


def activation_backward(cnp.ndarray z not None, cnp.ndarray a not None, int activation,
                        double alpha, cnp.ndarray da not None, /):
    """Multiply ``da`` by ``f'(z)`` in place, which gives ``dz``."""
    cdef Size n = cnp.PyArray_SIZE(a)
    cdef real *z_ = reals(z, n, False, "z")
    cdef real *a_ = reals(a, n, False, "a")
    cdef real *da_ = reals(da, n, True, "da")
    with nogil:
        activate_backward(z_, a_, activation, alpha, n, da_)


def dropout_forward(cnp.ndarray x not None, double rate, uint64_t key, Size first,
                    cnp.ndarray out not None, /):
    """``out = x / (1 - rate)`` where the unit is kept, else 0; ``out`` may be ``x``."""
    cdef Matrix x_ = matrix(x, -1, -1, False, "x")
    cdef Size units = dim(x, 0), n = dim(x, 1)
    cdef Matrix out_ = matrix(out, units, n, True, "out")
    with nogil:
        apply_dropout(x_, rate, key, first, units, n, out_)


def dropout_backward(double rate, uint64_t key, Size first, cnp.ndarray da not None, /):
    """Apply the mask and factor of :func:`dropout_forward` to ``da``, in place."""
    dropout_forward(da, rate, key, first, da)


# Codes of the functions of `elementwise`, for tests and benchmarks.
ELEMENTARY = {
    "exp": ONLY_EXP, "expm1": ONLY_EXPM1, "tanh": ONLY_TANH, "sigmoid": ONLY_SIGMOID,
    "log": ONLY_LOG, "log1p": ONLY_LOG1P, "softplus": ONLY_SOFTPLUS,
    "normal_cdf": ONLY_NORMAL_CDF,
}


def apply_elementary(str name not None, cnp.ndarray x not None, cnp.ndarray out not None, /):
    """``out = f(x)``; log for positive normal x, log1p for x in [0, 1]."""
    cdef int function = ELEMENTARY[name]
    cdef Size n = cnp.PyArray_SIZE(x)
    cdef real *x_ = reals(x, n, False, "x")
    cdef real *out_ = reals(out, n, True, "out")
    with nogil:
        elementwise(x_, function, n, out_)
