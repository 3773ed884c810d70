# Training steps.


cdef struct Chunk:
    # Consecutive training steps.
    double *learning_rates
    double *losses  # objective of each step's batch before the update
    Size steps
    Size first_step
    Size first_count
    Size batch_size


cdef Update make_update(Net *net, Rule *rule, real *moments) noexcept nogil:
    """Return an update with the fields that are the same in all steps."""
    cdef Size n_params = net.header.n_params, n_moments = moment_rows(rule)
    return Update(
        rule=rule[0], moments=moments, n_params=n_params, n_moments=n_moments,
        second=n_params if n_moments == 2 else 0,
        # clipped gradients already include the derivative of the penalty
        l2=0 if clips(rule) else net.l2,
        rate=0, shrink=1, keep=0, penalty=0, scale=0,
    )


cdef void prepare_update(Net *net, Update *u, double learning_rate, Size count, Batch *batch,
                         const real *params) noexcept nogil:
    """Set the fields that depend on the step, for update number ``count``, from 1."""
    u.penalty, u.scale = net_penalty(net, params), batch.scale
    u.rate = step_size(&u.rule, learning_rate, count)
    u.shrink = 1 - learning_rate * u.rule.decay
    u.keep = u.rule.constants[AVERAGE_DECAY] if count > 1 else 0


cdef void update_layers(Net *net, Data *data, Batch *batch, Update *u, Team *team,
                        Memory *memory) noexcept nogil:
    """Update a thread's share of all parameters that have had no fused update."""
    cdef bint clipped = clips(&u.rule), fused = False, sparse = data.csr.indices != NULL
    cdef Size k, groups = batch.groups
    cdef double factor = 1
    cdef Layer *layer
    if clipped:
        factor = clip_gradient(net, &u.rule, groups, team, memory.grads, memory.params)
        groups = 1  # clip_gradient has summed them
    for k in range(net.n_layers):
        fused |= not clipped and fuses_update(net, u, k, sparse)
    if net.l2 == 0 and u.rule.decay == 0 and u.rule.stride == 0 and not fused:
        # the update of weights and biases is the same: one range
        update_share(u, 1, 0, u.n_params, groups, factor, team, memory.grads, memory.params)
        return
    for k in range(net.n_layers):
        layer = net.layers + k
        if layer.kind == DROPOUT:
            continue
        if k == 0 and u.rule.features:
            update_front(net, u, groups, team, memory.grads, memory.params)
        elif clipped or not fuses_update(net, u, k, sparse):
            update_share(u, 2 * k, layer.weights, layer.fan_in * layer.fan_out, groups, factor,
                         team, memory.grads, memory.params)
        update_share(u, 2 * k + 1, layer.biases, layer.fan_out, groups, factor, team, memory.grads,
                     memory.params)


cdef Size train_steps(Net *net, Data *data, Rule *rule, Chunk *chunk, Team *team, Memory *memory,
                      real *moments) noexcept nogil:
    """Do a thread's part of a chunk of steps; return how many were done.

    Each thread processes groups of blocks, then sums the gradients and updates the parameters of
    its share. All threads compute the same objective, so that all stop at the same step.
    """
    cdef double[MAX_GROUPS] own_losses
    cdef double *losses = &own_losses[0]
    cdef Size batches = (data.samples + chunk.batch_size - 1) // chunk.batch_size
    cdef Size i, step, start
    cdef double objective
    cdef Batch batch
    cdef Update update = make_update(net, rule, moments)
    cdef Update *fused = NULL if clips(rule) else &update
    if team.n_threads > 1:
        losses = <double *> (team.sync + SYNC_LOSSES)
        if not start_barrier(<int> team.n_threads, team.sync):
            return 0
    for i in range(chunk.steps):
        step = chunk.first_step + i
        team.iteration = i
        if data.shuffled and (step % batches == 0 or i == 0):
            if team.thread == 0:
                shuffle_order(data.seed, step // batches, data.samples, data.order)
            barrier(team)
        start = step % batches * chunk.batch_size
        batch = make_batch(net, data, start, minimum(chunk.batch_size, data.samples - start), step)
        # the penalty must be computed before the barrier, after which others update parameters
        prepare_update(net, &update, chunk.learning_rates[i], chunk.first_count + i + 1, &batch,
                       memory.params)
        batch_gradient(net, data, &batch, fused, team, memory[0], losses)
        barrier(team)
        objective = update.penalty + sum_group_losses(losses, batch.groups) * batch.scale
        if team.thread == 0:
            chunk.losses[i] = objective
        if not isfinite(objective):
            return i
        update_layers(net, data, &batch, &update, team, memory)
        barrier(team)
    return chunk.steps


cdef int read_sparse(data, Data *out) except -1:
    """Read the row pointers of sparse data."""
    cdef cnp.ndarray indptr = data.indptr
    out.csr.indices, out.csr.indptr, out.csr.part_ends = NULL, NULL, NULL
    if cnp.PyArray_SIZE(indptr):
        check(indptr, cnp.NPY_INT64, 0, False, "indptr")
        out.csr.indptr = <int64_t *> data_of(indptr)
    return 0


cdef int check_sparse(data, Data *out) except -1:
    """Check and read the stored values and their columns."""
    cdef cnp.ndarray indptr = data.indptr, indices = data.indices, x = data.x
    check(indptr, cnp.NPY_INT64, out.samples + 1, False, "indptr")
    cdef Size stored = out.csr.indptr[out.samples]
    check(indices, cnp.NPY_INT32, stored, False, "indices")
    out.csr.indices = <int32_t *> data_of(indices)
    out.csr.values = reals(x, stored, False, "x")
    return 0


cdef int check_order(cnp.ndarray order, Data *data, Chunk *chunk) except -1:
    """Check and read the order. A given order may have only some of the rows of the data."""
    check(order, cnp.NPY_INT64, data.samples if data.shuffled else 1, data.shuffled, "order")
    data.order = <int64_t *> data_of(order)
    if data.shuffled:
        return 0
    cdef Size n = cnp.PyArray_SIZE(order), batches = (n + chunk.batch_size - 1) // chunk.batch_size
    cdef Size first = chunk.first_step % batches * chunk.batch_size, i
    cdef Size last = first + minimum(chunk.steps * chunk.batch_size, n)  # end of the samples used
    cdef bint outside = False
    for i in range(first, minimum(last, n)):
        outside |= not 0 <= data.order[i] < data.samples
    for i in range(last - n):
        outside |= not 0 <= data.order[i] < data.samples
    if outside:
        raise ValueError("order has rows beyond the %s of the data" % data.samples)
    data.samples = n
    return 0


def train(net not None, data not None, rule not None, chunk not None, team not None,
          cnp.ndarray params not None, cnp.ndarray moments not None, memory not None,
          cnp.ndarray losses not None, /):
    """Do a chunk of training steps.

    Called by ``n_threads`` threads in parallel. ``sync`` has ``SYNC_SIZE`` integers, zero at the
    start; a single thread does not use it.
    """
    cdef Net net_ = read_net(net)
    cdef Rule rule_ = read_rule(rule, 2 * net_.n_layers + 1,
                                net_.layers[0].fan_in * net_.layers[0].fan_out)
    cdef Data data_
    cdef Chunk chunk_
    cdef Team team_ = Team(team.thread, team.n_threads, NULL, 0, 0)
    cdef Memory memory_
    cdef int sampling = data.sampling
    cdef bint gathered = sampling != CONSECUTIVE
    cdef cnp.ndarray rates = chunk.learning_rates, sync = team.sync
    cdef cnp.ndarray order = memory.order, work = memory.work
    data_.seed, data_.order, data_.shuffled = chunk.seed, NULL, False
    read_sparse(data, &data_)
    read_data(&net_, data.x, data.targets, data.sample_weight, gathered, &data_)
    cdef Size n_params = net_.header.n_params, work_size = net_.header.work_size
    cdef Size work_row = dim(work, cnp.PyArray_NDIM(work) - 1)
    if data_.csr.indptr != NULL:
        check_sparse(data, &data_)
        # an index for each value of a block and for each column
        work_size += (net_.header.block_size + 1) * data_.features
    if work_row < work_size:
        raise ValueError("work has rows of %s elements; %s are needed" % (work_row, work_size))
    chunk_.first_step, chunk_.first_count = chunk.first_step, chunk.first_count
    chunk_.batch_size, chunk_.steps = data.batch_size, cnp.PyArray_SIZE(rates)
    if (chunk_.batch_size < 1 or chunk_.first_step < 0
            or not 0 <= team_.thread < team_.n_threads):
        raise ValueError("batch_size, first_step or thread is out of range")
    check(rates, cnp.NPY_DOUBLE, 0, False, "learning_rates")
    check(losses, cnp.NPY_DOUBLE, chunk_.steps, True, "losses")
    chunk_.learning_rates, chunk_.losses = <double *> data_of(rates), <double *> data_of(losses)
    if team_.n_threads > 1:
        check(sync, cnp.NPY_INT64, SYNC_SIZE, True, "sync")
        team_.sync = <int64_t *> data_of(sync)
    if gathered:
        data_.shuffled = sampling == SHUFFLED
        check_order(order, &data_, &chunk_)
    memory_.params = reals(params, n_params, True, "params")
    memory_.grads = reals(
        memory.grads,
        n_params * group_count(&net_, minimum(chunk_.batch_size, data_.samples)), True, "grads")
    memory_.work = reals(work, work_row * (team_.thread + 1), True, "work")
    memory_.thread_work = memory_.work + team_.thread * work_row
    cdef Size rows = moment_rows(&rule_) + (rule_.constants[AVERAGE_DECAY] != 0)
    cdef real *moments_ = reals(moments, n_params * rows, True, "moments")
    cdef Size done
    cdef uint64_t mode
    with nogil:
        mode = flush_subnormals()
        done = train_steps(&net_, &data_, &rule_, &chunk_, &team_, &memory_, moments_)
        restore_subnormals(mode)
    return done
