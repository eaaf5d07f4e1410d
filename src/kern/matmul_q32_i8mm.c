/* matmul_q32_i8mm.c - kernels with smmla of types with a float scale for every 32 items.
 *
 * Sums stay blocks of 2 rows by 2 tokens from the first item to the last, and so do the floats that
 * they are folded into. */
#include "kern/matmul_i8mm.h"
#include "kern/matmul_q32_neon.h"

/* Numbers of tokens 2 p and 2 p + 1 as often as there are rows. */
TEMPLATE float32x4_t pair_numbers(const float *x, int p, int n_tokens)
{
    x += 2 * p;
    return 2 * p + 1 < n_tokens ? vcombine_f32(vld1_f32(x), vld1_f32(x)) : vdupq_n_f32(*x);
}

/* Scales of a quarter's row pair from 4 f16. */
TEMPLATE float32x4_t row_scales(const uint8_t *halves, int row_pair)
{
    int32x4_t bits = vreinterpretq_s32_f32(load_halves(halves));
    return vreinterpretq_f32_s32(row_numbers(bits, row_pair));
}

/* f of quarters [first, first + n_quarters) plus the product of a block. */
TEMPLATE void add_block_pairs(struct q32_form form, const uint8_t *scales, const uint8_t *unit,
                              const struct q32_act *a, float32x4_t f[PAIRS][QUARTERS][ROW_PAIRS],
                              int first, const int n_quarters, const int n_tokens)
{
    const float *d = a->d, *s = a->s;
    const int8_t *q = a->q;
    int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS];
    FORGET_POINTER(d);
    FORGET_POINTER(s);
    clear_sums(sum, n_quarters, n_tokens);
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        int8x16_t w[QUARTERS][ROW_PAIRS];
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            unit_row_pairs(form.lines, form.zero_shift, unit + (first + r) * QUARTER_LINE, i, w[r]);
        }
        add_row_pairs(w, q, sum, n_quarters, n_tokens);
        q += 8 * n_tokens;
        FORGET_POINTER(q);
    }
    UNROLL
    for (int r = 0; r < n_quarters; r++) {
        const uint8_t *dw = scales + PACK_D + 8 * (first + r);
        const uint8_t *mw = scales + PACK_M + 8 * (first + r);
        UNROLL
        for (int p = 0; p < pairs_of(n_tokens); p++) {
            float32x4_t da = pair_numbers(d, p, n_tokens);
            UNROLL
            for (int h = 0; h < ROW_PAIRS; h++) {
                float32x4_t *to = &f[p][first + r][h];
                *to = vfmaq_f32(*to, vmulq_f32(row_scales(dw, h), da), vcvtq_f32_s32(sum[p][r][h]));
            }
        }
        if (!form.minimum) {
            continue;
        }
        UNROLL
        for (int p = 0; p < pairs_of(n_tokens); p++) {
            float32x4_t sa = pair_numbers(s, p, n_tokens);
            UNROLL
            for (int h = 0; h < ROW_PAIRS; h++) {
                float32x4_t *to = &f[p][first + r][h];
                *to = vfmaq_f32(*to, row_scales(mw, h), sa);
            }
        }
    }
}

/* As f of tokens and quarters, to store. */
TEMPLATE void split_pairs(float32x4_t pairs[PAIRS][QUARTERS][ROW_PAIRS],
                          float32x4_t f[KERN_TILE][QUARTERS], int n_tokens)
{
    UNROLL
    for (int p = 0; p < pairs_of(n_tokens); p++) {
        UNROLL
        for (int r = 0; r < QUARTERS; r++) {
            f[2 * p][r] = vuzp1q_f32(pairs[p][r][0], pairs[p][r][1]);
            f[2 * p + 1][r] = vuzp2q_f32(pairs[p][r][0], pairs[p][r][1]);
        }
    }
}

TEMPLATE void q32_pair_tile(const struct matmul_job *job, struct q32_form form, const int n_groups,
                            const int n_tokens)
{
    if (n_tokens <= SDOT_TOKENS) {
        q32_tile(job, form, n_groups, n_tokens);
        return;
    }
    const int n_lines = unit_lines(form.lines);
    const int n_quarters = pair_quarters(n_tokens);
    const uint8_t *scales = job->scales, *unit = job->quants;
    struct q32_act a = {job->tile.q, job->tile.d, job->tile.s, NULL};
    float32x4_t pairs[PAIRS][QUARTERS][ROW_PAIRS], f[KERN_TILE][QUARTERS];
    UNROLL
    for (int p = 0; p < pairs_of(n_tokens); p++) {
        UNROLL
        for (int r = 0; r < QUARTERS; r++) {
            pairs[p][r][0] = pairs[p][r][1] = vdupq_n_f32(0.0f);
        }
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        matmul_prefetch(job, unit, n_lines, 0, n_tokens);
        for (int first = 0; first < QUARTERS; first += n_quarters) {
            add_block_pairs(form, scales, unit, &a, pairs, first, n_quarters, n_tokens);
        }
        scales += form.minimum ? 64 : 32;
        unit += n_lines * PACK_LINE;
        a.q += 32 * n_tokens;
        a.d += n_tokens;
        a.s += n_tokens;
    }
    split_pairs(pairs, f, n_tokens);
    store_tokens(job, 0, n_groups, f, n_tokens);
}

#define Q32_SLOT(NAME, TYPE, FORM) MATMUL_SLOT(NAME, q32_pair_tile, FORM, .wide = {NULL})
Q32_TYPES(Q32_SLOT, 0)

void kern_fill_matmul_q32_i8mm(struct kern_table *t)
{
    Q32_TYPES(MATMUL_FILL, 0)
}
