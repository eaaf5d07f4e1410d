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

/* Tokens a kernel takes at most: 12 sums, two halves of weights, a broadcast and a product are 16
 * registers; signed quants take four more, magnitudes and scales, which leaves room for 8 sums. */
#define UNSIGNED_TOKENS 6
#define BYTE_TOKENS     4

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

/* sum += w.low * a[0] + w.high * a[1] per row, 16-bit numbers in pairs. In assembly, or gcc would
 * turn the loops round it inside out. */
TEMPLATE void add_words(__m256i sum[HALVES], const __m256i w[HALVES], const int16_t *a)
{
    const matmul_word *items = (const matmul_word *)(const void *)a;
    __m256i x, y;
    __asm__ volatile("vpbroadcastd %4, %2\n\t"
                     "vpmaddwd %5, %2, %3\n\t"
                     "vpmaddwd %6, %2, %2\n\t"
                     "vpaddd %3, %0, %0\n\t"
                     "vpaddd %2, %1, %1"
                     : "+x"(sum[0]), "+x"(sum[1]), "=&x"(x), "=&x"(y)
                     : "m"(*items), "x"(w[0]), "x"(w[1]));
}

/* What add_lines takes for the scales of half h of sub-block i of two, by_fours() of which are
 * given, with n_lines lines each: words, each twice. */
TEMPLATE __m256i sub_scale(struct line_form form, int n_lines, __m256i fours, bool with_sign,
                           const int i, const int h)
{
    (void)form;
    (void)n_lines;
    return word_pairs(fours, h, i, i, with_sign);
}

/* sum (+)= the products of 4 items, at a, in 16 bits. In assembly, because gcc would add the
 * products of all lines as a tree, and spill them. */
TEMPLATE void add_unsigned(__m256i sum[HALVES], const __m256i w[HALVES], const int8_t *a,
                           const bool first)
{
    const matmul_word *items = (const matmul_word *)(const void *)a;
    __m256i x, y;
    if (first) {
        __asm__ volatile("vpbroadcastd %3, %2\n\t"
                         "vpmaddubsw %2, %4, %0\n\t"
                         "vpmaddubsw %2, %5, %1"
                         : "=&x"(sum[0]), "=&x"(sum[1]), "=&x"(x)
                         : "m"(*items), "x"(w[0]), "x"(w[1]));
        return;
    }
    __asm__ volatile("vpbroadcastd %4, %2\n\t"
                     "vpmaddubsw %2, %5, %3\n\t"
                     "vpmaddubsw %2, %6, %2\n\t"
                     "vpaddw %3, %0, %0\n\t"
                     "vpaddw %2, %1, %1"
                     : "+x"(sum[0]), "+x"(sum[1]), "=&x"(x), "=&x"(y)
                     : "m"(*items), "x"(w[0]), "x"(w[1]));
}

/* isum += scale * the products of 4 items, at a, with signed weights of the given magnitude. */
TEMPLATE void add_signed(__m256i isum[HALVES], const __m256i w[HALVES],
                         const __m256i magnitude[HALVES], const __m256i scale[HALVES],
                         const int8_t *a)
{
    const matmul_word *items = (const matmul_word *)(const void *)a;
    __m256i x, y;
    __asm__ volatile("vpbroadcastd %4, %2\n\t"
                     "vpsignb %5, %2, %3\n\t"
                     "vpsignb %6, %2, %2\n\t"
                     "vpmaddubsw %3, %7, %3\n\t"
                     "vpmaddubsw %2, %8, %2\n\t"
                     "vpmaddwd %9, %3, %3\n\t"
                     "vpmaddwd %10, %2, %2\n\t"
                     "vpaddd %3, %0, %0\n\t"
                     "vpaddd %2, %1, %1"
                     : "+x"(isum[0]), "+x"(isum[1]), "=&x"(x), "=&x"(y)
                     : "m"(*items), "x"(w[0]), "x"(w[1]), "x"(magnitude[0]), "x"(magnitude[1]),
                       "x"(scale[0]), "x"(scale[1]));
}

/* isum += scale * sum, whose 16-bit numbers are added in pairs. Of many tokens isum is in memory,
 * while the sums fill the registers. */
TEMPLATE void fold(__m256i *isum, __m256i sum, const __m256i *scale, bool in_memory)
{
    if (!in_memory) {
        *isum = _mm256_add_epi32(*isum, _mm256_madd_epi16(sum, *scale));
        return;
    }
    __asm__ volatile("vpmaddwd %2, %0, %0\n\t"
                     "vpaddd %1, %0, %0\n\t"
                     "vmovdqa %0, %1"
                     : "+x"(sum), "+m"(*isum)
                     : "m"(*scale));
}

/* isum += scale * (sum of a range of lines of the unit times the activations), for 8 rows a half.
 * shapes  q (4, stride, 8) activations of the unit, from the first token on
 *         scale (2) of sub_scale; NULL: 1
 *         isum (n_tokens, 2) int32 */
TEMPLATE void add_lines(struct line_form form, const uint8_t *unit, const struct line_range range,
                        const int8_t *q, size_t stride, const __m256i scale[HALVES],
                        __m256i isum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    const __m256i one = _mm256_set1_epi16(1), ones[HALVES] = {one, one};
    const __m256i *factor = scale != NULL ? scale : ones;
    const int step = is_signed(form) ? 1 : lines_before_widen(form);
    /* not of 6 bits, where a scale's two folds are added first, nor where sums begin anew */
    const bool in_memory = scale != NULL && step > 2 && n_tokens > 2;
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
            const int8_t *a = q + t * 8 + i % 2 * 4;
            if (is_signed(form)) {
                add_signed(isum[t], w, magnitude, factor, a);
                continue;
            }
            add_unsigned(sum[t], w, a, first);
            if (last) {
                fold(&isum[t][0], sum[t][0], &factor[0], in_memory);
                fold(&isum[t][1], sum[t][1], &factor[1], in_memory);
            }
        }
        q += i % 2 ? stride * 8 : 0;
        /* or gcc works out the addresses of all lines first, and spills them */
        __asm__("" : "+r"(q));
    }
}

#endif
