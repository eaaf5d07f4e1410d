/* attend.h - attention over one tile of keys, as the vector sets share it: what is computed when;
 * a set brings the two functions that touch vectors.
 *
 * Scores and weighted sums are the same little matrix product: sums of rows (tokens x heads) times
 * groups of 16 floats, where step n adds factor[row][n] * m[n]. For scores a group is 16 keys and n
 * runs over the head's dimensions; for sums a group is 16 dimensions and n runs over the keys. A
 * block of rows times a few groups stays in registers over all steps, so a load is converted to
 * floats once for all rows of the block. Lanes never meet, so every sum has the order kern.h
 * prescribes. */
#ifndef KERN_ATTEND_H
#define KERN_ATTEND_H

#include "kern/kern_internal.h"

enum { ATTEND_ROWS = 6 }; /* of a block; 6 x 4 sums of 16 floats leave 8 of 32 registers */

/* sums[r][c = g * 16 + i] = scale[r] * that, then += factors[r][n] * (float)m[n][g][i] for n
 * ascending, then *= end_scale[c] */
struct attend_product {
    uint32_t n_rows;   /* 1..ATTEND_ROWS */
    uint32_t n_groups; /* of 16 */
    uint32_t n_steps;
    const float *factors; /* (n_rows, factor_stride) */
    size_t factor_stride;
    enum kern_kv type; /* of m's items */
    const char *m;     /* item 0 of group g of step n: m + n * step_stride + g * group_stride */
    size_t step_stride, group_stride; /* bytes */
    ptrdiff_t ahead; /* bytes from m to a matrix that comes next and is fetched; 0: none */
    float *sums;     /* (n_rows, sum_stride) */
    size_t sum_stride;
    const float *scale;     /* (n_rows); NULL: sums start at 0 and what they hold is not read */
    const float *end_scale; /* (n_groups * 16); NULL: none */
};
typedef void attend_multiply_fn(const struct attend_product *p);

/* p (KERN_ATTN_TILE) enters as the scores of keys 0..n_keys-1 and leaves as their weights, times vd
 * (KERN_ATTN_TILE) unless that is NULL; m and l as kern.h says. Items of p behind n_keys may take
 * any value. Returns c. */
typedef float attend_weights_fn(float *p, uint32_t n_keys, float *m, float *l, const float *vd);

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

static inline void attend_scores(struct attend_block *b, const struct kern_kv_tile *tile,
                                 attend_multiply_fn *multiply)
{
    size_t dim = b->a->dim_k, item_bytes = kern_kv_item_bytes(b->a->type);
    multiply(&(struct attend_product){.n_rows = b->n_rows,
                                      .n_groups = (b->max_keys + 15) / 16,
                                      .n_steps = b->a->dim_k,
                                      .factors = b->a->q + b->first * dim,
                                      .factor_stride = dim,
                                      .type = b->a->type,
                                      .m = tile->k,
                                      .step_stride = 16 * item_bytes,
                                      .group_stride = 16 * dim * item_bytes,
                                      .ahead = attend_ahead(b),
                                      .sums = b->p[0],
                                      .sum_stride = KERN_ATTN_TILE,
                                      .scale = NULL,
                                      .end_scale = tile->kd});
}

/* o = o * scale + weights of keys [key_begin, key_end) times v, for n_rows rows from row r on. */
static inline void attend_values(struct attend_block *b, const struct kern_kv_tile *tile,
                                 uint32_t r, uint32_t n_rows, uint32_t key_begin, uint32_t key_end,
                                 attend_multiply_fn *multiply)
{
    size_t dim = b->a->dim_v, item_bytes = kern_kv_item_bytes(b->a->type);
    multiply(&(struct attend_product){.n_rows = n_rows,
                                      .n_groups = b->a->dim_v / 16,
                                      .n_steps = key_end - key_begin,
                                      .factors = b->p[r] + key_begin,
                                      .factor_stride = KERN_ATTN_TILE,
                                      .type = b->a->type,
                                      .m = (const char *)tile->v + key_begin * dim * item_bytes,
                                      .step_stride = dim * item_bytes,
                                      .group_stride = 16 * item_bytes,
                                      .ahead = attend_ahead(b),
                                      .sums = b->a->o + (b->first + r) * dim,
                                      .sum_stride = dim,
                                      .scale = b->c + r,
                                      .end_scale = NULL});
}

/* A block: scores, weights, then the values of the keys that all rows see for all rows together,
 * then those of further keys row by row (the causal edge of a prompt), so that no row reads a value
 * behind its last key. */
static inline void attend_run_block(struct attend_block *b, const struct kern_kv_tile *tile,
                                    attend_multiply_fn *multiply, attend_weights_fn *weights)
{
    attend_scores(b, tile, multiply);
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (b->n_keys[r] > 0) {
            uint32_t row = b->first + r;
            b->c[r] = weights(b->p[r], b->n_keys[r], b->a->m + row, b->a->l + row, tile->vd);
        }
    }
    if (b->min_keys > 0) {
        attend_values(b, tile, 0, b->n_rows, 0, b->min_keys, multiply);
    }
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (b->n_keys[r] > b->min_keys) {
            b->c[r] = b->min_keys > 0 ? 1.0f : b->c[r]; /* o is scaled once */
            attend_values(b, tile, r, 1, b->min_keys, b->n_keys[r], multiply);
        }
    }
}

/* The scales of a tile. */
static inline void attend_fetch(const char *scales)
{
    for (size_t i = 0; i < KERN_ATTN_TILE * sizeof(float); i += 64) {
        __builtin_prefetch(scales + i, 0, 2);
    }
}

/* The kern_attend_fn of a set. */
static inline void attend_tile(const struct kern_attn *a, const struct kern_kv_tile *tile,
                               const uint32_t *n_keys, attend_multiply_fn *multiply,
                               attend_weights_fn *weights)
{
    struct attend_block b;
    b.a = a;
    if (tile->kd != NULL && a->ahead != 0) {
        attend_fetch((const char *)tile->kd + a->ahead);
        attend_fetch((const char *)tile->vd + a->ahead);
    }
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
            attend_run_block(&b, tile, multiply, weights);
        }
    }
}

#endif
