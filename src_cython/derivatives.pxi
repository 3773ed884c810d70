# Derivatives of a network's outputs with respect to its inputs, block by block.
#
# The functions differentiate the net inputs of the last layer with respect to the inputs of the
# first. The plan must not have dropout. In the padding lanes the vectors are zero.


cdef struct Vectors:
    # (samples or 1, n, columns)
    real *p
    Size n
    Size columns
    Size stride  # elements between samples; 0: the same vectors for all samples


cdef inline Vectors read_vectors(cnp.ndarray vectors, Size samples, Size columns) except *:
    cdef Vectors v
    v.p = reals(vectors, 0, False, "vectors")
    if (cnp.PyArray_NDIM(vectors) != 3 or dim(vectors, 2) != columns
            or dim(vectors, 0) != 1 and dim(vectors, 0) != samples):
        raise ValueError("vectors has shape %s; needed is (%s or 1, n, %s)" % (
            (<object> vectors).shape, samples, columns))
    v.n, v.columns = dim(vectors, 1), columns
    v.stride = v.n * columns if dim(vectors, 0) > 1 else 0
    return v


cdef void read_columns(const real *x, Size ldx, Size samples, Size columns, Size padded,
                       Matrix out) noexcept nogil:
    """Transpose rows of x, one per sample, to columns; set the padding lanes to zero."""
    cdef Size c, s
    if ldx > 0:
        transpose(x, ldx, samples, columns, NULL, out.p, out.ld)
    else:
        for c in range(columns):
            for s in range(samples):
                out.p[c * out.ld + s] = x[c]
    for c in range(columns):
        for s in range(samples, padded):
            out.p[c * out.ld + s] = 0


cdef inline void prepare_products(Block *b, Size k, Dense *d) noexcept nogil:
    """Choose the strategy of a product with the weights only, the same in both directions."""
    set_operands(b, k, d)
    d.inputs = dense_strategy(b, b.net.layers + k)


cdef void layer_input_gradient(Block *b, Size k, Matrix dz, Matrix dx) noexcept nogil:
    """Compute the gradient w.r.t. the input of layer k from the one w.r.t. its net input."""
    cdef Dense d
    prepare_products(b, k, &d)
    d.dz, d.dx = dz, dx
    if d.inputs == PACKED:
        d.dz_panels = d.panels
        pack_share(dz.p, dz.ld, 1, d.n_out, d.padded, b.team, d.panels)
    backward_inputs(&d, 0, d.n_in, d.n_in)


cdef void layer_tangents(Block *b, Size k, Matrix dx, Matrix dz) noexcept nogil:
    """Compute the tangent of layer k's net input from the tangent of its input."""
    cdef Dense d
    prepare_products(b, k, &d)
    if d.inputs == NARROW:
        product(dx, Matrix(d.w, d.n_out), NULL, d.n_in, d.n_out, d.padded, dz)
    elif d.inputs == PACKED:
        pack_share(dx.p, dx.ld, 1, d.n_in, d.padded, b.team, d.panels)
        packed_product(Factor(d.w, 1, d.n_out), d.panels, NULL, False, d.n_out, d.padded, d.n_in,
                       dz, d.edge_rows, no_update())
    else:
        gemm(b"n", b"t", d.padded, d.n_out, d.n_in, dx, Matrix(d.w, d.n_out), 1, 0, dz)


cdef void vjp_block(Block *b, Vectors v, real *out) noexcept nogil:
    """Compute vector-Jacobian products for the samples of a block."""
    cdef real *work = b.memory.work
    cdef Size r, k, features = b.net.layers[0].fan_in
    cdef Matrix x = Matrix(work + b.net.header.work_input, b.ld)  # the samples are not read again
    cdef Matrix dz, dx
    for r in range(v.n):
        dz = Matrix(work + b.net.header.work_delta, b.ld)
        dx = Matrix(work + b.net.header.work_delta_other, b.ld)
        read_columns(v.p + r * v.columns, v.stride, b.samples, v.columns, b.padded, dz)
        for k in range(b.net.n_layers - 1, 0, -1):
            layer_input_gradient(b, k, dz, dx)
            activate_units_backward(b, k - 1, 0, b.net.layers[k].fan_in, dx)
            dz, dx = dx, dz
        layer_input_gradient(b, 0, dz, x)
        transpose(x.p, x.ld, features, b.samples, NULL, out + r * features, v.n * features)


cdef void jvp_block(Block *b, Vectors v, real *out) noexcept nogil:
    """Compute Jacobian-vector products for the samples of a block."""
    cdef real *work = b.memory.work
    cdef Size r, k, n_out = b.net.layers[b.net.n_layers - 1].fan_out
    cdef Matrix x, dz, other
    for r in range(v.n):
        x = Matrix(work + b.net.header.work_input, b.ld)
        dz = Matrix(work + b.net.header.work_delta, b.ld)
        other = Matrix(work + b.net.header.work_delta_other, b.ld)
        read_columns(v.p + r * v.columns, v.stride, b.samples, v.columns, b.padded, x)
        for k in range(b.net.n_layers):
            layer_tangents(b, k, x, dz)
            activate_units_backward(b, k, 0, b.net.layers[k].fan_out, dz)
            x, dz, other = dz, other, dz
        transpose(x.p, x.ld, n_out, b.samples, NULL, out + r * n_out, v.n * n_out)


cdef void jacobian_products(Net *net, real *x, Size samples, Vectors v, bint backward,
                            Memory memory, real *out) noexcept nogil:
    """Compute vector-Jacobian or Jacobian-vector products for all samples."""
    cdef Size features = net.layers[0].fan_in, n_out = net.layers[net.n_layers - 1].fan_out
    cdef Size first = 0, n, size = v.n * (features if backward else n_out)
    cdef Team single = single_thread()
    cdef Block b
    cdef Vectors here = v
    while first < samples:
        n = minimum(net.header.block_size, samples - first)
        start_block(&b, net, memory, &single, x, first, n)
        forward_layers(&b)
        here.p = v.p + first * v.stride
        if backward:
            vjp_block(&b, here, out + first * size)
        else:
            jvp_block(&b, here, out + first * size)
        first += n


cdef int check_and_multiply(net, cnp.ndarray x, cnp.ndarray vectors, bint backward,
                            cnp.ndarray params, cnp.ndarray work, cnp.ndarray out) except -1:
    """Check the arrays, then compute the products."""
    cdef Net net_ = read_net(net)
    cdef Size features = net_.layers[0].fan_in, n_out = net_.layers[net_.n_layers - 1].fan_out
    cdef Matrix x_ = matrix(x, -1, features, False, "x")
    cdef Size samples = dim(x, 0)
    cdef Vectors v = read_vectors(vectors, samples, n_out if backward else features)
    cdef real *out_ = reals(out, samples * v.n * (features if backward else n_out), True, "out")
    cdef Memory memory
    cdef uint64_t mode
    memory.params, memory.grads = reals(params, net_.header.n_params, False, "params"), NULL
    memory.work = memory.thread_work = reals(work, net_.header.work_size, True, "work")
    with nogil:
        mode = flush_subnormals()
        jacobian_products(&net_, x_.p, samples, v, backward, memory, out_)
        restore_subnormals(mode)
    return 0


def input_gradients(net not None, cnp.ndarray x not None, cnp.ndarray vectors not None,
                    cnp.ndarray params not None, cnp.ndarray work not None,
                    cnp.ndarray out not None, /):
    """Compute vector-Jacobian products with respect to the inputs."""
    check_and_multiply(net, x, vectors, True, params, work, out)


def output_tangents(net not None, cnp.ndarray x not None, cnp.ndarray vectors not None,
                    cnp.ndarray params not None, cnp.ndarray work not None,
                    cnp.ndarray out not None, /):
    """Compute Jacobian-vector products with respect to the inputs."""
    check_and_multiply(net, x, vectors, False, params, work, out)
