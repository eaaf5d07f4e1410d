/* matmul_i8mm.h - what the matmul kernels with the matrix instruction `smmla` share.
 *
 * One smmla multiplies 2 rows with 2 tokens, 8 items of each: twice the products of an sdot. Its
 * weights are two neighbouring lines of a quarter, zipped to two registers of 2 rows by 8 items for
 * all tokens of a tile; its activations lie in memory as it wants them (kern.h). A sum is
 * [row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1]. The last of an odd number of tokens
 * makes a pair with zeros. Up to 3 tokens are left to sdot: zipping costs what products save. */
#ifndef KERN_MATMUL_I8MM_H
#define KERN_MATMUL_I8MM_H

#include "kern/matmul_neon.h"

enum { PAIRS = KERN_TILE / 2, ROW_PAIRS = 2 /* of a quarter */, SDOT_TOKENS = 3 };

TEMPLATE int pairs_of(int n_tokens)
{
    return (n_tokens + 1) / 2;
}

/* How many quarters at once: 4 to 12 sums. */
TEMPLATE int pair_quarters(int n_tokens)
{
    return n_tokens <= 6 ? 2 : 1;
}

/* x[0], x[0], x[1], x[1] and x[2], x[2], x[3], x[3]: numbers of rows, beside sums. */
TEMPLATE int32x4_t row_numbers(int32x4_t x, int row_pair)
{
    return row_pair == 0 ? vzip1q_s32(x, x) : vzip2q_s32(x, x);
}

/* Items [8 i, 8 i + 8) of tokens 2 p and 2 p + 1; q: those of all tokens. */
TEMPLATE int8x16_t load_pair(const int8_t *q, int p, int n_tokens)
{
    q += 16 * p;
    return 2 * p + 1 < n_tokens ? vld1q_s8(q) : vcombine_s8(vld1_s8(q), vdup_n_s8(0));
}

/* Line i of a unit less its zero, 1 << zero_shift (0: none). */
TEMPLATE int32x4_t signed_quarter(struct line_form form, int zero_shift, const uint8_t *unit, int i)
{
    int8x16_t q = unit_quarter(form, unit, i);
    q = zero_shift > 0 ? vsubq_s8(q, vdupq_n_s8((int8_t)(1 << zero_shift))) : q;
    return vreinterpretq_s32_s8(q);
}

/* Lines i and i + 1 (i even) of a unit; unit points at the quarter's first byte. */
TEMPLATE void unit_row_pairs(struct line_form form, int zero_shift, const uint8_t *unit, int i,
                             int8x16_t out[ROW_PAIRS])
{
    int32x4_t a = signed_quarter(form, zero_shift, unit, i);
    int32x4_t b = signed_quarter(form, zero_shift, unit, i + 1);
    out[0] = vreinterpretq_s8_s32(vzip1q_s32(a, b));
    out[1] = vreinterpretq_s8_s32(vzip2q_s32(a, b));
}

TEMPLATE void clear_sums(int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS], int n_quarters, int n_tokens)
{
    UNROLL
    for (int p = 0; p < pairs_of(n_tokens); p++) {
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            sum[p][r][0] = sum[p][r][1] = vdupq_n_s32(0);
        }
    }
}

/* sum += the products of 8 items; q: those of all tokens. */
TEMPLATE void add_row_pairs(const int8x16_t w[QUARTERS][ROW_PAIRS], const int8_t *q,
                            int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS], int n_quarters, int n_tokens)
{
    UNROLL
    for (int p = 0; p < pairs_of(n_tokens); p++) {
        int8x16_t a = load_pair(q, p, n_tokens);
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            sum[p][r][0] = vmmlaq_s32(sum[p][r][0], w[r][0], a);
            sum[p][r][1] = vmmlaq_s32(sum[p][r][1], w[r][1], a);
        }
    }
}

#endif
