/* store_act_amx.c - Q256_ROWS: the tiles of Q256, and their quants once more by tokens. */
#include "kern/kern_internal.h"

#include <string.h>

static kern_store_act_fn *store_q256; /* of avx512 */

/* One token's part of super-block b, from the tile that starts at token `first`. */
static void store_row(const struct kern_act *a, size_t first, size_t width, size_t t, size_t b)
{
    size_t n_super = first * (a->cols / 256) + b * width; /* before it, of n_blocks tiles */
    const int8_t *q = a->q + b * a->q_step + first * 256 + t * 8;
    const int16_t *n16 = a->n16 + n_super * 16 + t * 2, *n32 = a->n32 + n_super * 8 + t * 2;
    struct kern_act_row *row = &a->rows[b * (a->q_step / 256) + first + t];
    for (size_t i = 0; i < 32; i++) {
        memcpy(row->q + i * 8, q + i * 8 * width, 8);
    }
    row->d = a->d[n_super + t];
    memset(row->unused, 0, sizeof row->unused);
    for (size_t i = 0; i < 4; i++) {
        memcpy(row->n32 + i * 2, n32 + i * 2 * width, 4);
    }
    for (size_t i = 0; i < 8; i++) {
        memcpy(row->n16 + i * 2, n16 + i * 2 * width, 4);
    }
}

static void store_act_q256_rows(const struct kern_act *a, const float *x, size_t x_stride,
                                uint32_t tile_begin, uint32_t tile_end)
{
    store_q256(a, x, x_stride, tile_begin, tile_end);
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        size_t first = kern_tile_begin(tile), width = kern_tile_width(a, tile);
        for (size_t b = 0; b < a->cols / 256; b++) {
            for (size_t t = 0; t < width; t++) {
                store_row(a, first, width, t, b);
            }
        }
    }
}

void kern_fill_store_act_amx(struct kern_table *t)
{
    struct kern_table below = {0};
    kern_fill_store_act_avx512(&below);
    store_q256 = below.store_act[PACK_ACT_Q256];
    t->store_act[PACK_ACT_Q256_ROWS] = store_act_q256_rows;
}
