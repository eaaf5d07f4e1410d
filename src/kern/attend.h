/* attend.h - attention over one tile of integers (Q16, Q8_0), as the vector sets share it: what is
 * computed when; a set brings the three functions that touch vectors. Halves: attend_f16.h.
 *
 * Scores and weighted sums are the same little matrix product: sums of rows (tokens x heads) times
 * groups of 16 lanes, where step n adds the product of two pairs of integers, factor[row][n] *
 * m[n]. For scores a group is 16 keys and a pair two of the head's dimensions; for sums a group is
 * 16 dimensions and a pair two keys. A block of rows times a few groups stays in registers over all
 * steps, so a load is widened once for all rows of the block. Integer sums are exact, so only what
 * becomes of them at the end has an order, which kern.h states. */
#ifndef KERN_ATTEND_H
#define KERN_ATTEND_H

#include "kern/kern_internal.h"

enum { ATTEND_ROWS = 6 }; /* of a block; 6 x 4 sums of 16 lanes leave 8 of 32 registers */

/* The next tile's keys and values, prefetched while this one is computed, in the products and in
 * the weights, so that memory always has something to do: line by line from both halves in turn,
 * which comes faster than one after the other (ahead.h). For sets that take it; others prefetch, in
 * the products alone, what lies there where this tile is read. */
struct attend_later {
    uintptr_t at; /* the next request */
    size_t apart; /* bytes from it to the one behind it, modulo 2^64: to the other half and back */
    size_t step_bytes; /* by which a step's request for a group goes on in its half */
};

/* Requests a line, and goes on by `bytes` in its half. */
static inline void attend_ask(struct attend_later *later, size_t bytes)
{
    __builtin_prefetch((const void *)later->at, 0, 2);
    later->at += later->apart;
    later->apart = bytes - later->apart;
}

/* sums[r][g * 16 + i] = sum over n of factors[r][n][0] * m[n][g][i][0] + the same of [1] */
struct attend_product {
    uint32_t n_rows;        /* 1..ATTEND_ROWS */
    uint32_t n_groups;      /* of 16 */
    uint32_t n_steps;       /* of 2 */
    const int16_t *factors; /* (n_rows, factor_stride) */
    size_t factor_stride;
    enum kern_kv type; /* of m's items */
    const char *m;     /* pair 0 of group g of step n: m + n * step_stride + g * group_stride */
    size_t step_stride, group_stride; /* bytes */
    ptrdiff_t ahead; /* bytes from m to a matrix that comes next and is fetched; 0: none */
    struct attend_later *later; /* not NULL; goes on if ahead is not 0 */
    int32_t *sums;              /* (n_rows, KERN_ATTN_MAX_DIM) */
};
typedef void attend_multiply_fn(const struct attend_product *p);

/* Rows [first, first + n_rows) of a call; each sees at least one key. */
struct attend_block {
    const struct kern_attn *a;
    const struct kern_kv_tile *tile;
    const uint32_t *n_keys; /* of row `first` on */
    uint32_t first, n_rows, max_keys;
    ptrdiff_t ahead; /* the first block of a call reads the tile first and fetches the next one */
    struct attend_later later;
    _Alignas(64) int32_t sums[ATTEND_ROWS][KERN_ATTN_MAX_DIM]; /* of the latest product */
    _Alignas(64) int16_t pq[ATTEND_ROWS][KERN_ATTN_TILE];
    float pd[ATTEND_ROWS], c[ATTEND_ROWS];
};

/* What kern.h says of every row r between the two products: from the first one's sums to c[r],
 * pd[r] and all of pq[r], which is 0 behind the row's last key, and the row's m and l. */
typedef void attend_weights_fn(struct attend_block *b);

/* o (dim_v) = fmaf((float)sums, pd, o * c) */
typedef void attend_add_fn(float *o, const int32_t *sums, uint32_t dim_v, float pd, float c);

/* The row's m and l become those with this tile, whose maximum and m give mn, and whose weights sum
 * up to `sum`. */
static inline void attend_update(struct attend_block *b, uint32_t r, float mn, float sum)
{
    float *m = b->a->m + b->first + r, *l = b->a->l + b->first + r;
    b->c[r] = fmath_expf(*m - mn);
    *l = fmaf(*l, b->c[r], sum);
    *m = mn;
}

/* To whole groups. */
static inline uint32_t attend_round_keys(uint32_t n_keys)
{
    return (n_keys + 15) / 16 * 16;
}

/* pd[r] of weights whose largest has these bits; returns what kern_block_scale does in *inverse. */
static inline float attend_scale_weights(struct attend_block *b, uint32_t r, uint32_t max_bits)
{
    float inverse;
    b->pd[r] = kern_block_scale(max_bits, (float)kern_attn_weight_max(b->a->type), &inverse);
    return inverse;
}

/* Weights take as long whatever the dimensions: for 16 keys of all rows they request ATTEND_ASKS
 * times ATTEND_ITEMS items; the rest is the products'. */
enum { ATTEND_ASKS = 16, ATTEND_ITEMS = 32 };

static inline void attend_begin_ahead(struct attend_block *b)
{
    const struct kern_attn *a = b->a;
    size_t item_bytes = kern_kv_item_bytes(a->type);
    size_t step_read = 16 * kern_kv_side_by_side(a->type) * item_bytes; /* of a group */
    size_t in_weights = KERN_ATTN_TILE / 16 * ATTEND_ASKS * ATTEND_ITEMS;
    size_t in_all = KERN_ATTN_TILE * (size_t)(a->dim_k + a->dim_v);
    b->ahead = a->ahead;
    b->later.at = (uintptr_t)b->tile->k + (uintptr_t)a->ahead;
    b->later.apart = in_all / 2 * item_bytes;
    b->later.step_bytes = step_read - step_read * in_weights / in_all;
}

/* For the weights of 16 keys of a row. */
static inline void attend_ask_in_weights(struct attend_block *b)
{
    if (b->ahead != 0) {
        struct attend_later later = b->later;
        for (uint32_t i = 0; i < ATTEND_ASKS / b->n_rows; i++) {
            attend_ask(&later, ATTEND_ITEMS * kern_kv_item_bytes(b->a->type));
        }
        b->later = later;
    }
}

static inline void attend_scores(struct attend_block *b, attend_multiply_fn *multiply)
{
    size_t dim = b->a->dim_k, item_bytes = kern_kv_item_bytes(b->a->type);
    multiply(&(struct attend_product){.n_rows = b->n_rows,
                                      .n_groups = (b->max_keys + 15) / 16,
                                      .n_steps = b->a->dim_k / 2,
                                      .factors = (const int16_t *)b->a->q + b->first * dim,
                                      .factor_stride = dim,
                                      .type = b->a->type,
                                      .m = b->tile->k,
                                      .step_stride = 32 * item_bytes,
                                      .group_stride = 16 * dim * item_bytes,
                                      .ahead = b->ahead,
                                      .later = &b->later,
                                      .sums = b->sums[0]});
}

static inline void attend_values(struct attend_block *b, attend_multiply_fn *multiply)
{
    size_t dim = b->a->dim_v, item_bytes = kern_kv_item_bytes(b->a->type);
    multiply(&(struct attend_product){.n_rows = b->n_rows,
                                      .n_groups = b->a->dim_v / 16,
                                      .n_steps = (b->max_keys + 1) / 2,
                                      .factors = b->pq[0],
                                      .factor_stride = KERN_ATTN_TILE,
                                      .type = b->a->type,
                                      .m = b->tile->v,
                                      .step_stride = 2 * dim * item_bytes,
                                      .group_stride = 32 * item_bytes,
                                      .ahead = b->ahead,
                                      .later = &b->later,
                                      .sums = b->sums[0]});
}

/* The scales of a tile. */
static inline void attend_fetch(const char *scales)
{
    for (size_t i = 0; i < KERN_ATTN_TILE * sizeof(float); i += 64) {
        __builtin_prefetch(scales + i, 0, 2);
    }
}

/* Makes a block of the rows from b->first on, up to one that sees no key. */
static inline void attend_find_rows(struct attend_block *b, const uint32_t *n_keys)
{
    b->n_keys = n_keys + b->first;
    b->n_rows = b->max_keys = 0;
    while (b->n_rows < ATTEND_ROWS && b->first + b->n_rows < b->a->n_rows &&
           b->n_keys[b->n_rows] > 0) {
        uint32_t n = b->n_keys[b->n_rows++];
        b->max_keys = n > b->max_keys ? n : b->max_keys;
    }
}

/* What a set brings. */
struct attend_set {
    attend_multiply_fn *multiply;
    attend_weights_fn *weights;
    attend_add_fn *add;
};

static inline void attend_run_block(struct attend_block *b, const struct attend_set *set)
{
    const struct kern_attn *a = b->a;
    attend_scores(b, set->multiply);
    set->weights(b);
    attend_values(b, set->multiply);
    for (uint32_t r = 0; r < b->n_rows; r++) {
        set->add(a->o + (size_t)(b->first + r) * a->dim_v, b->sums[r], a->dim_v, b->pd[r], b->c[r]);
    }
}

/* The kern_attend_fn of a set. */
static inline void attend_tile(const struct kern_attn *a, const struct kern_kv_tile *tile,
                               const uint32_t *n_keys, const struct attend_set *set)
{
    struct attend_block b;
    b.a = a;
    b.tile = tile;
    attend_begin_ahead(&b);
    if (a->ahead != 0) {
        attend_fetch((const char *)tile->kd + a->ahead);
        attend_fetch((const char *)tile->vd + a->ahead);
    }
    for (b.first = 0; b.first<a->n_rows; b.first += b.n_rows> 0 ? b.n_rows : 1) {
        attend_find_rows(&b, n_keys);
        if (b.n_rows > 0) {
            attend_run_block(&b, set);
            b.ahead = 0;
        }
    }
}

/* A pair of factors, as the 32 bits that are broadcast. */
static inline int32_t attend_pair(const int16_t *factors)
{
    int32_t pair;
    memcpy(&pair, factors, sizeof pair);
    return pair;
}

#endif
