# Forward pass, backward pass and update as separate functions, for a loss computed elsewhere.
#
# Each block of samples has its own scratch memory, which keeps the layers' outputs from the forward
# to the backward pass, followed by memory for the input gradient.


cdef Size tape_size(Net *net) noexcept nogil:
    """Return the size of a block's scratch memory."""
    return net.header.work_size + net.layers[0].fan_in * net.header.block_size


cdef int read_tape(Net *net, cnp.ndarray x, cnp.ndarray params, cnp.ndarray work,
                   Memory *memory) except -1:
    """Check and read the arguments of both passes."""
    cdef Size samples = dim(x, 0), size = net.header.block_size
    cdef Size blocks = (samples + size - 1) // size
    memory.params, memory.grads = reals(params, net.header.n_params, False, "params"), NULL
    memory.work = memory.thread_work = reals(work, blocks * tape_size(net), True, "work")
    check_shape(work, -1, tape_size(net), "work")
    return 0


cdef inline void tape_block(Block *b, Net *net, Memory memory, Team *team, uint64_t seed,
                            Size step, Size first, Size samples) noexcept nogil:
    """Set the block of samples that starts with sample ``first``."""
    b.net, b.memory, b.team, b.first, b.seed, b.step = net, memory, team, first, seed, step
    b.samples = minimum(net.header.block_size, samples - first)
    b.memory.work = memory.work + first // net.header.block_size * tape_size(net)
    b.memory.thread_work = b.memory.work
    b.single = samples == 1
    b.padded = 1 if b.single else round_up(b.samples, PADDING)
    b.ld = 1 if b.single else round_up(b.samples, GATHERED)
    b.csr.indices, b.update = NULL, NULL
    b.x = Matrix(b.memory.work + net.header.work_input, b.ld)


cdef void tape_forward_blocks(Net *net, real *x, Size samples, uint64_t seed, Size step,
                              Memory memory, real *out) noexcept nogil:
    """Compute the last layer's net inputs; leave all layers' outputs in scratch memory."""
    cdef Size features = net.layers[0].fan_in, first = 0
    cdef Size n_out = net.layers[net.n_layers - 1].fan_out
    cdef Team single = single_thread()
    cdef Block b
    cdef Matrix z
    while first < samples:
        tape_block(&b, net, memory, &single, seed, step, first, samples)
        if b.single:
            copy_rows(Matrix(x, features), 1, features, features, b.x)
        else:
            gather(b.x, x, features, Rows(NULL, first, b.samples), b.padded)
        z = forward_layers(&b)
        transpose(z.p, z.ld, n_out, b.samples, NULL, out + first * n_out, n_out)
        first += b.samples


cdef void tape_backward_blocks(Net *net, real *d_outputs, Size samples, uint64_t seed, Size step,
                               Memory memory, real *d_inputs) noexcept nogil:
    """Compute the gradients, summed over the blocks in the order of a training step."""
    cdef Size features = net.layers[0].fan_in, size = net.header.block_size, k, group, first, last
    cdef Size n_out = net.layers[net.n_layers - 1].fan_out, n_params = net.header.n_params
    cdef Size blocks = block_count(net, samples), groups = group_count(net, samples)
    cdef Team single = single_thread()
    cdef Block b
    cdef Matrix dz, dx
    cdef double loss = 0
    for group in range(groups):
        first = first_block(group, groups, blocks)
        last = first_block(group + 1, groups, blocks)
        for k in range(first, last):
            tape_block(&b, net, memory, &single, seed, step, k * size, samples)
            b.memory.grads = memory.grads + group * n_params
            b.accumulate = k > first
            dz = Matrix(b.memory.work + net.header.work_delta, b.ld)
            dx = Matrix(b.memory.work + net.header.work_delta_other, b.ld)
            read_columns(d_outputs + k * size * n_out, n_out, b.samples, n_out, b.padded, dz)
            backward_layers(&b, dz, dx, &loss)
            if d_inputs != NULL:
                block_input_gradient(&b, dz, dx, d_inputs + k * size * features)
    sum_groups(groups, n_params, 0, n_params, memory.grads)


cdef void block_input_gradient(Block *b, Matrix dz, Matrix dx, real *out) noexcept nogil:
    """Compute the input gradient, after the parameter gradient.

    ``dz`` and ``dx`` are the matrices that :func:`backward_layers` was called with.
    """
    cdef Size k, features = b.net.layers[0].fan_in
    cdef Matrix inputs = Matrix(b.memory.work + b.net.header.work_size, b.ld)
    for k in range(1, b.net.n_layers):
        if b.net.layers[k].kind == DENSE:  # as backward_layers swaps them for each layer
            dz, dx = dx, dz
    layer_input_gradient(b, 0, dz, inputs)
    transpose(inputs.p, inputs.ld, features, b.samples, NULL, out, features)


def tape_forward(net not None, cnp.ndarray x not None, uint64_t seed, Size step,
                 cnp.ndarray params not None, cnp.ndarray work not None,
                 cnp.ndarray out not None, /):
    """Compute the net inputs of the last layer; return whether x is finite."""
    cdef Net net_ = read_net(net)
    cdef Matrix x_ = matrix(x, -1, net_.layers[0].fan_in, False, "x")
    cdef Size samples = dim(x, 0)
    cdef Matrix out_ = matrix(out, samples, net_.layers[net_.n_layers - 1].fan_out, True, "out")
    cdef Memory memory
    cdef bint finite
    cdef uint64_t mode
    read_tape(&net_, x, params, work, &memory)
    with nogil:
        mode = flush_subnormals()
        finite = all_finite(x_.p, samples * x_.ld)
        tape_forward_blocks(&net_, x_.p, samples, seed, step, memory, out_.p)
        restore_subnormals(mode)
    return finite


def tape_backward(net not None, cnp.ndarray x not None, cnp.ndarray d_outputs not None,
                  uint64_t seed, Size step, cnp.ndarray params not None,
                  cnp.ndarray work not None, cnp.ndarray grads not None,
                  cnp.ndarray d_inputs not None, /):
    """Compute the gradients with respect to parameters and inputs from the output gradient."""
    cdef Net net_ = read_net(net)
    cdef Size samples = dim(x, 0), n_out = net_.layers[net_.n_layers - 1].fan_out
    cdef Matrix dz = matrix(d_outputs, samples, n_out, False, "d_outputs")
    cdef Matrix dx
    cdef Memory memory
    cdef uint64_t mode
    read_tape(&net_, x, params, work, &memory)
    memory.grads = reals(grads, net_.header.n_params * group_count(&net_, samples), True, "grads")
    dx.p = NULL
    if cnp.PyArray_SIZE(d_inputs):
        dx = matrix(d_inputs, samples, net_.layers[0].fan_in, True, "d_inputs")
    with nogil:
        mode = flush_subnormals()
        tape_backward_blocks(&net_, dz.p, samples, seed, step, memory, dx.p)
        restore_subnormals(mode)


def apply_gradient(net not None, cnp.ndarray grads not None, rule not None, double learning_rate,
                   Size count, cnp.ndarray params not None, cnp.ndarray moments not None, /):
    """Update all parameters with the gradient of a loss; return whether it is finite."""
    cdef Net net_ = read_net(net)
    cdef Rule rule_ = read_rule(rule, 2 * net_.n_layers + 1,
                                net_.layers[0].fan_in * net_.layers[0].fan_out)
    cdef Size n_params = net_.header.n_params
    cdef bint finite
    cdef Memory memory
    memory.grads = reals(grads, n_params, clips(&rule_), "grads")
    memory.params = reals(params, n_params, True, "params")
    memory.work = memory.thread_work = NULL
    cdef Size rows = moment_rows(&rule_) + (rule_.constants[AVERAGE_DECAY] != 0)
    cdef real *moments_ = reals(moments, n_params * rows, True, "moments")
    cdef Update update_ = make_update(&net_, &rule_, moments_)
    cdef uint64_t mode
    with nogil:
        mode = flush_subnormals()
        finite = all_finite(memory.grads, n_params)
        if finite:
            update_all(&net_, &update_, learning_rate, count, memory)
        restore_subnormals(mode)
    return finite


cdef void update_all(Net *net, Update *u, double learning_rate, Size count,
                     Memory memory) noexcept nogil:
    """Update all parameters with one thread, without fused updates even if SPLIT_UNITS is set."""
    cdef Header header = net.header[0]
    cdef Batch batch
    cdef Data data
    cdef Team single = single_thread()
    header.split_units, net.header = 0, &header
    batch.groups, batch.scale = 1, 0
    data.csr.indices = NULL
    prepare_update(net, u, learning_rate, count, &batch, memory.params)
    update_layers(net, &data, &batch, u, &single, &memory)
