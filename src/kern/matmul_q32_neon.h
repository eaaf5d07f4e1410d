/* matmul_q32_neon.h - the kernels with sdot of types with a float scale for every 32 items. */
#ifndef KERN_MATMUL_Q32_NEON_H
#define KERN_MATMUL_Q32_NEON_H

#include "kern/matmul_neon.h"
#include "kern/matmul_q32.h"

/* What a block is multiplied with: its part of a tile. */
struct q32_act {
    const int8_t *q;
    const float *d, *s;
    const int32_t *n;
};

/* f of quarters [first, first + n_quarters) plus the product of a block. */
TEMPLATE void add_block(struct q32_form form, const uint8_t *scales, const uint8_t *unit,
                        const struct q32_act *a, float32x4_t f[KERN_TILE][QUARTERS], int first,
                        const int n_quarters, const int n_tokens)
{
    const float *d = a->d, *s = a->s;
    const int32_t *n = a->n;
    int32x4_t sum[KERN_TILE][QUARTERS];
    FORGET_POINTER(d);
    FORGET_POINTER(s);
    FORGET_POINTER(n);
    UNROLL
    for (int t = 0; t < n_tokens; t++) { /* from zero * n on, n = -(sum of qa) */
        int32_t start = form.zero_shift > 0 ? n[t] * (1 << form.zero_shift) : 0;
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            sum[t][r] = vdupq_n_s32(start);
        }
    }
    add_lines(form.lines, unit + first * QUARTER_LINE, (struct line_range){0, 8}, a->q, sum,
              n_quarters, n_tokens);
    UNROLL
    for (int r = 0; r < n_quarters; r++) {
        float32x4_t dw = load_halves(scales + PACK_D + 8 * (first + r));
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            float32x4_t scale = vmulq_n_f32(dw, d[t]);
            float32x4_t *to = &f[t][first + r];
            *to = vfmaq_f32(*to, scale, vcvtq_f32_s32(sum[t][r]));
        }
        if (form.minimum) {
            float32x4_t mw = load_halves(scales + PACK_M + 8 * (first + r));
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                f[t][first + r] = vfmaq_n_f32(f[t][first + r], mw, s[t]);
            }
        }
    }
}

TEMPLATE void q32_tile(const struct matmul_job *job, struct q32_form form, const int n_groups,
                       const int n_tokens)
{
    const int n_lines = unit_lines(form.lines);
    const int n_quarters = quarters_at_once(n_tokens);
    const uint8_t *scales = job->scales, *unit = job->quants;
    struct q32_act a = {job->tile.q, job->tile.d, job->tile.s, job->tile.n_sum};
    float32x4_t f[KERN_TILE][QUARTERS];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t][0] = f[t][1] = f[t][2] = f[t][3] = vdupq_n_f32(0.0f);
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        matmul_prefetch(job, unit, n_lines, 0, n_tokens);
        for (int first = 0; first < QUARTERS; first += n_quarters) {
            add_block(form, scales, unit, &a, f, first, n_quarters, n_tokens);
        }
        scales += form.minimum ? 64 : 32;
        unit += n_lines * PACK_LINE;
        a.q += 32 * n_tokens;
        a.d += n_tokens;
        a.s += n_tokens;
        a.n += n_tokens;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

#endif
