/* matmul_avx512.h - what the AVX-512 matmul kernels share: products, unpacking, storing.
 *
 * A vector is a line of the packed layout: 16 rows by 4 consecutive items. Every kernel is an
 * inline template over compile-time constants (the form of a type, the number of tokens), so one
 * readable source covers all types. */
#ifndef KERN_MATMUL_AVX512_H
#define KERN_MATMUL_AVX512_H

#include "kern/matmul.h"

#include <immintrin.h>

/* acc + sum over j of w[4r + j] (unsigned) * a[j] (signed) per row r, for 4 items of one token.
 * Written in assembly because gcc 12 would load the broadcast into a register of its own. */
TEMPLATE __m512i dot_bytes(__m512i acc, __m512i w, const void *a)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const matmul_word *)a));
    return acc;
}

/* acc + w.low * a[0] + w.high * a[1] per row, 16-bit numbers in pairs. */
TEMPLATE __m512i dot_words(__m512i acc, __m512i w, const int16_t *a)
{
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const matmul_word *)a));
    return acc;
}

/* Shifts of 16-bit and 32-bit lanes; n becomes the instruction's constant. */
TEMPLATE __m512i shift_right_16(__m512i x, int n)
{
    typedef uint16_t words __attribute__((vector_size(64)));
    return n >= 0 ? (__m512i)((words)x >> n) : (__m512i)((words)x << -n);
}

TEMPLATE __m512i shift_left_32(__m512i x, int n)
{
    typedef uint32_t dwords __attribute__((vector_size(64)));
    return (__m512i)((dwords)x << n);
}

TEMPLATE __m512i load_line(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

/* 16 f16 as f32. */
TEMPLATE __m512 load_halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* Values of IQ4 types + 128, once a 128-bit lane. */
TEMPLATE __m512i iq4_table(void)
{
    return _mm512_broadcast_i32x4(_mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char)129,
                                                (char)141, (char)153, (char)166, (char)181,
                                                (char)197, (char)217, (char)241));
}

/* Line i of the 8 of a unit of 32 items, as unsigned bytes. */
TEMPLATE __m512i unit_line(struct line_form form, const uint8_t *unit, int i)
{
    if (form.low_bits == 8 || form.bytes) {
        return load_line(unit + i * PACK_LINE);
    }
    int per_line = 8 / form.low_bits;
    __m512i low_mask = _mm512_set1_epi8((char)((1 << form.low_bits) - 1));
    __m512i low = load_line(unit + i / per_line * PACK_LINE);
    __m512i q = _mm512_and_si512(shift_right_16(low, form.low_bits * (i % per_line)), low_mask);
    if (form.high_bits > 0) {
        int high_per_line = 8 / form.high_bits;
        const uint8_t *plane = unit + form.low_bits * PACK_LINE;
        __m512i high = load_line(plane + i / high_per_line * PACK_LINE);
        int from = form.high_bits * (i % high_per_line);
        int mask = ((1 << form.high_bits) - 1) << form.low_bits;
        high = shift_right_16(high, from - form.low_bits);
        /* (high & mask) | q */
        q = _mm512_ternarylogic_epi32(high, _mm512_set1_epi8((char)mask), q, 0xEA);
    }
    return form.table ? _mm512_shuffle_epi8(iq4_table(), q) : q;
}

/* Stores the sums of group g of n_groups. */
TEMPLATE void store_tokens(const struct matmul_job *job, int g, int n_groups, const __m512 *f,
                           int n_tokens)
{
    __mmask16 rows = g == n_groups - 1 ? (__mmask16)((1u << job->n_rows) - 1) : 0xFFFF;
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        _mm512_mask_storeu_ps(job->y + (size_t)t * job->y_stride + g * PACK_ROWS, rows, f[t]);
    }
}

/* Defines a slot of kernels NAME_1xT for all T from FN(job, FORM, 1, T). Last comes what else the
 * type has. */
#define MATMUL_SLOT(NAME, FN, FORM, ...)                                                           \
    FOR_TOKENS(MATMUL_KERNEL, NAME, FN, FORM, 1)                                                   \
    static void matmul_##NAME(const struct pack_matrix *w, uint32_t group_begin,                   \
                              uint32_t group_end, const struct kern_act *a, float *y,              \
                              size_t y_stride)                                                     \
    {                                                                                              \
        static const struct matmul_kernels kernels = {                                             \
            .max_tokens = KERN_TILE, .one = {LIST_TOKENS(NAME##_1x)}, __VA_ARGS__};                \
        matmul_run(&kernels, w, group_begin, group_end, a, y, y_stride);                           \
    }

#endif
