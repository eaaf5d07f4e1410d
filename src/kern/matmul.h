/* matmul.h - what the matmul kernels of every set share. Private to kern/. */
#ifndef KERN_MATMUL_H
#define KERN_MATMUL_H

#include "kern/kern_internal.h"
#include "quant/pack_layout.h"

/* One tile of activations: n tokens side by side, pointers to the tile's own part (kern.h). */
struct matmul_tile {
    uint32_t n, first;
    const float *f;
    const int8_t *q;
    const float *d, *s;
    const int32_t *n_sum;     /* Q32: n */
    const int16_t *n16, *n32; /* Q256 */
};

static inline struct matmul_tile matmul_tile_of(const struct kern_act *a, uint32_t tile)
{
    size_t first = kern_tile_begin(tile), cols = a->cols;
    struct matmul_tile t = {.n = kern_tile_width(a, tile), .first = kern_tile_begin(tile)};
    switch (a->form) {
    case PACK_ACT_F32:
        t.f = a->f + first * cols;
        break;
    case PACK_ACT_Q32:
        t.q = a->q + first * cols;
        t.d = a->d + first * (cols / 32);
        t.s = a->s + first * (cols / 32);
        t.n_sum = a->n + first * (cols / 32);
        break;
    default:
        t.q = a->q + first * cols;
        t.d = a->d + first * (cols / 256);
        t.n16 = a->n16 + first * (cols / 16);
        t.n32 = a->n32 + first * (cols / 32);
        break;
    }
    return t;
}

#endif
