/* products_avxvnni.h - integer products of the AVX-VNNI matmul kernels.
 *
 * vpdpbusd multiplies unsigned by signed bytes and adds four neighbours to 32 bits, where nothing
 * can overflow; signed quants go in with 128 added, and sums start at 128 * n, as those of types
 * with a zero do anyway. The sum of a sub-block is multiplied with its scale and added by one
 * vpdpwssd where it has 16 bits, else by vpmulld and vpaddd. */
#ifndef KERN_PRODUCTS_AVXVNNI_H
#define KERN_PRODUCTS_AVXVNNI_H

#include "kern/matmul_avx2.h"

/* Quants of whole bytes have 1 << 7 added. */
enum { BYTE_ZERO = 7 };

/* Tokens a kernel takes at most: 4 times 2 halves of sums fill half of the registers. */
#define UNSIGNED_TOKENS 4
#define BYTE_TOKENS     4

/* Whether n_lines lines of 4 quants times |a| <= 127 add up to 16 bits. */
TEMPLATE bool sum_has_16_bits(struct line_form form, int n_lines)
{
    int max = form.table ? 255 : (1 << (form.low_bits + form.high_bits)) - 1;
    return n_lines * 4 * 127 * max <= INT16_MAX;
}

/* acc + sum of w (unsigned) * a (signed) over the 4 bytes of each dword. In assembly, because gcc
 * 12 copies the sums of an intrinsic to and fro. */
TEMPLATE __m256i dot_bytes(__m256i acc, __m256i w, __m256i a)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(a));
    return acc;
}

/* acc + w * a over the 2 words of each dword. */
TEMPLATE __m256i dot_pairs(__m256i acc, __m256i w, __m256i a)
{
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(a));
    return acc;
}

/* sum += w.low * a[0] + w.high * a[1] per row, 16-bit numbers in pairs. */
TEMPLATE void add_words(__m256i sum[HALVES], const __m256i w[HALVES], const int16_t *a)
{
    __m256i items = broadcast_4(a);
    sum[0] = dot_pairs(sum[0], w[0], items);
    sum[1] = dot_pairs(sum[1], w[1], items);
}

/* What add_lines takes for the scales of half h of sub-block i of two, by_fours() of which are
 * given, with n_lines lines each: numbers of 32 bits, or of 16 below zeros. */
TEMPLATE __m256i sub_scale(struct line_form form, int n_lines, __m256i fours, bool with_sign,
                           const int i, const int h)
{
    __m256i words = word_pairs(fours, h, i, i, with_sign);
    if (with_sign && !sum_has_16_bits(form, n_lines)) {
        return _mm256_srai_epi32(words, 16);
    }
    return _mm256_blend_epi16(words, _mm256_setzero_si256(), 0xAA);
}

/* isum += scale * (sum of a range of lines of the unit times the activations), for 8 rows a half.
 * shapes  q (4, stride, 8) activations of the unit, from the first token on
 *         scale (2) of sub_scale; NULL: 1
 *         isum (n_tokens, 2) int32 */
TEMPLATE void add_lines(struct line_form form, const uint8_t *unit, const struct line_range range,
                        const int8_t *q, size_t stride, const __m256i scale[HALVES],
                        __m256i isum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    __m256i sum[AVX2_TOKENS][HALVES];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            sum[t][h] = scale != NULL ? _mm256_setzero_si256() : isum[t][h];
        }
    }
    q += (size_t)range.begin * stride * 4;
    UNROLL
    for (int i = range.begin; i < range.end; i++) {
        __m256i w[HALVES];
        const uint8_t *p = unit;
        if (scale != NULL && range.end - range.begin == 8 && n_tokens > 2) {
            /* or gcc keeps the plane of high bits for all lines, and spills a sum */
            __asm__("" : "+r"(p) : "r"(q));
        }
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            w[h] = unit_half_line(form, p, i, h, BYTE_ZERO);
        }
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            __m256i a = broadcast_4(q + t * 8 + i % 2 * 4);
            UNROLL
            for (int h = 0; h < HALVES; h++) {
                sum[t][h] = dot_bytes(sum[t][h], w[h], a);
            }
        }
        q += i % 2 ? stride * 8 : 0;
        /* or gcc works out the addresses of all lines first, and spills them */
        __asm__("" : "+r"(q));
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            if (scale == NULL) {
                isum[t][h] = sum[t][h];
            } else if (sum_has_16_bits(form, range.end - range.begin)) {
                isum[t][h] = dot_pairs(isum[t][h], sum[t][h], scale[h]);
            } else {
                __m256i product = _mm256_mullo_epi32(sum[t][h], scale[h]);
                isum[t][h] = _mm256_add_epi32(isum[t][h], product);
            }
        }
    }
}

#endif
