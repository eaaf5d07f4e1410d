/* attend_f16.h - attention over one tile of halves, as the vector sets share it. Private to kern/.
 *
 * As in attend.h, scores and weighted sums are one little matrix product of rows times groups of 16
 * lanes, and a block of rows times a few groups stays in registers over all steps; but a step is
 * one fused multiply-add of floats, so each sum is a chain in the order that kern.h states.
 *
 * A set defines, and then includes this:
 *   VECTOR       a register of LANES floats, which + - * take
 *   GROUPS       at most so many groups of a block, if it has at most WIDE_ROWS rows, else one
 *   LATER        it takes struct attend_later
 *   BLOCKS(M)    M(rows, groups) for every block, of ATTEND_F16_ROWS
 *   vec_load, vec_store, vec_set (all lanes alike)
 *   vec_load_halves, vec_store_halves   from and to LANES halves
 *   vec_fma(a, b, c)    a * b + c, rounded once
 *   vec_max(a, b)       lane by lane, b where a is NaN
 *   vec_largest(a)      of all lanes
 *   vec_exp             fmath_expf
 *   vec_sum(x)          kern_sum_lanes of KERN_LANES / LANES registers */
#ifndef KERN_ATTEND_F16_H
#define KERN_ATTEND_F16_H

#include "kern/attend.h"

enum { GROUP_VECTORS = KERN_LANES / LANES };

/* M(rows, groups) for every number of rows. */
#define ATTEND_F16_ROWS(M, groups)                                                                 \
    M(1, groups) M(2, groups) M(3, groups) M(4, groups) M(5, groups) M(6, groups)

static void to_f16(uint16_t *dst, const float *src, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += LANES) {
        vec_store_halves(dst + i, vec_load(src + i));
    }
}

/* sums[r][g * 16 + i] = scale[r] * that; then += factors[r][n] * m[n][g][i] for n ascending */
struct product {
    uint32_t n_rows;   /* 1..ATTEND_ROWS */
    uint32_t n_groups; /* of 16 */
    uint32_t n_steps;
    const float *factors; /* (n_rows, factor_stride) */
    size_t factor_stride;
    const uint16_t *m; /* item 0 of group g of step n: m + n * step_stride + g * group_stride */
    size_t step_stride, group_stride;
    ptrdiff_t ahead; /* bytes from m to a matrix that comes next and is fetched; 0: none */
    struct attend_later *later; /* not NULL; goes on if ahead is not 0 */
    float *sums;                /* (n_rows, sum_stride) */
    size_t sum_stride;
    const float *scale; /* (n_rows); NULL: sums start at 0 and what they hold is not read */
};

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers. */
static inline __attribute__((always_inline)) void
multiply_block(const struct product *p, uint32_t first, uint32_t rows, uint32_t groups)
{
    VECTOR s[ATTEND_ROWS][GROUPS * GROUP_VECTORS], v[GROUPS * GROUP_VECTORS];
    float *sums = p->sums + first * KERN_LANES;
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        VECTOR scale = vec_set(p->scale ? p->scale[r] : 0.0f);
        UNROLL
        for (uint32_t i = 0; i < groups * GROUP_VECTORS; i++) {
            s[r][i] = scale;
            if (p->scale) {
                s[r][i] = vec_load(sums + r * p->sum_stride + i * LANES) * scale;
            }
        }
    }
    const uint16_t *m = p->m + first * group_stride;
    const float *factor = p->factors;
    struct attend_later later = *p->later;
    for (const float *end = factor + p->n_steps; factor < end; factor++, m += p->step_stride) {
        if (p->ahead != 0) {
            UNROLL
            for (uint32_t g = 0; g < groups; g++) {
                if (LATER) {
                    attend_ask(&later, later.step_bytes);
                } else {
                    __builtin_prefetch((const char *)(m + g * group_stride) + p->ahead, 0, 2);
                }
            }
        }
        UNROLL
        for (uint32_t i = 0; i < groups * GROUP_VECTORS; i++) {
            v[i] =
                vec_load_halves(m + i / GROUP_VECTORS * group_stride + i % GROUP_VECTORS * LANES);
        }
        UNROLL
        for (uint32_t r = 0; r < rows; r++) {
            VECTOR f = vec_set(factor[r * factor_stride]);
            UNROLL
            for (uint32_t i = 0; i < groups * GROUP_VECTORS; i++) {
                s[r][i] = vec_fma(f, v[i], s[r][i]);
            }
        }
    }
    if (LATER) {
        *p->later = later;
    }
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < groups * GROUP_VECTORS; i++) {
            vec_store(sums + r * p->sum_stride + i * LANES, s[r][i]);
        }
    }
}

typedef void multiply_block_fn(const struct product *p, uint32_t first);

#define MULTIPLY(rows, groups)                                                                     \
    static void multiply_##rows##x##groups(const struct product *p, uint32_t first)                \
    {                                                                                              \
        multiply_block(p, first, rows, groups);                                                    \
    }
#define ENTRY(rows, groups) [groups - 1][rows - 1] = multiply_##rows##x##groups,

BLOCKS(MULTIPLY)

static multiply_block_fn *const multiply_table[GROUPS][ATTEND_ROWS] = {BLOCKS(ENTRY)};

static void multiply(const struct product *p)
{
    uint32_t n_at_once = p->n_rows <= WIDE_ROWS ? GROUPS : 1;
    for (uint32_t first = 0; first < p->n_groups; first += n_at_once) {
        uint32_t left = p->n_groups - first;
        multiply_table[(left < n_at_once ? left : n_at_once) - 1][p->n_rows - 1](p, first);
    }
}

static void scores(struct attend_block *b, float p[ATTEND_ROWS][KERN_ATTN_TILE])
{
    size_t dim = b->a->dim_k;
    multiply(&(struct product){.n_rows = b->n_rows,
                               .n_groups = (b->max_keys + KERN_LANES - 1) / KERN_LANES,
                               .n_steps = b->a->dim_k,
                               .factors = (const float *)b->a->q + b->first * dim,
                               .factor_stride = dim,
                               .m = b->tile->k,
                               .step_stride = KERN_LANES,
                               .group_stride = KERN_LANES * dim,
                               .ahead = b->ahead,
                               .later = &b->later,
                               .sums = p[0],
                               .sum_stride = KERN_ATTN_TILE});
}

/* p (KERN_ATTN_TILE) enters as the scores of row r and leaves as their weights. */
static void weights(struct attend_block *b, uint32_t r, float *p)
{
    uint32_t n_keys = b->n_keys[r], n = attend_round_keys(n_keys);
    for (uint32_t i = n_keys; i < n; i++) {
        p[i] = -INFINITY; /* weighs nothing, or NaN where all keys do */
    }
    VECTOR max = vec_set(b->a->m[b->first + r]), lanes[GROUP_VECTORS];
    for (uint32_t i = 0; i < n; i += LANES) {
        max = vec_max(vec_load(p + i), max);
    }
    float mn = vec_largest(max) + 0.0f;
    UNROLL
    for (uint32_t j = 0; j < GROUP_VECTORS; j++) {
        lanes[j] = vec_set(0.0f);
    }
    for (uint32_t i = 0; i < n; i += KERN_LANES) {
        if (LATER) {
            attend_ask_in_weights(b);
        }
        UNROLL
        for (uint32_t j = 0; j < GROUP_VECTORS; j++) {
            VECTOR weight = vec_exp(vec_load(p + i + j * LANES) - vec_set(mn));
            lanes[j] = lanes[j] + weight; /* a weight is no -0: adding 0 is nothing */
            vec_store(p + i + j * LANES, weight);
        }
    }
    attend_update(b, r, mn, vec_sum(lanes));
}

/* o = o * scale + weights of keys [key_begin, key_end) times v, for n_rows rows from row r on; p
 * and scale are those of row r. */
static void values(struct attend_block *b, uint32_t r, uint32_t n_rows, uint32_t key_begin,
                   uint32_t key_end, const float *p, const float *scale)
{
    size_t dim = b->a->dim_v;
    multiply(&(struct product){.n_rows = n_rows,
                               .n_groups = b->a->dim_v / KERN_LANES,
                               .n_steps = key_end - key_begin,
                               .factors = p + key_begin,
                               .factor_stride = KERN_ATTN_TILE,
                               .m = (const uint16_t *)b->tile->v + key_begin * dim,
                               .step_stride = dim,
                               .group_stride = KERN_LANES,
                               .ahead = b->ahead,
                               .later = &b->later,
                               .sums = b->a->o + (b->first + r) * dim,
                               .sum_stride = dim,
                               .scale = scale});
}

/* Scores, weights, then the values of the keys that all rows see for all rows together, then those
 * of further keys row by row (the causal edge of a prompt), so that no row reads a value behind its
 * last key: 0 times what lies there might be NaN. */
static void run_block(struct attend_block *b)
{
    static const float one = 1.0f;
    _Alignas(64) float p[ATTEND_ROWS][KERN_ATTN_TILE];
    uint32_t common = KERN_ATTN_TILE;
    scores(b, p);
    for (uint32_t r = 0; r < b->n_rows; r++) {
        weights(b, r, p[r]);
        common = b->n_keys[r] < common ? b->n_keys[r] : common;
    }
    values(b, 0, b->n_rows, 0, common, p[0], b->c);
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (b->n_keys[r] > common) {
            values(b, r, 1, common, b->n_keys[r], p[r], &one);
        }
    }
}

static void attend(const struct kern_attn *a, const struct kern_kv_tile *tile,
                   const uint32_t *n_keys)
{
    struct attend_block b;
    b.a = a;
    b.tile = tile;
    attend_begin_ahead(&b);
    for (b.first = 0; b.first<a->n_rows; b.first += b.n_rows> 0 ? b.n_rows : 1) {
        attend_find_rows(&b, n_keys);
        if (b.n_rows > 0) {
            run_block(&b);
            b.ahead = 0;
        }
    }
}

#endif
