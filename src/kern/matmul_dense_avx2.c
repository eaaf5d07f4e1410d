/* matmul_dense_avx2.c - AVX2 kernels of F32, F16 and BF16 in f32 arithmetic.
 *
 * A row is one chain of fused multiply-adds, so a core needs 8 chains or more in flight: one token
 * takes four groups of rows at once. */
#include "kern/matmul_avx2.h"

/* Weights of half h of a group's rows for item 0 or 1 of a pair. */
TEMPLATE __m256 load_item(enum quant_type type, const uint8_t *p, int item, int h)
{
    switch (type) {
    case QUANT_F32:
        return _mm256_loadu_ps((const float *)(p + PACK_LINE * item + 32 * h));
    case QUANT_F16:
        return load_halves(p + PACK_LINE / 2 * item + 16 * h);
    default: { /* BF16: a dword holds both */
        __m256i both = load_half_line(p + 32 * h);
        both = item == 0 ? shift_left_32(both, 16)
                         : _mm256_and_si256(both, _mm256_set1_epi32((int32_t)0xFFFF0000));
        return _mm256_castsi256_ps(both);
    }
    }
}

/* f += x * *a. Beside several tokens in assembly, because gcc would load many items ahead and spill
 * the sums. */
TEMPLATE void add_item(__m256 f[HALVES], const __m256 x[HALVES], const float *a, const int n_tokens)
{
    if (n_tokens == 1) {
        f[0] = _mm256_fmadd_ps(x[0], _mm256_set1_ps(*a), f[0]);
        f[1] = _mm256_fmadd_ps(x[1], _mm256_set1_ps(*a), f[1]);
        return;
    }
    __m256 item;
    __asm__ volatile("vbroadcastss %3, %2\n\t"
                     "vfmadd231ps %2, %4, %0\n\t"
                     "vfmadd231ps %2, %5, %1"
                     : "+&x"(f[0]), "+&x"(f[1]), "=&x"(item)
                     : "m"(*a), "x"(x[0]), "x"(x[1]));
}

/* f += the products of two items: weights of a group, at w, and activations of all tokens, at a. */
TEMPLATE void add_pair(enum quant_type type, const uint8_t *w, const float *a, size_t stride,
                       __m256 (*f)[HALVES], const int n_tokens)
{
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256 x[HALVES] = {load_item(type, w, i, 0), load_item(type, w, i, 1)};
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            add_item(f[t], x, &a[(size_t)i * stride + (size_t)t], n_tokens);
        }
    }
}

TEMPLATE int pair_bytes(enum quant_type type)
{
    return type == QUANT_F32 ? 128 : 64;
}

TEMPLATE void dense_tile(const struct matmul_job *job, enum quant_type type, const int n_groups,
                         const int n_tokens)
{
    const uint8_t *w = job->quants;
    const float *a = job->tile.f;
    __m256 f[AVX2_TOKENS][HALVES];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t][0] = f[t][1] = _mm256_setzero_ps();
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        matmul_prefetch(job, w, pair_bytes(type) / PACK_LINE, 0, n_tokens);
        add_pair(type, w, a, job->tile.n, f, n_tokens);
        w += pair_bytes(type);
        a += 2 * (size_t)job->tile.n;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

/* MATMUL_WIDE groups, group_bytes apart, and one token. (As one function with dense_tile, clang 14
 * would store the sums at every product.) */
TEMPLATE void dense_wide(const struct matmul_job *job, enum quant_type type, const int n_groups,
                         const int n_tokens)
{
    const uint8_t *w = job->quants;
    const float *a = job->tile.f;
    __m256 f[MATMUL_WIDE][1][HALVES];
    assert(n_groups == MATMUL_WIDE && n_tokens == 1);
    UNROLL
    for (int g = 0; g < MATMUL_WIDE; g++) {
        f[g][0][0] = f[g][0][1] = _mm256_setzero_ps();
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        UNROLL
        for (int g = 0; g < MATMUL_WIDE; g++) {
            matmul_prefetch(job, w, pair_bytes(type) / PACK_LINE, g, n_tokens);
            add_pair(type, w + (size_t)g * job->group_bytes, a, 1, f[g], n_tokens);
        }
        w += pair_bytes(type);
        a += 2;
    }
    UNROLL
    for (int g = 0; g < MATMUL_WIDE; g++) {
        store_tokens(job, g, n_groups, f[g], n_tokens);
    }
}

#define DENSE_SLOT(NAME, TYPE)                                                                     \
    MATMUL_KERNEL(NAME, dense_wide, TYPE, 4, 1)                                                    \
    MATMUL_SLOT(6, NAME, dense_tile, TYPE, .wide = {NAME##_4x1})

DENSE_SLOT(f32, QUANT_F32)
DENSE_SLOT(f16, QUANT_F16)
DENSE_SLOT(bf16, QUANT_BF16)

void kern_fill_matmul_dense_avx2(struct kern_table *t)
{
    t->matmul[QUANT_F32] = matmul_f32;
    t->matmul[QUANT_F16] = matmul_f16;
    t->matmul[QUANT_BF16] = matmul_bf16;
}
