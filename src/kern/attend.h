/* attend.h - attention over one tile of keys, as the vector sets share it: what is computed when;
 * a set brings the two functions that touch vectors.
 *
 * Scores and weighted sums are the same little matrix product: sums of rows (tokens x heads) times
 * groups of 16 floats, where step n adds factor[row][n] * m[n]. For scores a group is 16 keys and n
 * runs over the head's dimensions; for sums a group is 16 dimensions and n runs over the keys. A
 * block of rows times a few groups stays in registers over all steps, so an f16 load is converted
 * once for all rows of the block. Lanes never meet, so every sum has the order kern.h prescribes. */
#ifndef KERN_ATTEND_H
#define KERN_ATTEND_H

#include "kern/kern_internal.h"

enum { ATTEND_ROWS = 6 }; /* of a block; 6 x 4 sums of 16 floats leave 8 of 32 registers */

/* sums[r][g * 16 + i] = scale[r] * that, then += factors[r][n] * m[n][g][i] for n ascending */
struct attend_product {
    uint32_t n_rows;   /* 1..ATTEND_ROWS */
    uint32_t n_groups; /* of 16 */
    uint32_t n_steps;
    const float *factors; /* (n_rows, factor_stride) */
    size_t factor_stride;
    const uint16_t
        *m; /* f16; item i of group g of step n: m[n * step_stride + g * group_stride + i] */
    size_t step_stride, group_stride;
    ptrdiff_t ahead; /* items from m to a matrix that comes next and is fetched; 0: none */
    float *sums;     /* (n_rows, sum_stride) */
    size_t sum_stride;
    const float *scale; /* (n_rows); NULL: sums start at 0 and what they hold is not read */
};
typedef void attend_multiply_fn(const struct attend_product *p);

/* p (KERN_ATTN_TILE) enters as the scores of keys 0..n_keys-1 and leaves as their weights; m and l
 * as kern.h says. Items of p behind n_keys may take any value. Returns c. */
typedef float attend_weights_fn(float *p, uint32_t n_keys, float *m, float *l);

/* Rows [first, first + n_rows) of a call. */
struct attend_block {
    const struct kern_attn *a;
    const uint32_t *n_keys; /* of row `first` on */
    uint32_t first, n_rows;
    uint32_t min_keys, max_keys;
    _Alignas(64) float p[ATTEND_ROWS][KERN_ATTN_TILE];
    float c[ATTEND_ROWS];
};

/* The first block of a call reads the tile first and fetches the next one. */
static inline ptrdiff_t attend_ahead(const struct attend_block *b)
{
    return b->first == 0 ? b->a->ahead : 0;
}

static inline void attend_scores(struct attend_block *b, const uint16_t *k,
                                 attend_multiply_fn *multiply)
{
    size_t dim = b->a->dim_k;
    multiply(&(struct attend_product){.n_rows = b->n_rows,
                                      .n_groups = (b->max_keys + 15) / 16,
                                      .n_steps = b->a->dim_k,
                                      .factors = b->a->q + b->first * dim,
                                      .factor_stride = dim,
                                      .m = k,
                                      .step_stride = 16,
                                      .group_stride = dim * 16,
                                      .ahead = attend_ahead(b),
                                      .sums = b->p[0],
                                      .sum_stride = KERN_ATTN_TILE,
                                      .scale = NULL});
}

/* o = o * scale + weights of keys [key_begin, key_end) times v, for n_rows rows from row r on. */
static inline void attend_values(struct attend_block *b, const uint16_t *v, uint32_t r,
                                 uint32_t n_rows, uint32_t key_begin, uint32_t key_end,
                                 attend_multiply_fn *multiply)
{
    size_t dim = b->a->dim_v;
    multiply(&(struct attend_product){.n_rows = n_rows,
                                      .n_groups = b->a->dim_v / 16,
                                      .n_steps = key_end - key_begin,
                                      .factors = b->p[r] + key_begin,
                                      .factor_stride = KERN_ATTN_TILE,
                                      .m = v + key_begin * dim,
                                      .step_stride = dim,
                                      .group_stride = 16,
                                      .ahead = attend_ahead(b),
                                      .sums = b->a->o + (b->first + r) * dim,
                                      .sum_stride = dim,
                                      .scale = b->c + r});
}

/* A block: scores, weights, then the values of the keys that all rows see for all rows together,
 * then those of further keys row by row (the causal edge of a prompt), so that no row reads a value
 * behind its last key. */
static inline void attend_run_block(struct attend_block *b, const uint16_t *k, const uint16_t *v,
                                    attend_multiply_fn *multiply, attend_weights_fn *weights)
{
    attend_scores(b, k, multiply);
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (b->n_keys[r] > 0) {
            uint32_t row = b->first + r;
            b->c[r] = weights(b->p[r], b->n_keys[r], b->a->m + row, b->a->l + row);
        }
    }
    if (b->min_keys > 0) {
        attend_values(b, v, 0, b->n_rows, 0, b->min_keys, multiply);
    }
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (b->n_keys[r] > b->min_keys) {
            b->c[r] = b->min_keys > 0 ? 1.0f : b->c[r]; /* o is scaled once */
            attend_values(b, v, r, 1, b->min_keys, b->n_keys[r], multiply);
        }
    }
}

/* The kern_attend_fn of a set. */
static inline void attend_tile(const struct kern_attn *a, const uint16_t *k, const uint16_t *v,
                               const uint32_t *n_keys, attend_multiply_fn *multiply,
                               attend_weights_fn *weights)
{
    struct attend_block b;
    b.a = a;
    for (b.first = 0; b.first < a->n_rows; b.first += b.n_rows) {
        uint32_t left = a->n_rows - b.first;
        b.n_rows = left < ATTEND_ROWS ? left : ATTEND_ROWS;
        b.n_keys = n_keys + b.first;
        b.min_keys = KERN_ATTN_TILE;
        b.max_keys = 0;
        for (uint32_t r = 0; r < b.n_rows; r++) {
            b.min_keys = b.n_keys[r] < b.min_keys ? b.n_keys[r] : b.min_keys;
            b.max_keys = b.n_keys[r] > b.max_keys ? b.n_keys[r] : b.max_keys;
        }
        if (b.max_keys > 0) {
            attend_run_block(&b, k, v, multiply, weights);
        }
    }
}

#endif
