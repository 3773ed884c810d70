# Per-sample parameter gradients, block by block.
#
# The result is a matrix with a row for each parameter. The samples of a block are contiguous in it,
# as in the layers' inputs and derivatives, whose products are written to it.

cdef extern from "sample_gradients.h" nogil:
    void layer_sample_gradients(Matrix x, Matrix dz, Size n_in, Size n_out, Size samples, real *out,
                    Size ldo) noexcept


cdef void sample_gradients_block(Block *b, Vectors v, Size samples, real *out) noexcept nogil:
    """Compute the gradients of a block's samples; ``out`` points to the first sample's column."""
    cdef real *work = b.memory.work
    cdef Size r, k, row = v.n * samples
    cdef Layer *layer
    cdef Matrix dz, dx, x
    for r in range(v.n):
        dz = Matrix(work + b.net.header.work_delta, b.ld)
        dx = Matrix(work + b.net.header.work_delta_other, b.ld)
        read_columns(v.p + r * v.columns, v.stride, b.samples, v.columns, b.padded, dz)
        for k in range(b.net.n_layers - 1, -1, -1):
            layer = b.net.layers + k
            x = Matrix(work + b.net.layers[k - 1].output, b.ld) if k > 0 else b.x
            layer_sample_gradients(x, dz, layer.fan_in, layer.fan_out, b.samples,
                       out + layer.weights * row + r * samples, row)
            if k > 0:
                layer_input_gradient(b, k, dz, dx)
                activate_units_backward(b, k - 1, 0, layer.fan_in, dx)
                dz, dx = dx, dz


cdef void sample_gradients_blocks(Net *net, real *x, Size samples, Vectors v, Memory memory,
                                  real *out) noexcept nogil:
    """Compute the gradients of all samples."""
    cdef Size first = 0, n
    cdef Team single = single_thread()
    cdef Block b
    cdef Vectors here = v
    while first < samples:
        n = minimum(net.header.block_size, samples - first)
        start_block(&b, net, memory, &single, x, first, n)
        forward_layers(&b)
        here.p = v.p + first * v.stride
        sample_gradients_block(&b, here, samples, out + first)
        first += n


def sample_gradients(net not None, cnp.ndarray x not None, cnp.ndarray vectors not None,
                     cnp.ndarray params not None, cnp.ndarray work not None,
                     cnp.ndarray out not None, /):
    """Compute vector-Jacobian products with respect to the parameters."""
    cdef Net net_ = read_net(net)
    cdef Matrix x_ = matrix(x, -1, net_.layers[0].fan_in, False, "x")
    cdef Size samples = dim(x, 0), n_params = net_.header.n_params
    cdef Vectors v = read_vectors(vectors, samples, net_.layers[net_.n_layers - 1].fan_out)
    cdef real *out_ = reals(out, n_params * v.n * samples, True, "out")
    cdef Memory memory
    cdef uint64_t mode
    memory.params, memory.grads = reals(params, n_params, False, "params"), NULL
    memory.work = memory.thread_work = reals(work, net_.header.work_size, True, "work")
    with nogil:
        mode = flush_subnormals()
        sample_gradients_blocks(&net_, x_.p, samples, v, memory, out_)
        restore_subnormals(mode)
