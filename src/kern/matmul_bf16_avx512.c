/* matmul_bf16_avx512.c - numerics bf16 with the instruction vdpbf16ps, which not every CPU of the
 * set has: kern.c asks for AVX512_BF16 apart.
 *
 * A line of BF16 weights holds a pair of items of 16 rows, a dword of activations the same pair of
 * one token. A row is one chain of products, as in matmul_dense_avx512.c. */
#include "kern/matmul_avx512.h"

/* acc + w.odd * a[1] + w.even * a[0] per row, in this order. In assembly as dot_bytes() is; so the
 * file needs no option that would let the compiler use the instructions elsewhere in it. */
TEMPLATE __m512 dot_bf16(__m512 acc, __m512i w, const uint16_t *a)
{
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const matmul_word *)a));
    return acc;
}

/* Rows of n_groups groups, which are group_bytes apart. */
TEMPLATE void bf16_tile(const struct matmul_job *job, const int pair_bytes, const int n_groups,
                        const int n_tokens)
{
    const uint8_t *w = job->quants;
    const uint16_t *a = job->tile.b;
    __m512 f[MATMUL_WIDE][KERN_TILE];
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            f[g][t] = _mm512_setzero_ps();
        }
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        UNROLL
        for (int g = 0; g < n_groups; g++) {
            const uint8_t *line = w + g * job->group_bytes;
            matmul_prefetch(job, w, 1, g, n_tokens);
            __m512i pairs = load_line(line);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                f[g][t] = dot_bf16(f[g][t], pairs, a + 2 * t);
            }
        }
        w += pair_bytes;
        a += 2 * n_tokens;
    }
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        store_tokens(job, g, n_groups, f[g], n_tokens);
    }
}

MATMUL_KERNEL(bf16, bf16_tile, PACK_LINE, 4, 1)
MATMUL_KERNEL(bf16, bf16_tile, PACK_LINE, 4, 2)
MATMUL_KERNEL(bf16, bf16_tile, PACK_LINE, 4, 3)
MATMUL_KERNEL(bf16, bf16_tile, PACK_LINE, 4, 4)
MATMUL_KERNEL(bf16, bf16_tile, PACK_LINE, 4, 5)
MATMUL_KERNEL(bf16, bf16_tile, PACK_LINE, 4, 6)
MATMUL_SLOT(bf16, bf16_tile, PACK_LINE,
            .wide = {bf16_4x1, bf16_4x2, bf16_4x3, bf16_4x4, bf16_4x5, bf16_4x6})

void kern_fill_matmul_bf16_avx512(struct kern_table *t)
{
    t->act[QUANT_BF16] = PACK_ACT_BF16;
    t->matmul[QUANT_BF16] = matmul_bf16;
}
