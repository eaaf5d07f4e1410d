/* products_avx2.h - integer products of the AVX2 matmul kernels.
 *
 * vpmaddubsw multiplies unsigned by signed bytes and adds neighbours to 16 bits, with saturation,
 * which must never happen: with |a| <= 127, a pair of quants up to v is at most 2 * 127 * v, and
 * lines_before_widen says how many lines may be added up in 16 bits. Signed quants (Q8_0, IQ4) go
 * in as |w| <= 128 against a with w's sign: a pair is at most 2 * 127 * 128 = 32512, one line. The
 * 16-bit sums of a sub-block are multiplied with its scale and widened by one vpmaddwd. */
#ifndef KERN_PRODUCTS_AVX2_H
#define KERN_PRODUCTS_AVX2_H

#include "kern/matmul_avx2.h"

/* Quants of whole bytes are signed. */
enum { BYTE_ZERO = 0 };

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

/* acc + w.low * a[0] + w.high * a[1] per row, 16-bit numbers in pairs. */
TEMPLATE __m256i dot_words(__m256i acc, __m256i w, const int16_t *a)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(w, broadcast_4(a)));
}

/* What add_lines takes for the scales (bytes) of 8 rows of a sub-block of n_lines lines. */
TEMPLATE __m256i sub_scale(struct line_form form, int n_lines, const uint8_t *p, bool with_sign)
{
    (void)form;
    (void)n_lines;
    return word_pairs(p, p, with_sign);
}

/* isum += scale * (sum of a range of lines of the unit times the activations), for 8 rows a half.
 * shapes  q (4, stride, 8) activations of the unit, from the first token on
 *         scale (2) of sub_scale; NULL: 1
 *         isum (n_tokens, 2) int32 */
TEMPLATE void add_lines(struct line_form form, const uint8_t *unit, const struct line_range range,
                        const int8_t *q, size_t stride, const __m256i scale[HALVES],
                        __m256i isum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    const __m256i one = _mm256_set1_epi16(1);
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
            w[h] = unit_half_line(form, unit, i, h, BYTE_ZERO);
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
                    __m256i wide = _mm256_madd_epi16(sum[t][h], scale != NULL ? scale[h] : one);
                    isum[t][h] = _mm256_add_epi32(isum[t][h], wide);
                }
            }
        }
        q += i % 2 ? stride * 8 : 0;
        /* or gcc works out the addresses of all lines first, and spills them */
        __asm__("" : "+r"(q));
    }
}

#endif
