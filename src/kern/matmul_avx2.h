/* matmul_avx2.h - what the AVX2 matmul kernels share: unpacking, products, storing.
 *
 * A vector is half a line of the packed layout: 8 rows by 4 consecutive items, so a group is two
 * halves. Kernels are inline templates over compile-time constants, at most 4 tokens at a time:
 * 4 tokens x 2 halves of sums fill half of the registers.
 *
 * vpmaddubsw multiplies unsigned by signed bytes and adds neighbours to 16 bits, with saturation,
 * which must never happen: with |a| <= 127, a pair of quants up to v is at most 2 * 127 * v, and
 * lines_before_widen says how many lines may be added up in 16 bits. Signed quants (Q8_0, IQ4) go
 * in as |w| <= 128 against a with w's sign: a pair is at most 2 * 127 * 128 = 32512, one line. */
#ifndef KERN_MATMUL_AVX2_H
#define KERN_MATMUL_AVX2_H

#include "kern/matmul.h"

#include <immintrin.h>

enum { AVX2_TOKENS = 4, HALVES = 2, HALF_LINE = 32 };

/* Four items of one token in every lane. */
TEMPLATE __m256i broadcast_4(const void *a)
{
    return _mm256_set1_epi32(*(const matmul_word *)a);
}

/* Shift of 16-bit lanes, to the left when n < 0; n becomes the instruction's constant. */
TEMPLATE __m256i shift_right_16(__m256i x, int n)
{
    typedef uint16_t words __attribute__((vector_size(32)));
    return n >= 0 ? (__m256i)((words)x >> n) : (__m256i)((words)x << -n);
}

TEMPLATE __m256i shift_left_32(__m256i x, int n)
{
    typedef uint32_t dwords __attribute__((vector_size(32)));
    return (__m256i)((dwords)x << n);
}

TEMPLATE __m256i load_half_line(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* 8 f16 as f32. */
TEMPLATE __m256 load_halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

/* Whether unit_half_line gives signed bytes, zero taken off. */
TEMPLATE bool is_signed(struct line_form form)
{
    return form.table || form.low_bits == 8;
}

TEMPLATE int lines_before_widen(struct line_form form)
{
    switch (form.low_bits + form.high_bits) {
    case 5: /* 4 * 2 * 127 * 31 = 31496 */
        return 4;
    case 6: /* 2 * 2 * 127 * 63 = 32004 */
        return 2;
    default: /* 8 * 2 * 127 * 15 = 30480 */
        return 8;
    }
}

/* Half h of line i of the 8 of a unit of 32 items. */
TEMPLATE __m256i unit_half_line(struct line_form form, const uint8_t *unit, int i, int h)
{
    unit += h * HALF_LINE;
    if (form.bytes) {
        return load_half_line(unit + i * PACK_LINE);
    }
    if (form.low_bits == 8) { /* stored with 128 added */
        return _mm256_xor_si256(load_half_line(unit + i * PACK_LINE), _mm256_set1_epi8(-128));
    }
    int per_line = 8 / form.low_bits;
    __m256i low_mask = _mm256_set1_epi8((char)((1 << form.low_bits) - 1));
    __m256i low = load_half_line(unit + i / per_line * PACK_LINE);
    __m256i q = _mm256_and_si256(shift_right_16(low, form.low_bits * (i % per_line)), low_mask);
    if (form.high_bits > 0) {
        int high_per_line = 8 / form.high_bits;
        const uint8_t *plane = unit + form.low_bits * PACK_LINE;
        __m256i high = load_half_line(plane + i / high_per_line * PACK_LINE);
        int from = form.high_bits * (i % high_per_line);
        __m256i mask = _mm256_set1_epi8((char)(((1 << form.high_bits) - 1) << form.low_bits));
        high = _mm256_and_si256(shift_right_16(high, from - form.low_bits), mask);
        q = _mm256_or_si256(q, high);
    }
    if (form.table) {
        __m256i values = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
        q = _mm256_shuffle_epi8(values, q);
    }
    return q;
}

/* Lines [begin, end) of a unit. */
struct line_range {
    int begin, end;
};

/* isum += scale * (sum of a range of lines of the unit times the activations), for 8 rows a half.
 * shapes  q (4, stride, 8) activations of the unit, from the first token on
 *         scale (2) 16-bit numbers, the same in both halves of a dword
 *         isum (n_tokens, 2) int32 */
TEMPLATE void add_lines(struct line_form form, const uint8_t *unit, const struct line_range range,
                        const int8_t *q, size_t stride, const __m256i scale[HALVES],
                        __m256i isum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    const int step = is_signed(form) ? 1 : lines_before_widen(form);
    __m256i sum[AVX2_TOKENS][HALVES]; /* 16-bit */
    q += (size_t)range.begin * stride * 4;
    UNROLL
    for (int i = range.begin; i < range.end; i++) {
        const bool first = (i - range.begin) % step == 0;
        const bool last = (i - range.begin) % step == step - 1 || i == range.end - 1;
        __m256i w[HALVES], magnitude[HALVES];
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            w[h] = unit_half_line(form, unit, i, h);
            magnitude[h] = is_signed(form) ? _mm256_abs_epi8(w[h]) : w[h];
        }
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            __m256i a = broadcast_4(q + t * 8 + i % 2 * 4);
            UNROLL
            for (int h = 0; h < HALVES; h++) {
                __m256i x = is_signed(form) ? _mm256_sign_epi8(a, w[h]) : a;
                __m256i product = _mm256_maddubs_epi16(magnitude[h], x);
                sum[t][h] = first ? product : _mm256_add_epi16(sum[t][h], product);
                /* or gcc adds the products of all lines as a tree, and spills them */
                __asm__("" : "+x"(sum[t][h]));
                if (last) {
                    __m256i wide = _mm256_madd_epi16(sum[t][h], scale[h]);
                    isum[t][h] = _mm256_add_epi32(isum[t][h], wide);
                }
            }
        }
        q += i % 2 ? stride * 8 : 0;
        /* or gcc works out the addresses of all lines first, and spills them */
        __asm__("" : "+r"(q));
    }
}

/* Stores the sums of group g of n_groups. */
TEMPLATE void store_tokens(const struct matmul_job *job, int g, int n_groups,
                           __m256 f[AVX2_TOKENS][HALVES], int n_tokens)
{
    uint32_t n_rows = g == n_groups - 1 ? job->n_rows : PACK_ROWS;
    for (int t = 0; t < n_tokens; t++) {
        float *y = job->y + (size_t)t * job->y_stride + g * PACK_ROWS;
        if (n_rows == PACK_ROWS) {
            _mm256_storeu_ps(y, f[t][0]);
            _mm256_storeu_ps(y + 8, f[t][1]);
            continue;
        }
        float rows[PACK_ROWS];
        _mm256_storeu_ps(rows, f[t][0]);
        _mm256_storeu_ps(rows + 8, f[t][1]);
        for (uint32_t r = 0; r < n_rows; r++) {
            y[r] = rows[r];
        }
    }
}

/* Defines a slot of kernels NAME_1xT from FN(job, FORM, 1, T). Last: what else the type has. */
#define MATMUL_SLOT(NAME, FN, FORM, ...)                                                           \
    MATMUL_KERNEL(NAME, FN, FORM, 1, 1)                                                            \
    MATMUL_KERNEL(NAME, FN, FORM, 1, 2)                                                            \
    MATMUL_KERNEL(NAME, FN, FORM, 1, 3)                                                            \
    MATMUL_KERNEL(NAME, FN, FORM, 1, 4)                                                            \
    static void matmul_##NAME(const struct pack_matrix *w, uint32_t group_begin,                   \
                              uint32_t group_end, const struct kern_act *a, float *y,              \
                              size_t y_stride)                                                     \
    {                                                                                              \
        static const struct matmul_kernels kernels = {                                             \
            .max_tokens = AVX2_TOKENS,                                                             \
            .one = {NAME##_1x1, NAME##_1x2, NAME##_1x3, NAME##_1x4},                               \
            __VA_ARGS__};                                                                          \
        matmul_run(&kernels, w, group_begin, group_end, a, y, y_stride);                           \
    }

#endif
