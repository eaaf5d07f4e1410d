/* matmul_dense_avx2.c - AVX2 kernels of F32, F16 and BF16 in f32 arithmetic.
 *
 * A row is one chain of fused multiply-adds, so a core needs 8 chains or more in flight: one token
 * takes four groups of rows at once. */
#include "kern/matmul_avx2.h"

/* Weights of 8 rows for items k and k + 1. */
struct weights {
    __m256 even, odd;
};

TEMPLATE struct weights load_pair(enum quant_type type, const uint8_t *p, int h)
{
    struct weights w;
    if (type == QUANT_F32) {
        w.even = _mm256_loadu_ps((const float *)(p + 32 * h));
        w.odd = _mm256_loadu_ps((const float *)(p + PACK_LINE + 32 * h));
    } else if (type == QUANT_F16) {
        w.even = load_halves(p + 16 * h);
        w.odd = load_halves(p + PACK_LINE / 2 + 16 * h);
    } else { /* BF16: a dword holds both */
        __m256i both = load_half_line(p + 32 * h);
        w.even = _mm256_castsi256_ps(shift_left_32(both, 16));
        w.odd = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32((int32_t)0xFFFF0000)));
    }
    return w;
}

/* Rows of n_groups groups, which are group_bytes apart. */
TEMPLATE void dense_tile(const struct matmul_job *job, enum quant_type type, const int n_groups,
                         const int n_tokens)
{
    const size_t pair_bytes = type == QUANT_F32 ? 128 : 64, stride = job->tile.n;
    const uint8_t *w = job->quants;
    const float *a = job->tile.f;
    __m256 f[MATMUL_WIDE][AVX2_TOKENS][HALVES];
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            f[g][t][0] = f[g][t][1] = _mm256_setzero_ps();
        }
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        UNROLL
        for (int g = 0; g < n_groups; g++) {
            matmul_prefetch(job, w, (int)pair_bytes / PACK_LINE, g, n_tokens);
            UNROLL
            for (int h = 0; h < HALVES; h++) {
                struct weights x = load_pair(type, w + (size_t)g * job->group_bytes, h);
                UNROLL
                for (int t = 0; t < n_tokens; t++) {
                    __m256 even = _mm256_set1_ps(a[t]), odd = _mm256_set1_ps(a[stride + (size_t)t]);
                    f[g][t][h] = _mm256_fmadd_ps(x.even, even, f[g][t][h]);
                    f[g][t][h] = _mm256_fmadd_ps(x.odd, odd, f[g][t][h]);
                }
            }
        }
        w += pair_bytes;
        a += 2 * stride;
    }
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        store_tokens(job, g, n_groups, f[g], n_tokens);
    }
}

#define DENSE_SLOT(NAME, TYPE)                                                                     \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 4, 1)                                                    \
    MATMUL_SLOT(NAME, dense_tile, TYPE, .wide = {NAME##_4x1})

DENSE_SLOT(f32, QUANT_F32)
DENSE_SLOT(f16, QUANT_F16)
DENSE_SLOT(bf16, QUANT_BF16)

void kern_fill_matmul_dense_avx2(struct kern_table *t)
{
    t->matmul[QUANT_F32] = matmul_f32;
    t->matmul[QUANT_F16] = matmul_f16;
    t->matmul[QUANT_BF16] = matmul_bf16;
}
