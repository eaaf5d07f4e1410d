/* matmul_dense_avx512.c - AVX-512 kernels of F32, F16 and BF16 in f32 arithmetic.
 *
 * A row is one chain of fused multiply-adds, so a core needs 8 chains or more in flight: with few
 * tokens a kernel takes several groups of rows at once. */
#include "kern/matmul_avx512.h"

/* Weights of 16 rows for items k and k + 1. */
struct weights {
    __m512 even, odd;
};

TEMPLATE struct weights load_pair(enum quant_type type, const uint8_t *p)
{
    struct weights w;
    if (type == QUANT_F32) {
        w.even = _mm512_loadu_ps(p);
        w.odd = _mm512_loadu_ps(p + PACK_LINE);
    } else if (type == QUANT_F16) {
        w.even = load_halves(p);
        w.odd = load_halves(p + PACK_LINE / 2);
    } else { /* BF16: a dword holds both */
        __m512i both = load_line(p);
        w.even = _mm512_castsi512_ps(shift_left_32(both, 16));
        w.odd = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int32_t)0xFFFF0000)));
    }
    return w;
}

/* Rows of n_groups groups, which are group_bytes apart. */
TEMPLATE void dense_tile(const struct matmul_job *job, enum quant_type type, const int n_groups,
                         const int n_tokens)
{
    const size_t pair_bytes = type == QUANT_F32 ? 128 : 64;
    const uint8_t *w = job->quants;
    const float *a = job->tile.f;
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
            matmul_prefetch(job, w, (int)pair_bytes / PACK_LINE, g, n_tokens);
            struct weights x = load_pair(type, w + g * job->group_bytes);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                f[g][t] = _mm512_fmadd_ps(x.even, _mm512_set1_ps(a[t]), f[g][t]);
            }
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                f[g][t] = _mm512_fmadd_ps(x.odd, _mm512_set1_ps(a[n_tokens + t]), f[g][t]);
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

#define DENSE_SLOT(NAME, TYPE)                                                                     \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 4, 1)                                                    \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 4, 2)                                                    \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 4, 3)                                                    \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 4, 4)                                                    \
    MATMUL_SLOT(NAME, dense_tile, TYPE, .wide = {NAME##_4x1, NAME##_4x2, NAME##_4x3, NAME##_4x4})

DENSE_SLOT(f32, QUANT_F32)
DENSE_SLOT(f16, QUANT_F16)
DENSE_SLOT(bf16, QUANT_BF16)

void kern_fill_matmul_dense_avx512(struct kern_table *t)
{
    t->matmul[QUANT_F32] = matmul_f32;
    t->matmul[QUANT_F16] = matmul_f16;
    t->matmul[QUANT_BF16] = matmul_bf16;
}
