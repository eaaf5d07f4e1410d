/* store_act.h - quantising activations four blocks at a time, as the vector sets share it: which
 * four, and where their results lie; a set brings the function that quantises four.
 *
 * The four are neighbouring tokens of a tile (their quants lie side by side there) or, in a tile of
 * one token, neighbouring blocks of it. What is known once a block (maximum, scale, sum) then fills
 * a register of four, and one division serves all four. Missing ones are read from zeros. */
#ifndef KERN_STORE_ACT_H
#define KERN_STORE_ACT_H

#include "kern/kern_internal.h"

#include <string.h>

/* n tokens from t on of block b, or (width 1) n blocks from b on; 1 <= n <= 4. */
struct store_place {
    const float *x[4];   /* the items of the four */
    size_t first, width; /* the tile's first token, and its tokens */
    size_t t, b;
    uint32_t n;
};
typedef void store_four_fn(const struct kern_act *a, const struct store_place *p);

/* Index of the first of the four in an array with one item a block (d, s, n). */
static inline size_t store_scale_index(const struct store_place *p, size_t n_blocks)
{
    return p->first * n_blocks + p->b * p->width + p->t;
}

/* First byte of the first one's quants; a row of 8 k is 8 * width bytes, and from block to block of
 * one token it is 32 bytes (Q32) or q_step. */
static inline int8_t *store_quants_q32(const struct kern_act *a, const struct store_place *p)
{
    return a->q + p->first * a->cols + (p->b * 4 * p->width + p->t) * 8;
}

static inline int8_t *store_quants_q256(const struct kern_act *a, const struct store_place *p)
{
    return a->q + p->b * a->q_step + p->first * 256 + p->t * 8;
}

/* First pair of the first one in n16 (8 pairs a super-block) or n32 (4); each has n_pairs. */
static inline int16_t *store_pairs_at(const struct kern_act *a, const struct store_place *p,
                                      int16_t *pairs, size_t n_pairs)
{
    return pairs + 2 * (p->first * (a->cols / 256) + p->b * p->width) * n_pairs + 2 * p->t;
}

/* Runs store_four over all blocks of `block_items` items of the tiles. */
static inline void store_act_tiles(const struct kern_act *a, const float *x, size_t x_stride,
                                   uint32_t tile_begin, uint32_t tile_end, uint32_t block_items,
                                   store_four_fn *store_four)
{
    static const float zeros[256];
    uint32_t n_blocks = a->cols / block_items;
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        uint32_t width = kern_tile_width(a, tile);
        uint32_t n_at_once = width == 1 ? 4 : 1; /* blocks */
        size_t stride = width == 1 ? block_items : x_stride;
        for (uint32_t t = 0; t < width; t += 4) {
            const float *row = x + (kern_tile_begin(tile) + t) * x_stride;
            for (uint32_t b = 0; b < n_blocks; b += n_at_once) {
                uint32_t left = width == 1 ? n_blocks - b : width - t;
                struct store_place p = {.first = kern_tile_begin(tile),
                                        .width = width,
                                        .t = t,
                                        .b = b,
                                        .n = left < 4 ? left : 4};
                for (uint32_t i = 0; i < 4; i++) {
                    p.x[i] = i < p.n ? row + (size_t)b * block_items + i * stride : zeros;
                }
                store_four(a, &p);
            }
        }
    }
}

#endif
