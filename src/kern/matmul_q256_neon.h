/* matmul_q256_neon.h - the kernels with sdot of super-blocks: 256 items, integer sub-scales.
 *
 * Sub-blocks are summed by byte products and folded with a 32-bit multiply-add; zeros and minima
 * are sums of sub-scale * (sum of qa), 16-bit products. */
#ifndef KERN_MATMUL_Q256_NEON_H
#define KERN_MATMUL_Q256_NEON_H

#include "kern/matmul_neon.h"
#include "kern/matmul_q256.h"

/* Numbers of one super-block, (sub-block, row). */
struct q256_scales {
    int16_t sub[16][PACK_ROWS], minimum[16][PACK_ROWS];
};

/* Quarters [first, first + n) of a super-block. */
struct q256_part {
    const uint8_t *scales, *quants;
    const struct q256_scales *numbers;
    int first;
};

/* low & 15 | high & 48, each shifted right first (left when negative) */
TEMPLATE uint8x16_t six_bits(const uint8_t *low, int low_shift, const uint8_t *high, int high_shift)
{
    uint8x16_t l = vandq_u8(shift_right(vld1q_u8(low), low_shift), vdupq_n_u8(15));
    uint8x16_t h = vandq_u8(shift_right(vld1q_u8(high), high_shift), vdupq_n_u8(48));
    return vorrq_u8(l, h);
}

/* Scale of sub-block i of 16 rows, from the packed scales s. */
TEMPLATE int8x16_t sub_scale(enum quant_type type, const uint8_t *s, int i)
{
    uint8x16_t x;
    switch (type) {
    case QUANT_Q2_K:
        x = vandq_u8(vld1q_u8(s + PACK_Q2_K_SUB + 16 * i), vdupq_n_u8(15));
        break;
    case QUANT_Q3_K:
        x = six_bits(s + PACK_Q3_K_LOW + 16 * (i % 8), i / 8 * 4, s + PACK_Q3_K_HIGH + 16 * (i % 4),
                     i / 4 * 2 - 4);
        x = vsubq_u8(x, vdupq_n_u8(32));
        break;
    case QUANT_Q6_K:
        x = vld1q_u8(s + PACK_Q6_K_SUB + 16 * i);
        break;
    case QUANT_IQ4_XS:
        x = six_bits(s + PACK_IQ4_XS_LOW + 16 * (i % 4), i / 4 * 4,
                     s + PACK_IQ4_XS_HIGH + 16 * (i % 2), i / 2 * 2 - 4);
        x = vsubq_u8(x, vdupq_n_u8(32));
        break;
    default: /* Q4_K, Q5_K */
        x = six_bits(s + PACK_Q45_K_LOW + 16 * i, 0, s + PACK_Q45_K_HIGH + 16 * (i % 4),
                     i / 4 * 4 - 4);
        break;
    }
    return vreinterpretq_s8_u8(x);
}

TEMPLATE int8x16_t sub_minimum(enum quant_type type, const uint8_t *s, int i)
{
    uint8x16_t x = type == QUANT_Q2_K ? shift_right(vld1q_u8(s + PACK_Q2_K_SUB + 16 * i), 4)
                                      : six_bits(s + PACK_Q45_K_LOW + 16 * i, 4,
                                                 s + PACK_Q45_K_HIGH + 16 * (i % 4), i / 4 * 4 - 2);
    return vreinterpretq_s8_u8(x);
}

TEMPLATE void store_words(int16_t *to, int8x16_t x)
{
    vst1q_s16(to, vmovl_s8(vget_low_s8(x)));
    vst1q_s16(to + 8, vmovl_high_s8(x));
}

TEMPLATE void read_scales(struct q256_form form, const uint8_t *s, struct q256_scales *out)
{
    UNROLL
    for (int i = 0; i < PACK_SUPER / form.sub_items; i++) {
        store_words(out->sub[i], sub_scale(form.type, s, i));
        if (form.minimum) {
            store_words(out->minimum[i], sub_minimum(form.type, s, i));
        }
    }
}

/* sum = sum over sub-blocks of number * n, n = -(sum of qa): minus the sum of minima or zeros. */
TEMPLATE void number_sums(struct q256_form form, const int16_t (*numbers)[PACK_ROWS],
                          const int16_t *n, int32x4_t sum[KERN_TILE][QUARTERS], int first,
                          const int n_quarters, const int n_tokens)
{
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            sum[t][r] = vdupq_n_s32(0);
        }
    }
    UNROLL
    for (int i = 0; i < PACK_SUPER / form.sub_items; i++) {
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            const int at = (i / 2 * n_tokens + t) * 2 + i % 2; /* pairs of neighbours */
            int16x4_t four = vld1_s16(n + at / 4 * 4);
            UNROLL
            for (int r = 0; r < n_quarters; r++) {
                int16x4_t number = vld1_s16(numbers[i] + 4 * (first + r));
                sum[t][r] = multiply_words(sum[t][r], number, four, at % 4);
            }
        }
        FORGET_POINTER(n);
    }
}

/* sum = the integer sums of a super-block. */
TEMPLATE void super_sums(const struct matmul_job *job, struct q256_form form,
                         const struct q256_part *part, const struct q256_act *a,
                         int32x4_t sum[KERN_TILE][QUARTERS], const int n_quarters,
                         const int n_tokens)
{
    const int n_lines = unit_lines(form.lines);
    const int sub_lines = form.sub_items / 4, n_sub = 8 / sub_lines;
    const uint8_t *unit = part->quants;
    const int8_t *q = a->q;
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            sum[t][r] = vdupq_n_s32(0);
        }
    }
    if (form.zero_shift > 0) {
        number_sums(form, part->numbers->sub, a->n, sum, part->first, n_quarters, n_tokens);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            UNROLL
            for (int r = 0; r < n_quarters; r++) {
                sum[t][r] = sum[t][r] << form.zero_shift;
            }
        }
    }
    for (int u = 0; u < 8; u++) {
        if (part->first == 0) {
            matmul_prefetch(job, unit, n_lines, 0, n_tokens);
        }
        UNROLL
        for (int h = 0; h < n_sub; h++) {
            int32x4_t sub[KERN_TILE][QUARTERS];
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                UNROLL
                for (int r = 0; r < n_quarters; r++) {
                    sub[t][r] = vdupq_n_s32(0);
                }
            }
            add_lines(form.lines, unit + part->first * QUARTER_LINE,
                      (struct line_range){h * sub_lines, (h + 1) * sub_lines}, q, sub, n_quarters,
                      n_tokens);
            const int16_t *numbers = part->numbers->sub[u * n_sub + h] + 4 * part->first;
            UNROLL
            for (int r = 0; r < n_quarters; r++) {
                int32x4_t scale = vmovl_s16(vld1_s16(numbers + 4 * r));
                UNROLL
                for (int t = 0; t < n_tokens; t++) {
                    sum[t][r] = vmlaq_s32(sum[t][r], sub[t][r], scale);
                }
            }
        }
        unit += n_lines * PACK_LINE;
        q += 32 * n_tokens;
    }
}

/* f of the part plus scale * sum; `scales`: 16 f16. */
TEMPLATE void fold(const uint8_t *scales, const float *d, int32x4_t sum[KERN_TILE][QUARTERS],
                   float32x4_t f[KERN_TILE][QUARTERS], int first, const int n_quarters,
                   const int n_tokens)
{
    FORGET_POINTER(d);
    UNROLL
    for (int r = 0; r < n_quarters; r++) {
        float32x4_t w = load_halves(scales + 8 * (first + r));
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            float32x4_t *to = &f[t][first + r];
            *to = vfmaq_f32(*to, vmulq_n_f32(w, d[t]), vcvtq_f32_s32(sum[t][r]));
        }
    }
}

TEMPLATE void q256_tile(const struct matmul_job *job, struct q256_form form, const int n_groups,
                        const int n_tokens)
{
    const int n_quarters = quarters_at_once(n_tokens);
    struct q256_act a = q256_first_act(job, form);
    struct q256_scales numbers;
    struct q256_part part = {job->scales, job->quants, &numbers, 0};
    float32x4_t f[KERN_TILE][QUARTERS];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t][0] = f[t][1] = f[t][2] = f[t][3] = vdupq_n_f32(0.0f);
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        read_scales(form, part.scales, &numbers);
        for (part.first = 0; part.first < QUARTERS; part.first += n_quarters) {
            int32x4_t sum[KERN_TILE][QUARTERS];
            super_sums(job, form, &part, &a, sum, n_quarters, n_tokens);
            fold(part.scales + PACK_D, a.d, sum, f, part.first, n_quarters, n_tokens);
            if (form.minimum) {
                /* (dminw * da) * -msum has the bits of -(dminw * da) * msum: f is never -0 here,
                 * as products of a multiple of 2^-149 and an integer do not underflow */
                number_sums(form, numbers.minimum, a.n, sum, part.first, n_quarters, n_tokens);
                fold(part.scales + PACK_M, a.d, sum, f, part.first, n_quarters, n_tokens);
            }
        }
        part.scales += form.scale_bytes;
        part.quants += 8 * unit_lines(form.lines) * PACK_LINE;
        a.q += job->tile.q_step;
        a.d += n_tokens;
        a.n += PACK_SUPER / form.sub_items * n_tokens;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

#endif
