/* matmul_q256_avx2.h - the AVX2 and AVX-VNNI kernels of super-blocks: 256 items, integer
 * sub-scales; included behind products_avx2.h or products_avxvnni.h.
 *
 * Zeros and minima are sums of sub-scale * (sum of qa), by products of 16-bit pairs. */
#ifndef KERN_MATMUL_Q256_AVX2_H
#define KERN_MATMUL_Q256_AVX2_H

#include "kern/matmul_avx2.h"
#include "kern/matmul_q256.h"

/* Numbers of one super-block as 16-bit words, two a row; index [i][half]. */
struct q256_scales {
    __m256i sub[16][HALVES]; /* of sub_scale */
    __m256i pair[8][HALVES]; /* what n16 or n32 is multiplied with: numbers 2i, 2i + 1 */
    __m256 d[HALVES], m[HALVES];
};
static_assert(sizeof(struct q256_scales) <= sizeof((struct matmul_panel){0}.scales), "");

/* A super-block, as it lies in memory. */
struct q256_super {
    const uint8_t *scales, *quants;
    uintptr_t later; /* what it asks for, see struct ahead */
};

TEMPLATE unsigned super_bytes(struct q256_form form)
{
    return (unsigned)(form.scale_bytes + 8 * unit_lines(form.lines) * PACK_LINE);
}

/* Lines that are asked for in each half of a stretch beside a unit of the quants, and beside the
 * scales: the rest. */
TEMPLATE int lines_by_unit(struct q256_form form)
{
    return ahead_lines(super_bytes(form), 1) / 8;
}

TEMPLATE int lines_by_scales(struct q256_form form)
{
    return ahead_lines(super_bytes(form), 1) % 8;
}

/* low & 15 | high & 48, each shifted right first (left when negative) */
TEMPLATE __m256i six_bits(__m256i low, int low_shift, __m256i high, int high_shift)
{
    __m256i l = _mm256_and_si256(shift_right_16(low, low_shift), _mm256_set1_epi8(15));
    __m256i h = _mm256_and_si256(shift_right_16(high, high_shift), _mm256_set1_epi8(48));
    return _mm256_or_si256(l, h);
}

/* Numbers 2j and 2j + 1 of 16 rows each, bytes: sub-scales, and minima where there are any. */
TEMPLATE void unpack_two(enum quant_type type, const uint8_t *s, const int j, __m256i *out_sub,
                         __m256i *out_minimum)
{
    const __m256i nibble = _mm256_set1_epi8(15), bias = _mm256_set1_epi8(32);
    const int line = j / 2, half = 32 * (j % 2); /* of lines of four numbers */
    __m256i low, high;
    switch (type) {
    case QUANT_Q2_K:
        low = load_half_line(s + PACK_Q2_K_SUB + 32 * j);
        *out_sub = _mm256_and_si256(low, nibble);
        *out_minimum = _mm256_and_si256(shift_right_16(low, 4), nibble);
        break;
    case QUANT_Q3_K:
        low = load_half_line(s + PACK_Q3_K_LOW + PACK_LINE * (line % 2) + half);
        high = load_half_line(s + PACK_Q3_K_HIGH + half);
        *out_sub = _mm256_sub_epi8(six_bits(low, 4 * (line / 2), high, 2 * line - 4), bias);
        break;
    case QUANT_Q6_K:
        *out_sub = load_half_line(s + PACK_Q6_K_SUB + 32 * j);
        break;
    case QUANT_IQ4_XS:
        low = load_half_line(s + PACK_IQ4_XS_LOW + half);
        high = load_half_line(s + PACK_IQ4_XS_HIGH);
        *out_sub = _mm256_sub_epi8(six_bits(low, 4 * line, high, 2 * j - 4), bias);
        break;
    default: /* Q4_K, Q5_K */
        low = load_half_line(s + PACK_Q45_K_LOW + PACK_LINE * line + half);
        high = load_half_line(s + PACK_Q45_K_HIGH + half);
        *out_sub = six_bits(low, 0, high, 4 * line - 4);
        *out_minimum = six_bits(low, 4, high, 4 * line - 2);
        break;
    }
}

/* Unpacks the scales. Lines are asked for here, too, as all of them beside the quants would be
 * lumps between pauses. */
TEMPLATE void read_scales(struct q256_form form, const struct matmul_job *job,
                          struct q256_super super, struct q256_scales *out)
{
    const int n_steps = form.sub_items == 16 ? 8 : 4, n_lines = lines_by_scales(form);
    const uint8_t *s = super.scales;
    UNROLL
    for (int h = 0; h < HALVES; h++) {
        out->d[h] = load_halves(s + PACK_D + 16 * h);
        if (form.minimum) {
            out->m[h] = load_halves(s + PACK_M + 16 * h);
        }
    }
    UNROLL
    for (int j = 0; j < n_steps; j++) {
        const int first = n_lines * j / n_steps, last = n_lines * (j + 1) / n_steps;
        __m256i sub, minimum;
        ask_ahead(job, super.later + (unsigned)first * PACK_LINE, last - first, super_bytes(form));
        unpack_two(form.type, s, j, &sub, &minimum);
        sub = by_fours(sub);
        __m256i pairs = form.minimum ? by_fours(minimum) : sub;
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            UNROLL
            for (int i = 0; i < 2; i++) {
                out->sub[2 * j + i][h] =
                    sub_scale(form.lines, form.sub_items / 4, sub, !form.minimum, i, h);
            }
            if (form.minimum || form.zero_shift > 0) {
                out->pair[j][h] = word_pairs(pairs, h, 0, 1, !form.minimum);
            }
        }
    }
}

/* sum of pair * n of every token: minus the minima's or the zeros' sum. */
TEMPLATE void pair_sums(struct q256_form form, const struct q256_scales *scales, const int16_t *n,
                        size_t stride, __m256i sum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    const int n_pairs = form.sub_items == 16 ? 8 : 4;
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    }
    UNROLL
    for (int i = 0; i < n_pairs; i++) {
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            add_words(sum[t], scales->pair[i], n + ((size_t)i * stride + (size_t)t) * 2);
        }
    }
}

/* The integer sums of a super-block. */
TEMPLATE void super_sums(struct q256_form form, const struct matmul_job *job,
                         const struct q256_scales *scales, struct q256_super super,
                         const struct q256_act *a, __m256i isum[AVX2_TOKENS][HALVES],
                         const int n_tokens)
{
    const int n_sub = form.sub_items == 16 ? 2 : 1, sub_lines = form.sub_items == 16 ? 4 : 8;
    const uint8_t *unit = super.quants;
    uintptr_t later = super.later + (unsigned)lines_by_scales(form) * PACK_LINE;
    const size_t stride = job->tile.n;
    const int8_t *q = a->q;
    if (form.zero_shift > 0) {
        pair_sums(form, scales, a->n, stride, isum, n_tokens);
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            isum[t][h] = form.zero_shift > 0 ? shift_left_32(isum[t][h], form.zero_shift)
                                             : _mm256_setzero_si256();
        }
    }
    for (int u = 0; u < 8; u++) {
        ask_ahead(job, later, lines_by_unit(form), super_bytes(form));
        later += (unsigned)lines_by_unit(form) * PACK_LINE;
        UNROLL
        for (int i = 0; i < n_sub; i++) {
            const __m256i *scale = scales->sub[u * n_sub + i];
            if (scale == NULL) { /* or gcc asks in the loop */
                __builtin_unreachable();
            }
            add_lines(form.lines, unit, (struct line_range){i * sub_lines, (i + 1) * sub_lines}, q,
                      stride, scale, isum, n_tokens);
        }
        unit += unit_lines(form.lines) * PACK_LINE;
        q += 32 * stride;
    }
}

/* sum of sub-minimum * -(sum of qa) of every token; 0 without minima. */
TEMPLATE void minimum_sums(struct q256_form form, const struct q256_scales *scales,
                           const struct q256_act *a, size_t stride,
                           __m256i sum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    if (form.minimum) {
        pair_sums(form, scales, a->n, stride, sum, n_tokens);
        return;
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    }
}

/* f plus the product of a super-block, of half h of a token whose scale is da. */
TEMPLATE __m256 add_super(struct q256_form form, const struct q256_scales *scales, __m256 da,
                          __m256 f, __m256i isum, __m256i msum, int h)
{
    f = _mm256_fmadd_ps(_mm256_mul_ps(scales->d[h], da), _mm256_cvtepi32_ps(isum), f);
    /* (dminw * da) * -msum has the bits of -(dminw * da) * msum: f is never -0 here, as products of
     * a multiple of 2^-149 and an integer do not underflow */
    return form.minimum
               ? _mm256_fmadd_ps(_mm256_mul_ps(scales->m[h], da), _mm256_cvtepi32_ps(msum), f)
               : f;
}

TEMPLATE void q256_tile(const struct matmul_job *job, struct q256_form form, const int n_groups,
                        const int n_tokens)
{
    const size_t stride = job->tile.n;
    struct q256_super super = {job->scales, job->quants, 0};
    struct ahead ahead = ahead_first(job->scales, job->scale_bytes, job->place, super_bytes(form));
    struct q256_act a = q256_first_act(job, form);
    __m256 f[AVX2_TOKENS][HALVES];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t][0] = f[t][1] = _mm256_setzero_ps();
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        struct q256_scales numbers;
        __m256i isum[AVX2_TOKENS][HALVES], msum[AVX2_TOKENS][HALVES];
        super.later = ahead.at;
        read_scales(form, job, super, &numbers);
        super_sums(form, job, &numbers, super, &a, isum, n_tokens);
        minimum_sums(form, &numbers, &a, stride, msum, n_tokens);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            __m256 da = _mm256_set1_ps(a.d[t]);
            UNROLL
            for (int h = 0; h < HALVES; h++) {
                f[t][h] = add_super(form, &numbers, da, f[t][h], isum[t][h], msum[t][h], h);
            }
        }
        super.scales += form.scale_bytes;
        super.quants += 8 * unit_lines(form.lines) * PACK_LINE;
        ahead_next(&ahead, super_bytes(form));
        a.q += job->tile.q_step;
        a.d += stride;
        a.n += (form.sub_items == 16 ? 16 : 8) * stride;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

/* ---- panels ---- */

TEMPLATE void q256_unpack(const struct matmul_job *job, struct q256_form form,
                          struct matmul_panel *out)
{
    const struct q256_super super = {job->scales, job->quants, 0};
    const uint8_t *unit = job->quants;
    uint8_t *line = out->quants;
    read_scales(form, job, super, (struct q256_scales *)(void *)out->scales);
    for (int u = 0; u < 8; u++) {
        UNROLL
        for (int i = 0; i < 8; i++) {
            UNROLL
            for (int h = 0; h < HALVES; h++, line += HALF_LINE) {
                __m256i half = unit_half_line(form.lines, unit, i, h, BYTE_ZERO);
                _mm256_store_si256((__m256i *)line, half);
            }
        }
        unit += unit_lines(form.lines) * PACK_LINE;
    }
}

TEMPLATE void q256_panel(const struct matmul_job *job, struct q256_form form, const int n_tokens)
{
    const struct q256_scales *scales = (const void *)job->scales;
    const struct q256_super super = {NULL, job->quants, 0};
    const size_t stride = job->tile.n;
    struct q256_act a = q256_first_act(job, form);
    __m256i isum[AVX2_TOKENS][HALVES], msum[AVX2_TOKENS][HALVES];
    form.lines.bytes = true;
    super_sums(form, job, scales, super, &a, isum, n_tokens);
    minimum_sums(form, scales, &a, stride, msum, n_tokens);
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        __m256 da = _mm256_set1_ps(a.d[t]);
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            float *y = job->y + t * PACK_ROWS + 8 * h;
            __m256 f = _mm256_loadu_ps(y);
            _mm256_storeu_ps(y, add_super(form, scales, da, f, isum[t][h], msum[t][h], h));
        }
    }
}

/* Of kernels for up to N tokens. Panels pay from a whole tile on; of Q2_K and Q4_K, which take two
 * or three instructions to unpack, from three. As measured with AVX2; AVX-VNNI, which takes fewer
 * instructions for the products, was not. */
#define PANEL_SLOT(N, NAME, TYPE, FORM)                                                            \
    Q256_UNPACK(NAME, FORM)                                                                        \
    FOR_UP_TO(N, Q256_PANEL, NAME, FORM)                                                           \
    MATMUL_SLOT(N, NAME, q256_tile, FORM, .unpack = NAME##_unpack,                                 \
                .panel_min =                                                                       \
                    (TYPE) == QUANT_Q2_K || (TYPE) == QUANT_Q4_K ? 2 * KERN_TILE + 1 : KERN_TILE,  \
                .panel = {LIST_UP_TO(N, NAME##_panel_)})
#define Q256_SLOT(NAME, TYPE, FORM)   PANEL_SLOT(UNSIGNED_TOKENS, NAME, TYPE, FORM)
#define IQ4_XS_SLOT(NAME, TYPE, FORM) PANEL_SLOT(BYTE_TOKENS, NAME, TYPE, FORM)
Q256_K_TYPES(Q256_SLOT)
Q256_IQ4_XS(IQ4_XS_SLOT, BYTE_ZERO)

#endif
