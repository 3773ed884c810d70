/* The tables of a plan (fastnn/backends/plan.py) as structs, and the scratch memory of products.
 *
 * The members are in the order of the constants in fastnn/backends/codes.py, from which setup.py
 * generates codes.h.
 */
#ifndef FASTNN_PLAN_H
#define FASTNN_PLAN_H

#include "packed.h"
#include "sparse.h"

typedef struct {
    int64_t kind, fan_in, fan_out, weights, biases, activation, wide, net_input, output;
} Layer;

typedef struct {
    int64_t n_params, block_size, groups, work_size, work_input, work_targets, work_sample_weight;
    int64_t work_delta, work_delta_other, split_units, work_packed, n_targets;
} Header;

#define CHECK_OFFSET(type, member, number)                                                        \
    _Static_assert(offsetof(type, member) == sizeof(int64_t) * (number), #member)
_Static_assert(sizeof(Layer) == sizeof(int64_t) * LAYER_COLUMNS, "columns of Plan.layers");
_Static_assert(sizeof(Header) == sizeof(int64_t) * HEADER_SIZE, "entries of Plan.header");
CHECK_OFFSET(Layer, kind, KIND);
CHECK_OFFSET(Layer, fan_in, FAN_IN);
CHECK_OFFSET(Layer, fan_out, FAN_OUT);
CHECK_OFFSET(Layer, weights, WEIGHTS);
CHECK_OFFSET(Layer, biases, BIASES);
CHECK_OFFSET(Layer, activation, ACTIVATION);
CHECK_OFFSET(Layer, wide, WIDE);
CHECK_OFFSET(Layer, net_input, NET_INPUT);
CHECK_OFFSET(Layer, output, OUTPUT);
CHECK_OFFSET(Header, n_params, N_PARAMS);
CHECK_OFFSET(Header, block_size, BLOCK_SIZE);
CHECK_OFFSET(Header, groups, GROUPS);
CHECK_OFFSET(Header, work_size, WORK_SIZE);
CHECK_OFFSET(Header, work_input, WORK_INPUT);
CHECK_OFFSET(Header, work_targets, WORK_TARGETS);
CHECK_OFFSET(Header, work_sample_weight, WORK_SAMPLE_WEIGHT);
CHECK_OFFSET(Header, work_delta, WORK_DELTA);
CHECK_OFFSET(Header, work_delta_other, WORK_DELTA_OTHER);
CHECK_OFFSET(Header, split_units, SPLIT_UNITS);
CHECK_OFFSET(Header, work_packed, WORK_PACKED);
CHECK_OFFSET(Header, n_targets, N_TARGETS);
#undef CHECK_OFFSET

/* Rows and columns of a gradient that a fused update processes at a time, so that they stay in the
 * cache. */
#define UPDATE_ROWS 48
#define UPDATE_COLUMNS 384

/* Scratch memory of the products of wide layers, behind the plan's matrices: offsets, in reals. */
typedef struct {
    Size edge_rows; /* copy of the last rows of a packed product's first factor */
    Size tile;      /* tile of a gradient, for the fused update */
    Size masks;     /* non-zero masks of UPDATE_ROWS inputs */
    Size sums;      /* sums of sparse_product: SPARSE_UNITS for all samples */
    Size shared[3]; /* packed panels, or values and masks; in the first thread's memory */
    Size size;
    Size widest; /* 0: the network has no wide layer */
} ProductScratch;

/* Scratch memory of a network whose widest wide layer has `widest` inputs or outputs; 0: none. */
NOINLINE ProductScratch product_scratch(Size block, Size widest)
{
    ProductScratch scratch = {.widest = widest};
    if (!PACKED_PRODUCTS || widest == 0)
        return scratch;
    const Size columns = round_up(widest, MASK_BITS); /* a multiple of panels and of masks */
    scratch.tile = EDGE_SIZE;
    scratch.masks = scratch.tile + UPDATE_ROWS * UPDATE_COLUMNS;
    scratch.sums = scratch.masks + UPDATE_ROWS * (block / MASK_BITS) * (Size)(8 / sizeof(real));
    scratch.size = scratch.sums + SPARSE_UNITS * block;
    for (int k = 0; k < 3; k++, scratch.size += columns * block)
        scratch.shared[k] = scratch.size;
    return scratch;
}

#endif
