# All layers of a network: predictions, the objective and its gradient.

cdef extern from "data.h" nogil:
    const int GATHERED
    ctypedef struct Rows:
        const int64_t *order
        Size first, samples
    void gather(Matrix out, const real *source, Size features, Rows rows, Size padded) noexcept
    void gather_bytes(Matrix out, const uint8_t *source, Size features, Rows rows,
                      Size padded) noexcept
    bint all_finite(const real *x, Size n) noexcept

cdef extern from "sparse.h" nogil:
    void find_part_ends(const CsrBlock *x, Size columns, Size start, Size stop) noexcept

cdef extern from "plan.h" nogil:
    ProductScratch scratch_of_products "product_scratch" (Size block, Size widest) noexcept

cdef extern from "platform.h" nogil:
    const int VECTOR_BYTES


# --- reading the plan and the data --------------------------------------------------


cdef Net read_net(net) except *:
    """Read a network and check its arrays, whose contents are assumed to be those of a Plan."""
    cdef cnp.ndarray header = net.header, layers = net.layers, constants = net.constants
    cdef Net out
    cdef Size k, widest = 0
    check(header, cnp.NPY_INT64, HEADER_SIZE, False, "header")
    check(layers, cnp.NPY_INT64, LAYER_COLUMNS, False, "layers")
    check_shape(layers, -1, LAYER_COLUMNS, "layers")
    out.loss, out.l2 = net.loss, net.l2
    out.n_layers = dim(layers, 0)
    check(constants, cnp.NPY_DOUBLE, out.n_layers, False, "constants")
    out.header, out.layers = <Header *> data_of(header), <Layer *> data_of(layers)
    out.constants = <double *> data_of(constants)
    if out.header.groups > MAX_GROUPS:
        raise ValueError("not a plan of this version")
    for k in range(out.n_layers):
        if out.layers[k].wide:
            widest = max(widest, max(out.layers[k].fan_in, out.layers[k].fan_out))
    if widest > 0:
        find_blas()
    out.scratch = scratch_of_products(out.header.block_size, widest)
    if out.header.work_size - out.header.work_packed < out.scratch.size:
        raise ValueError("the plan has no room for packed products")
    return out


def product_scratch(Size block, Size widest, Size itemsize, /):
    """Return how many additional scratch elements the products of wide layers need."""
    return scratch_of_products(block, widest).size


cdef int read_data(Net *net, cnp.ndarray x, cnp.ndarray targets, cnp.ndarray sample_weight,
                   bint gathered, Data *out) except -1:
    """Check the data against the plan; x is sparse if ``out.csr.indptr`` is set."""
    cdef bint sparse = out.csr.indptr != NULL
    out.features = net.layers[0].fan_in
    out.n_targets = net.header.n_targets
    out.x_is_bytes = gathered and not sparse and cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    out.targets = reals(targets, 0, False, "targets")
    check(x, cnp.NPY_UINT8 if out.x_is_bytes else REAL_TYPE, 0, False, "x")
    if gathered:
        check_shape(targets, -1, out.n_targets, "targets")
        out.samples = dim(targets, 0)
    else:
        check_shape(targets, out.n_targets, -1, "targets")
        out.samples = dim(targets, 1)
    if sparse:
        check_shape(x, 1, -1, "x")
    elif gathered:
        check_shape(x, out.samples, out.features, "x")
    else:
        check_shape(x, out.features, out.samples, "x")
    if out.samples < 1:
        raise ValueError("x has no samples")
    out.x, out.weights = data_of(x), NULL
    if cnp.PyArray_SIZE(sample_weight):
        out.weights = reals(sample_weight, out.samples, False, "sample_weight")
    return 0


# --- layers -------------------------------------------------------------------------


cdef Matrix forward_layers(Block *b) noexcept nogil:
    """Compute the outputs of all layers for one block; return the last layer's net inputs."""
    cdef Dense d
    cdef Size k, unit = 0, last
    for k in range(b.net.n_layers):
        if b.net.layers[k].kind == DROPOUT:
            continue  # applied by activate_units of the layer before
        if k > 0:
            barrier(b.team)
        prepare_forward(b, k, &d)
        last = 0
        while take_piece(b.team, d.n_out, d.grain_size, &unit, &last):
            forward_units(&d, unit, last)
            activate_units(b, k, unit, last)
    return d.z


cdef double block_loss(Block *b, Matrix logits, Matrix dz) noexcept nogil:
    """Return the summed loss of a block; write its gradient w.r.t. the net inputs to ``dz``."""
    cdef Size k = b.net.n_layers - 1
    cdef Size units = b.net.layers[k].fan_out
    return loss_rows(logits, b.targets, b.weights, b.net.loss, b.net.constants + k,
                     units // b.net.header.n_targets, b.scale, units, b.samples, b.padded, dz)


cdef bint backward_layers(Block *b, Matrix dz, Matrix dx, double *loss) noexcept nogil:
    """Compute the parameter gradient from ``dz``, that w.r.t. the last layer's net inputs.

    With a fused update, weights are updated in the same pass, unless the objective (the penalty
    plus ``loss``) is not finite; every thread checks this before it changes a weight.
    """
    cdef Dense d
    cdef Size k, first = 0, last
    for k in range(b.net.n_layers - 1, -1, -1):
        if b.net.layers[k].kind == DROPOUT:
            continue  # applied by activate_units_backward of the layer after
        barrier(b.team)
        if b.update != NULL and not isfinite(b.update.penalty + loss[0] * b.update.scale):
            return False
        prepare_backward(b, k, dz, dx, &d)
        last = 0
        while take_piece(b.team, d.n_in, d.grain_size, &first, &last):
            backward_rows(&d, first, last)
            activate_units_backward(b, k - 1, first, last, dx)
        dz, dx = dx, dz
    return True


cdef inline void block_gradient(Block *b, double *loss) noexcept nogil:
    """Compute the gradient of a block, and add its loss to ``loss``.

    The threads of a team split the units of every layer in the forward pass, and the inputs in the
    backward pass; the first thread computes the loss.
    """
    cdef Matrix dz = Matrix(b.memory.work + b.net.header.work_delta, b.ld)
    cdef Matrix dx = Matrix(b.memory.work + b.net.header.work_delta_other, b.ld)
    cdef Matrix logits = forward_layers(b)
    barrier(b.team)
    if b.team.thread == 0:
        loss[0] += block_loss(b, logits, dz)
    backward_layers(b, dz, dx, loss)


# --- batches ------------------------------------------------------------------------


cdef inline void gather_block(Block *b, Data *data, Batch *batch, Size first,
                              Size n) noexcept nogil:
    """Prepare a block: n samples of a batch from ``first`` on. Each thread gathers a share.

    Consecutive inputs are not copied unless they need padding; nor are sparse rows and the row of
    a batch of one sample.
    """
    cdef Header *header = b.net.header
    cdef real *work = b.memory.work
    cdef bint single = batch.samples == 1 and data.csr.indices == NULL
    cdef Size padded = 1 if single else round_up(n, PADDING), start = batch.start + first
    cdef Size s = share_start(padded, GATHERED, b.team.thread, b.team.n_threads)
    cdef Size stop = share_start(padded, GATHERED, b.team.thread + 1, b.team.n_threads)
    cdef Rows rows = Rows(data.order, start + s, n - s)
    cdef Matrix x
    b.single, b.samples, b.padded, b.first = single, n, padded, first
    b.ld = 1 if single else header.block_size
    b.x, b.csr = Matrix(work + header.work_input, b.ld), data.csr
    x = Matrix(b.x.p + s, b.ld)
    if data.csr.indices != NULL:
        b.x.p = NULL
        b.csr.order, b.csr.first, b.csr.samples = data.order, start, n
        if header.split_units:
            b.csr.part_ends = <int32_t *> (work + header.work_size)
            find_part_ends(&b.csr, data.features, s, minimum(stop, n))
    elif data.order == NULL:  # the batches follow one another in memory, each (features, batch)
        x = Matrix(<real *> data.x + batch.start * data.features + first, batch.samples)
        if n == padded:
            b.x = x
        elif b.team.thread == 0:
            copy_rows(x, data.features, n, padded, b.x)
    elif single and not data.x_is_bytes:
        b.x.p = <real *> data.x + data.order[start] * data.features
    elif s < stop and data.x_is_bytes:
        gather_bytes(x, <uint8_t *> data.x, data.features, rows, stop - s)
    elif s < stop:
        gather(x, <real *> data.x, data.features, rows, stop - s)
    if b.team.thread == 0:  # this thread computes the loss
        gather_targets(b, data, batch)


cdef inline void gather_targets(Block *b, Data *data, Batch *batch) noexcept nogil:
    """Prepare targets and sample weights of a block."""
    cdef Header *header = b.net.header
    cdef Size start = batch.start + b.first
    cdef Rows rows = Rows(data.order, start, b.samples)
    cdef Matrix weights = Matrix(b.memory.work + header.work_sample_weight, header.block_size)
    b.targets, b.weights = Matrix(b.memory.work + header.work_targets, header.block_size), NULL
    if data.order != NULL:
        gather(b.targets, data.targets, data.n_targets, rows, b.padded)
        if data.weights != NULL:
            gather(weights, data.weights, 1, rows, b.padded)
            b.weights = weights.p
        return
    cdef Matrix targets = Matrix(data.targets + batch.start * data.n_targets + b.first,
                                 batch.samples)
    if b.samples < b.padded:
        copy_rows(targets, data.n_targets, b.samples, b.padded, b.targets)
    else:
        b.targets = targets
    if data.weights != NULL:
        b.weights = data.weights + start


cdef void group_gradient(Block *b, Data *data, Batch *batch, Size group, Update *update,
                         double *loss) noexcept nogil:
    """Compute loss and gradient of a group, some consecutive blocks of a batch."""
    cdef Size size = b.net.header.block_size, k
    cdef Size first = first_block(group, batch.groups, batch.blocks)
    cdef Size last = first_block(group + 1, batch.groups, batch.blocks)
    cdef real *grads = b.memory.grads
    b.memory.grads = grads + group * b.net.header.n_params
    b.seed, b.step, b.scale = data.seed, batch.step, batch.scale
    if b.team.thread == 0:
        loss[0] = 0
    for k in range(first, last):
        if k > first:
            barrier(b.team)
        gather_block(b, data, batch, k * size, minimum(size, batch.samples - k * size))
        barrier(b.team)
        b.accumulate, b.update = k > first, update if k == batch.blocks - 1 else NULL
        block_gradient(b, loss)
    b.memory.grads = grads


cdef void batch_gradient(Net *net, Data *data, Batch *batch, Update *update, Team *team,
                         Memory memory, double *losses) noexcept nogil:
    """Compute a thread's part of a batch: gradients and losses of groups of blocks.

    Data parallelism: each thread owns some groups, and steals groups of other threads when it has
    finished its own. If the plan splits the units (SPLIT_UNITS), tensor parallelism: all threads
    process one block after another together, in the scratch memory of the first thread, so that
    weights are read once per block and there is only one gradient sum. The blocks of a group depend
    on the batch alone, so that the sums are the same for any number of threads.
    """
    cdef Team single = single_thread()
    cdef Size distance, owner, i, count, group
    cdef Block b
    b.net, b.memory, b.team = net, memory, team
    if net.header.split_units:
        group_gradient(&b, data, batch, 0, update, losses)
        return
    b.memory.work, b.team = memory.thread_work, &single
    for distance in range(team.n_threads):
        owner = (team.thread + distance) % team.n_threads
        count = (batch.groups - owner + team.n_threads - 1) // team.n_threads
        for i in range(count):
            # steal the groups of other threads from the last to the first
            group = owner + team.n_threads * (i if distance == 0 else count - 1 - i)
            if team.n_threads == 1 or claim(team.sync + SYNC_CLAIMS + group, team.iteration):
                group_gradient(&b, data, batch, group, update, losses + group)


cdef Batch make_batch(Net *net, Data *data, Size start, Size samples, Size step) noexcept nogil:
    """Make a batch of consecutive samples, in the order of the data."""
    cdef double total = <double> samples
    if data.weights != NULL:
        total = sum_range(data.weights, data.order, start, samples)
    # a batch may contain only samples of weight zero; its gradient is zero
    return Batch(start, samples, step, 1 / total if total != 0 else 0, block_count(net, samples),
                 group_count(net, samples))


cdef inline Size block_count(Net *net, Size samples) noexcept nogil:
    return (samples + net.header.block_size - 1) // net.header.block_size


cdef inline Size group_count(Net *net, Size samples) noexcept nogil:
    """Return the number of groups (partial gradient sums) of a batch of this size."""
    return 1 if net.header.split_units else minimum(net.header.groups, block_count(net, samples))


cdef inline Size first_block(Size group, Size groups, Size blocks) noexcept nogil:
    """Return the first block of a group."""
    if groups == 1:  # divisions are 1% of the smallest steps
        return group * blocks
    return group * blocks // groups


cdef inline double sum_group_losses(double *x, Size n) noexcept nogil:
    cdef double total = 0
    cdef Size i
    for i in range(n):
        total += x[i]
    return total


cdef double objective_gradient(Net *net, Data *data, Size step, Memory memory) noexcept nogil:
    """Compute the objective of all samples as one batch, and its gradient."""
    cdef double[MAX_GROUPS] losses
    cdef Batch batch = make_batch(net, data, 0, data.samples, step)
    cdef Team single = single_thread()
    cdef Layer *layer
    cdef Size k, n_params = net.header.n_params
    batch_gradient(net, data, &batch, NULL, &single, memory, &losses[0])
    sum_groups(batch.groups, n_params, 0, n_params, memory.grads)
    for k in range(net.n_layers):
        layer = net.layers + k
        if layer.kind == DENSE and net.l2 != 0:
            add_scaled(memory.params + layer.weights, net.l2, layer.fan_in * layer.fan_out,
                       memory.grads + layer.weights)
    return (sum_group_losses(&losses[0], batch.groups) * batch.scale
            + net_penalty(net, memory.params))


def loss_and_grad(net not None, cnp.ndarray x not None, cnp.ndarray targets not None,
                  cnp.ndarray sample_weight not None, uint64_t seed, Size step,
                  cnp.ndarray params not None, cnp.ndarray work not None,
                  cnp.ndarray grads not None, /):
    """Compute the objective of one batch and its gradient."""
    cdef Net net_ = read_net(net)
    cdef Data data
    cdef Memory memory
    cdef double objective
    data.seed, data.order, data.shuffled = seed, NULL, False
    data.csr.indices, data.csr.indptr = NULL, NULL
    read_data(&net_, x, targets, sample_weight, False, &data)
    memory.params = reals(params, net_.header.n_params, False, "params")
    memory.work = memory.thread_work = reals(work, net_.header.work_size, True, "work")
    memory.grads = reals(grads, net_.header.n_params * group_count(&net_, data.samples), True,
                         "grads")
    cdef uint64_t mode
    with nogil:
        mode = flush_subnormals()
        objective = objective_gradient(&net_, &data, step, memory)
        restore_subnormals(mode)
    return objective


# --- predictions --------------------------------------------------------------------


cdef enum:
    # Fewer samples than this are predicted with loops along the units: by networks with fewer than
    # LARGE parameters, and by larger ones. See few_samples_below for networks with packed products.
    FEW_SAMPLES = 5
    FEW_SAMPLES_LARGE = 10
    LARGE = 4096


cdef Size few_samples_below(Size n_params, bint wide_layers) noexcept nogil:
    if wide_layers and PACKED_PRODUCTS:
        return 32 if VECTOR_BYTES == 64 else 16
    return FEW_SAMPLES if n_params < LARGE else FEW_SAMPLES_LARGE


def few_samples_limit(Size n_params, bint wide_layers, /):
    """Return the number of rows below which the loops run along the units, without padding."""
    return few_samples_below(n_params, wide_layers)


cdef real *forward_few_samples(Net *net, real *x, Size samples, Memory memory) noexcept nogil:
    """As :func:`forward_layers` for a few samples; all matrices are ``(samples, units)``."""
    cdef Size k
    cdef Layer *layer
    cdef real *z = x
    for k in range(net.n_layers):
        layer = net.layers + k
        z = memory.work + layer.net_input
        few_samples_product(x, Matrix(memory.params + layer.weights, layer.fan_out),
                            memory.params + layer.biases, samples, layer.fan_in, layer.fan_out, z)
        x = memory.work + layer.output
        if layer.activation != IDENTITY:
            activate(z, <int> layer.activation, net.constants[k], samples * layer.fan_out, x)
    return z


cdef inline void start_block(Block *b, Net *net, Memory memory, Team *team, real *x, Size first,
                             Size n) noexcept nogil:
    """Prepare a block of n rows of ``x``, for predictions and input derivatives."""
    b.net, b.memory, b.team, b.first, b.step, b.seed = net, memory, team, 0, 0, 0
    b.csr.indices, b.update, b.single = NULL, NULL, False
    b.samples, b.padded = n, round_up(n, PADDING)
    # the smallest leading dimension: less memory in the cache
    b.ld = round_up(n, GATHERED)
    b.x = Matrix(memory.work + net.header.work_input, b.ld)
    gather(b.x, x, net.layers[0].fan_in, Rows(NULL, first, n), b.padded)


cdef bint predict(Net *net, real *x, Size samples, bint transform, Memory memory,
                  real *out) noexcept nogil:
    """Compute the predictions for x, ``(samples, features)``; return whether x is finite."""
    cdef Size features = net.layers[0].fan_in, first = 0, n, s
    cdef Size n_out = net.layers[net.n_layers - 1].fan_out
    cdef Matrix z
    cdef real *logits
    cdef bint finite = True
    cdef Team single = single_thread()
    cdef Block b
    if samples < few_samples_below(net.header.n_params, net.scratch.widest > 0):
        logits = forward_few_samples(net, x, samples, memory)
        for s in range(samples if transform else 0):
            transform_rows(Matrix(logits + s * n_out, 1), net.loss, n_out, 1)
        copy_rows(Matrix(logits, 0), 1, samples * n_out, 0, Matrix(out, 0))
        return all_finite(x, samples * features)
    while first < samples:
        n = minimum(net.header.block_size, samples - first)
        # block by block, since the block is read next and then is in the cache
        if not all_finite(x + first * features, n * features):
            finite = False
        start_block(&b, net, memory, &single, x, first, n)
        z = forward_layers(&b)
        if transform:
            transform_rows(z, net.loss, n_out, b.padded)
        transpose(z.p, z.ld, n_out, n, NULL, out + first * n_out, n_out)
        first += net.header.block_size
    return finite


def forward(net not None, cnp.ndarray x not None, bint transform, cnp.ndarray params not None,
            cnp.ndarray work not None, cnp.ndarray out not None, /):
    """Compute predictions of a network; return whether x is finite."""
    cdef Net net_ = read_net(net)
    cdef Matrix x_ = matrix(x, -1, net_.layers[0].fan_in, False, "x")
    cdef Size samples = dim(x, 0)
    cdef Matrix out_ = matrix(out, samples, net_.layers[net_.n_layers - 1].fan_out, True, "out")
    cdef Memory memory
    cdef bint finite
    cdef uint64_t mode
    memory.params = reals(params, net_.header.n_params, False, "params")
    memory.work = memory.thread_work = reals(work, net_.header.work_size, True, "work")
    memory.grads = NULL
    with nogil:
        mode = flush_subnormals()
        finite = predict(&net_, x_.p, samples, transform, memory, out_.p)
        restore_subnormals(mode)
    return finite
