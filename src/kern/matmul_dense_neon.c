/* matmul_dense_neon.c - NEON kernels of F32, F16 and BF16 in f32 arithmetic.
 *
 * A row is one chain of fused multiply-adds, so a core needs many chains in flight: one token takes
 * four groups of rows at once. More than 4 tokens would have no registers left for the weights. */
#include "kern/matmul_neon.h"

enum { DENSE_TOKENS = 4 };

/* Weights of 4 rows for items k and k + 1. */
struct weights {
    float32x4_t even, odd;
};

TEMPLATE struct weights load_pair(enum quant_type type, const uint8_t *p, int r)
{
    struct weights w;
    if (type == QUANT_F32) {
        w.even = vreinterpretq_f32_u8(vld1q_u8(p + 16 * r));
        w.odd = vreinterpretq_f32_u8(vld1q_u8(p + PACK_LINE + 16 * r));
    } else if (type == QUANT_F16) {
        w.even = load_halves(p + 8 * r);
        w.odd = load_halves(p + PACK_LINE / 2 + 8 * r);
    } else { /* BF16: a dword holds both */
        uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8(p + 16 * r));
        w.even = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
        w.odd = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xFFFF0000)));
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
    float32x4_t f[MATMUL_WIDE][KERN_TILE][QUARTERS];
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            f[g][t][0] = f[g][t][1] = f[g][t][2] = f[g][t][3] = vdupq_n_f32(0.0f);
        }
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        UNROLL
        for (int g = 0; g < n_groups; g++) {
            matmul_prefetch(job, w, (int)pair_bytes / PACK_LINE, g, n_tokens);
            UNROLL
            for (int r = 0; r < QUARTERS; r++) {
                struct weights x = load_pair(type, w + (size_t)g * job->group_bytes, r);
                UNROLL
                for (int t = 0; t < n_tokens; t++) {
                    f[g][t][r] = vfmaq_n_f32(f[g][t][r], x.even, a[t]);
                    f[g][t][r] = vfmaq_n_f32(f[g][t][r], x.odd, a[stride + (size_t)t]);
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
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 1, 1)                                                    \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 1, 2)                                                    \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 1, 3)                                                    \
    MATMUL_KERNEL(NAME, dense_tile, TYPE, 1, 4)                                                    \
    static void matmul_##NAME(const struct pack_matrix *w, uint32_t group_begin,                   \
                              uint32_t group_end, const struct kern_act *a, float *y,              \
                              size_t y_stride)                                                     \
    {                                                                                              \
        static const struct matmul_kernels kernels = {                                             \
            .max_tokens = DENSE_TOKENS,                                                            \
            .one = {NAME##_1x1, NAME##_1x2, NAME##_1x3, NAME##_1x4},                               \
            .wide = {NAME##_4x1}};                                                                 \
        matmul_run(&kernels, w, group_begin, group_end, a, y, y_stride);                           \
    }

DENSE_SLOT(f32, QUANT_F32)
DENSE_SLOT(f16, QUANT_F16)
DENSE_SLOT(bf16, QUANT_BF16)

void kern_fill_matmul_dense_neon(struct kern_table *t)
{
    t->matmul[QUANT_F32] = matmul_f32;
    t->matmul[QUANT_F16] = matmul_f16;
    t->matmul[QUANT_BF16] = matmul_bf16;
}
