# Update rules, the L2 penalty, gradient clipping, and partial gradient sums.

cdef extern from "updates.h" nogil:
    void update_range(const real *grads, double l2, double shrink, int rule,
                      const double *constants, double rate, Size n, real *params, real *moment,
                      real *second) noexcept
    double split_gradient(const real *w, real s, Size n, real *grads) noexcept
    void scale_to(const real *x, real s, Size n, real *out) noexcept
    void prefetch_range(const real *x, Size n) noexcept
    void add_to(const real *x, Size n, real *out) noexcept
    void clip_entries(real *grads, double limit, Size n) noexcept
    void scale_range(real *x, double factor, Size n) noexcept
    void average_range(const real *params, double keep, Size n, real *out) noexcept
    void add_scaled(const real *x, double factor, Size n, real *out) noexcept
    double sum_of_squares(const real *x, Size n) noexcept
    double sum_range(const real *x, const int64_t *order, Size first, Size n) noexcept

cdef enum:
    PARAM_GRAIN = 64  # threads get shares of the parameters in multiples of this
    UPDATE_BLOCK = 2048  # parameters updated at a time: the summed gradient is still in the cache


cdef double step_size(Rule *rule, double learning_rate, Size count) noexcept nogil:
    """Return the learning rate, for Adam with the bias correction of the moments."""
    cdef double *constants = rule.constants
    if rule.code == ADAM:
        return (learning_rate * sqrt(1 - pow(constants[1], <double> count))
                / (1 - pow(constants[0], <double> count)))
    return learning_rate


cdef Size moment_rows(Rule *rule) noexcept nogil:
    """Return the number of moments of a rule, without the moving average of the parameters."""
    if rule.code == SGD:
        return 0 if rule.constants[0] == 0 else 1
    return 2 if rule.code == ADAM else 1


cdef Rule read_rule(rule, Size n_parts, Size n_weights) except *:
    """Check and read a rule, with constants of ``n_parts`` parts or of one.

    ``n_weights`` is the number of weights of the first layer, for ``front``.
    """
    cdef Rule out
    cdef cnp.ndarray constants = rule.constants, front = rule.front
    cdef Size parts = dim(constants, 0)
    check(constants, cnp.NPY_DOUBLE, RULE_CONSTANTS * (1 if parts == 1 else n_parts), False,
          "rule.constants")
    out.stride, out.features, out.front = 0 if parts == 1 else RULE_CONSTANTS, dim(front, 0), NULL
    if out.features:
        out.front = reals(front, n_weights + 3 * out.features, True, "rule.front")
        check_shape(front, out.features, n_weights // out.features + 3, "rule.front")
    out.code, out.decay, out.constants = rule.code, rule.decay, <double *> data_of(constants)
    return out


cdef inline bint clips(Rule *rule) noexcept nogil:
    """Return whether gradients are clipped."""
    return rule.constants[CLIP_NORM] != 0 or rule.constants[CLIP_VALUE] != 0


cdef inline void update_part(Update *update, Size part, bint weights, real *grads, Size n,
                             real *params, real *moment, real *second) noexcept nogil:
    """Update n parameters of a part; ``weights`` says if L2 and weight decay apply."""
    cdef double *constants = update.rule.constants + part * update.rule.stride
    update_range(grads, update.l2 if weights else 0, update.shrink if weights else 1,
                 update.rule.code, constants, update.rate * constants[RATE_FACTOR], n, params,
                 moment, second)


cdef void update_elements(Update *update, Size part, real *grads, Size start, Size n,
                      real *params) noexcept nogil:
    """Update n parameters from ``start`` on, with their moving average.

    ``part`` is even for weights, odd for biases; ``grads`` points to the gradient at ``start``.
    """
    cdef real *moments = update.moments + start
    update_part(update, part, part % 2 == 0, grads, n, params + start, moments,
                moments + update.second)
    if update.rule.constants[AVERAGE_DECAY] != 0:
        average_range(params + start, update.keep, n,
                      moments + update.n_moments * update.n_params)


cdef void sum_groups(Size groups, Size n_params, Size first, Size n, real *grads) noexcept nogil:
    """Add the groups' gradients to the first row, in order."""
    cdef Size group
    for group in range(1, groups):
        add_to(grads + group * n_params + first, n, grads + first)


cdef void update_share(Update *update, Size part, Size first, Size n, Size groups,
                       double factor, Team *team, real *grads, real *params) noexcept nogil:
    """Sum the groups' gradients and update, for a thread's share of a range of parameters."""
    cdef Size start = first + share_start(n, PARAM_GRAIN, team.thread, team.n_threads)
    cdef Size stop = first + share_start(n, PARAM_GRAIN, team.thread + 1, team.n_threads)
    while start < stop:
        n = minimum(stop - start, UPDATE_BLOCK)
        if team.n_threads > 1:
            prefetch_range(params + start, n)
        sum_groups(groups, update.n_params, start, n, grads)
        if factor != 1:
            scale_range(grads + start, factor, n)
        update_elements(update, part, grads + start, start, n, params)
        start += n


cdef void update_front(Net *net, Update *update, Size groups, Team *team, real *grads,
                       real *params) noexcept nogil:
    """Update a thread's rows of the first layer and the trainable factors of their features."""
    cdef Size units = net.layers[0].fan_out, features = update.rule.features, i, offset
    cdef real *moment
    cdef real *w
    cdef real *s
    cdef real ds
    for i in range(share_start(features, 1, team.thread, team.n_threads),
                   share_start(features, 1, team.thread + 1, team.n_threads)):
        offset = i * units
        w, moment = update.rule.front + i * (units + 3), update.moments + offset
        s = w + units
        sum_groups(groups, update.n_params, offset, units, grads)
        ds = <real> split_gradient(w, s[0], units, grads + offset)
        update_part(update, 0, True, grads + offset, units, w, moment, moment + update.second)
        update_part(update, 2 * net.n_layers, False, &ds, 1, s, s + 1, s + 2)
        scale_to(w, s[0], units, params + offset)


cdef void clip_share(Net *net, bint weights, Size first, Size n, Size groups, double limit,
                     Team *team, real *grads, real *params) noexcept nogil:
    """Compute the objective's gradient and clip its entries, for a thread's share of a range."""
    cdef Size start = first + share_start(n, PARAM_GRAIN, team.thread, team.n_threads)
    cdef Size stop = first + share_start(n, PARAM_GRAIN, team.thread + 1, team.n_threads)
    if start >= stop:
        return
    sum_groups(groups, net.header.n_params, start, stop - start, grads)
    if weights and net.l2 != 0:
        add_scaled(params + start, net.l2, stop - start, grads + start)
    if limit != 0:
        clip_entries(grads + start, limit, stop - start)


cdef double clip_gradient(Net *net, Rule *rule, Size groups, Team *team, real *grads,
                          real *params) noexcept nogil:
    """Write the gradient of the objective to the first row and clip its entries.

    Returns the factor that clips its norm. Every thread computes its share of the gradient, but
    sums the squares of all elements, so that the bits do not depend on the number of threads.
    """
    cdef double norm = 0
    cdef double clip_value = rule.constants[CLIP_VALUE], clip_norm = rule.constants[CLIP_NORM]
    cdef Size k
    cdef Layer *layer
    for k in range(net.n_layers):
        layer = net.layers + k
        if layer.kind == DENSE:
            clip_share(net, True, layer.weights, layer.fan_in * layer.fan_out, groups,
                       clip_value, team, grads, params)
            clip_share(net, False, layer.biases, layer.fan_out, groups, clip_value, team, grads,
                       params)
    barrier(team)
    if clip_norm != 0:
        norm = sqrt(sum_of_squares(grads, net.header.n_params))
    # no thread may scale its share while others compute the norm
    barrier(team)
    return clip_norm / norm if norm > clip_norm else 1


cdef double net_penalty(Net *net, const real *params) noexcept nogil:
    """See :func:`penalty`."""
    cdef double total = 0
    cdef Size k
    if net.l2 == 0:
        return 0
    for k in range(net.n_layers):
        if net.layers[k].kind == DENSE:
            total += sum_of_squares(params + net.layers[k].weights,
                                    net.layers[k].fan_in * net.layers[k].fan_out)
    return 0.5 * net.l2 * total


def penalty(cnp.ndarray layers not None, double l2, cnp.ndarray params not None, /):
    """Return ``l2 / 2`` times the sum of the squared weights, without the biases."""
    check(layers, cnp.NPY_INT64, 0, False, "layers")
    check_shape(layers, -1, LAYER_COLUMNS, "layers")
    cdef Net net
    net.layers, net.n_layers, net.l2 = <Layer *> data_of(layers), dim(layers, 0), l2
    cdef Size k, needed = 0
    for k in range(net.n_layers):
        if net.layers[k].kind == DENSE:
            needed = net.layers[k].biases
    return net_penalty(&net, reals(params, needed, False, "params"))


def update(cnp.ndarray grads not None, double l2, rule not None, double learning_rate, Size count,
           cnp.ndarray params not None, cnp.ndarray moments not None, /):
    """Do one step of an update rule, with ``g = grads + l2 params``."""
    cdef Rule rule_ = read_rule(rule, 1, 0)
    cdef Size n = cnp.PyArray_SIZE(params), rows = moment_rows(&rule_)
    cdef real *g = reals(grads, n, False, "grads")
    cdef real *p = reals(params, n, True, "params")
    cdef real *m = reals(moments, rows * n, True, "moments")
    cdef double rate = step_size(&rule_, learning_rate, count)
    cdef double shrink = 1 - learning_rate * rule_.decay
    cdef uint64_t mode
    with nogil:
        mode = flush_subnormals()
        update_range(g, l2, shrink, rule_.code, rule_.constants,
                     rate * rule_.constants[RATE_FACTOR], n, p, m, m + (n if rows == 2 else 0))
        restore_subnormals(mode)
