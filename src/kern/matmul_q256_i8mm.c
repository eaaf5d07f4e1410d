/* matmul_q256_i8mm.c - kernels with smmla of super-blocks: 256 items, integer sub-scales.
 *
 * Zeros are taken off the quants. Q2_K and Q3_K have so few bits that quants times sub-scales are
 * bytes again: their products need no folding. Minima are multiplied by smmla, too: sums of qa are
 * cut into two bytes. More than one tile goes through panels (matmul.h), which hold the operands of
 * smmla. */
#include "kern/matmul_i8mm.h"
#include "kern/matmul_q256_neon.h"

enum { HALF_SUBS = 8 }; /* sub-blocks whose minima fill the 8 items of an smmla */

/* Numbers of one super-block. */
struct q256_numbers {
    union {
        int32_t sub[16][PACK_ROWS];  /* (sub-block, row) */
        int8_t bytes[16][PACK_ROWS]; /* the same, where they go into the quants */
    };
    int8_t minimum[2][PACK_ROWS][HALF_SUBS]; /* (half of the sub-blocks, row, sub-block) */
    float d[PACK_ROWS], m[PACK_ROWS];
};
static_assert(sizeof(struct q256_numbers) <= sizeof((struct matmul_panel){0}.scales), "");

/* What a tile is multiplied with: a super-block or a panel; and with what. */
struct q256_super {
    const struct q256_numbers *numbers;
    const uint8_t *quants;
    struct q256_act a;
};

/* n = 64 * high + low of all tokens: (half of the sub-blocks, token, sub-block). */
struct q256_sums {
    int8_t high[2][KERN_TILE][HALF_SUBS], low[2][KERN_TILE][HALF_SUBS];
};

/* Q2_K: 0 to 3 times 0 to 15. Q3_K: -4 to 3 times -32 to 31 would be 128 at most, so scales change
 * their sign here and in the fold. */
TEMPLATE bool is_scaled(struct q256_form form)
{
    return form.type == QUANT_Q2_K || form.type == QUANT_Q3_K;
}

/* --- unpacking */

TEMPLATE void read_minima(struct q256_form form, const uint8_t *s, struct q256_numbers *out)
{
    for (int half = 0; half < PACK_SUPER / form.sub_items / HALF_SUBS; half++) {
        uint8x16_t m[HALF_SUBS];
        uint16x8x4_t rows[2]; /* 8 rows by pairs of sub-blocks */
        UNROLL
        for (int i = 0; i < HALF_SUBS; i++) {
            m[i] = vreinterpretq_u8_s8(sub_minimum(form.type, s, HALF_SUBS * half + i));
        }
        UNROLL
        for (int i = 0; i < HALF_SUBS / 2; i++) {
            rows[0].val[i] = vreinterpretq_u16_u8(vzip1q_u8(m[2 * i], m[2 * i + 1]));
            rows[1].val[i] = vreinterpretq_u16_u8(vzip2q_u8(m[2 * i], m[2 * i + 1]));
        }
        vst4q_u16((uint16_t *)(void *)out->minimum[half][0], rows[0]);
        vst4q_u16((uint16_t *)(void *)out->minimum[half][8], rows[1]);
    }
}

TEMPLATE void read_numbers(struct q256_form form, const uint8_t *s, struct q256_numbers *out)
{
    UNROLL
    for (int r = 0; r < QUARTERS; r++) {
        float32x4_t d = load_halves(s + PACK_D + 8 * r);
        vst1q_f32(out->d + 4 * r, form.type == QUANT_Q3_K ? vnegq_f32(d) : d);
        if (form.minimum) {
            vst1q_f32(out->m + 4 * r, load_halves(s + PACK_M + 8 * r));
        }
    }
    if (form.minimum) {
        read_minima(form, s, out);
    }
    UNROLL
    for (int i = 0; i < PACK_SUPER / form.sub_items; i++) {
        int8x16_t x = sub_scale(form.type, s, i);
        if (is_scaled(form)) {
            vst1q_s8(out->bytes[i], form.type == QUANT_Q3_K ? vnegq_s8(x) : x);
            continue;
        }
        int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
        vst1q_s32(out->sub[i], vmovl_s16(vget_low_s16(low)));
        vst1q_s32(out->sub[i] + 4, vmovl_high_s16(low));
        vst1q_s32(out->sub[i] + 8, vmovl_s16(vget_low_s16(high)));
        vst1q_s32(out->sub[i] + 12, vmovl_high_s16(high));
    }
}

/* Bytes 2 i and 2 i + 1 of x, 8 times each. */
TEMPLATE int8x16_t spread_two(int8x16_t x, int i)
{
    uint8x16_t at = vcombine_u8(vdup_n_u8((uint8_t)(2 * i)), vdup_n_u8((uint8_t)(2 * i + 1)));
    return vqtbl1q_s8(x, at);
}

/* Lines i and i + 1 of unit u, quarter r, ready for smmla; `unit`: where the unit's lines lie. */
TEMPLATE void q256_row_pairs(struct q256_form form, const struct q256_numbers *numbers,
                             const uint8_t *unit, int u, int i, int r, int8x16_t out[ROW_PAIRS])
{
    if (form.lines.bytes) { /* of a panel: (pair of lines, quarter, row pair) */
        const int8_t *line = (const int8_t *)unit + i * PACK_LINE + 2 * r * QUARTER_LINE;
        out[0] = vld1q_s8(line);
        out[1] = vld1q_s8(line + QUARTER_LINE);
        return;
    }
    unit_row_pairs(form.lines, form.zero_shift, unit + r * QUARTER_LINE, i, out);
    if (is_scaled(form)) { /* 4 lines a sub-block */
        int8x16_t scales = vld1q_s8(numbers->bytes[2 * u + i / 4]);
        out[0] = vmulq_s8(out[0], spread_two(scales, 2 * r));
        out[1] = vmulq_s8(out[1], spread_two(scales, 2 * r + 1));
    }
}

TEMPLATE void q256_unpack(const struct matmul_job *job, struct q256_form form,
                          struct matmul_panel *out)
{
    struct q256_numbers *numbers = (void *)out->scales;
    const uint8_t *unit = job->quants;
    int8_t *line = (int8_t *)out->quants;
    read_numbers(form, job->scales, numbers);
    for (int u = 0; u < 8; u++) {
        UNROLL
        for (int i = 0; i < 8; i += 2) {
            UNROLL
            for (int r = 0; r < QUARTERS; r++, line += 2 * QUARTER_LINE) {
                int8x16_t w[ROW_PAIRS];
                q256_row_pairs(form, numbers, unit, u, i, r, w);
                vst1q_s8(line, w[0]);
                vst1q_s8(line + QUARTER_LINE, w[1]);
            }
        }
        unit += unit_lines(form.lines) * PACK_LINE;
    }
}

/* --- products */

/* 4 pairs of n from p on, of which the first `count` exist; the others are 0. */
TEMPLATE int16x8_t load_first(const int16_t *p, int count)
{
    int16_t lanes[8] = {0};
    if (count >= 4) {
        return vld1q_s16(p);
    }
    memcpy(lanes, p, (size_t)count * 2 * sizeof *p);
    return vld1q_s16(lanes);
}

/* n (half, pair of sub-blocks, token, 2): |n| <= 32 * 127 < 64 * 64. */
TEMPLATE void split_sums(struct q256_form form, const int16_t *n, struct q256_sums *out,
                         const int n_tokens)
{
    UNROLL
    for (int half = 0; half < PACK_SUPER / form.sub_items / HALF_SUBS; half++) {
        UNROLL
        for (int t = 0; t < n_tokens; t += 4) {
            int16x4x4_t high, low; /* of 4 tokens, by pairs of sub-blocks */
            UNROLL
            for (int i = 0; i < 4; i++) {
                int16x8_t x = load_first(n + ((half * 4 + i) * n_tokens + t) * 2, n_tokens - t);
                high.val[i] = vreinterpret_s16_s8(vshrn_n_s16(x, 6));
                low.val[i] = vreinterpret_s16_s8(vmovn_s16(vandq_s16(x, vdupq_n_s16(63))));
            }
            vst4_s16((int16_t *)(void *)out->high[half][t], high);
            vst4_s16((int16_t *)(void *)out->low[half][t], low);
        }
    }
}

/* sum += sum over sub-blocks of minimum * part, for quarters from `first` on. */
TEMPLATE void add_minima(struct q256_form form, const struct q256_numbers *numbers,
                         const int8_t part[2][KERN_TILE][HALF_SUBS],
                         int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS], int first, const int n_quarters,
                         const int n_tokens)
{
    UNROLL
    for (int half = 0; half < PACK_SUPER / form.sub_items / HALF_SUBS; half++) {
        int8x16_t w[QUARTERS][ROW_PAIRS];
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            w[r][0] = vld1q_s8(numbers->minimum[half][4 * (first + r)]);
            w[r][1] = vld1q_s8(numbers->minimum[half][4 * (first + r) + 2]);
        }
        add_row_pairs(w, part[half][0], sum, n_quarters, n_tokens);
    }
}

/* sum = sum over sub-blocks of minimum * n. */
TEMPLATE void minimum_sums(struct q256_form form, const struct q256_numbers *numbers,
                           const struct q256_sums *n, int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS],
                           int first, const int n_quarters, const int n_tokens)
{
    clear_sums(sum, n_quarters, n_tokens);
    add_minima(form, numbers, n->high, sum, first, n_quarters, n_tokens);
    UNROLL
    for (int p = 0; p < pairs_of(n_tokens); p++) {
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            sum[p][r][0] = vshlq_n_s32(sum[p][r][0], 6);
            sum[p][r][1] = vshlq_n_s32(sum[p][r][1], 6);
        }
    }
    add_minima(form, numbers, n->low, sum, first, n_quarters, n_tokens);
}

/* sum += sub-scale * sub. */
TEMPLATE void fold_sub(const int32_t *scales, int32x4_t sub[PAIRS][QUARTERS][ROW_PAIRS],
                       int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS], const int n_quarters,
                       const int n_tokens)
{
    UNROLL
    for (int r = 0; r < n_quarters; r++) {
        int32x4_t rows = vld1q_s32(scales + 4 * r);
        UNROLL
        for (int h = 0; h < ROW_PAIRS; h++) {
            int32x4_t scale = row_numbers(rows, h);
            UNROLL
            for (int p = 0; p < pairs_of(n_tokens); p++) {
                sum[p][r][h] = vmlaq_s32(sum[p][r][h], sub[p][r][h], scale);
            }
        }
    }
}

/* sum = the integer sums of a super-block or panel. */
TEMPLATE void pair_sums(const struct matmul_job *job, struct q256_form form,
                        const struct q256_super *super, int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS],
                        int first, const int n_quarters, const int n_tokens)
{
    const int sub_lines = form.sub_items / 4, n_sub = 8 / sub_lines;
    const int n_lines = unit_lines(form.lines);
    const uint8_t *unit = super->quants;
    const int8_t *q = super->a.q;
    clear_sums(sum, n_quarters, n_tokens);
    for (int u = 0; u < 8; u++, unit += n_lines * PACK_LINE) {
        if (!form.lines.bytes && first == 0) {
            matmul_prefetch(job, unit, n_lines, 0, n_tokens);
        }
        UNROLL
        for (int s = 0; s < n_sub; s++) {
            int32x4_t sub[PAIRS][QUARTERS][ROW_PAIRS];
            clear_sums(sub, n_quarters, n_tokens);
            UNROLL
            for (int i = s * sub_lines; i < (s + 1) * sub_lines; i += 2) {
                int8x16_t w[QUARTERS][ROW_PAIRS];
                UNROLL
                for (int r = 0; r < n_quarters; r++) {
                    q256_row_pairs(form, super->numbers, unit, u, i, first + r, w[r]);
                }
                add_row_pairs(w, q, is_scaled(form) ? sum : sub, n_quarters, n_tokens);
                q += 8 * n_tokens;
                FORGET_POINTER(q);
            }
            if (!is_scaled(form)) {
                const int32_t *scales = super->numbers->sub[u * n_sub + s] + 4 * first;
                fold_sub(scales, sub, sum, n_quarters, n_tokens);
            }
        }
    }
}

/* y of quarters plus scale * sum. */
TEMPLATE void fold_pairs(const float *scales, const float *d,
                         int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS], float *y, const int n_quarters,
                         const int n_tokens)
{
    FORGET_POINTER(d);
    UNROLL
    for (int r = 0; r < n_quarters; r++) {
        float32x4_t w = vld1q_f32(scales + 4 * r);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            const int32x4_t *x = sum[t / 2][r];
            int32x4_t rows = t % 2 ? vuzp2q_s32(x[0], x[1]) : vuzp1q_s32(x[0], x[1]);
            float *to = y + t * PACK_ROWS + 4 * r;
            vst1q_f32(to, vfmaq_f32(vld1q_f32(to), vmulq_n_f32(w, d[t]), vcvtq_f32_s32(rows)));
        }
    }
}

/* y (n_tokens, 16) plus the product of a super-block or panel. */
TEMPLATE void add_super(const struct matmul_job *job, struct q256_form form,
                        const struct q256_super *super, float *y, const int n_tokens)
{
    const int n_quarters = pair_quarters(n_tokens);
    const struct q256_numbers *numbers = super->numbers;
    struct q256_sums n;
    if (form.minimum) {
        split_sums(form, super->a.n, &n, n_tokens);
    }
    for (int first = 0; first < QUARTERS; first += n_quarters, y += 4 * n_quarters) {
        int32x4_t sum[PAIRS][QUARTERS][ROW_PAIRS];
        pair_sums(job, form, super, sum, first, n_quarters, n_tokens);
        fold_pairs(numbers->d + 4 * first, super->a.d, sum, y, n_quarters, n_tokens);
        if (form.minimum) { /* as in q256_tile: y is never -0 */
            minimum_sums(form, numbers, &n, sum, first, n_quarters, n_tokens);
            fold_pairs(numbers->m + 4 * first, super->a.d, sum, y, n_quarters, n_tokens);
        }
    }
}

TEMPLATE void q256_pair_tile(const struct matmul_job *job, struct q256_form form,
                             const int n_groups, const int n_tokens)
{
    if (n_tokens <= SDOT_TOKENS) {
        q256_tile(job, form, n_groups, n_tokens);
        return;
    }
    const uint8_t *scales = job->scales;
    struct q256_numbers numbers;
    struct q256_super super = {&numbers, job->quants, q256_first_act(job, form)};
    float y[KERN_TILE][PACK_ROWS] = {0};
    float32x4_t f[KERN_TILE][QUARTERS];
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        read_numbers(form, scales, &numbers);
        add_super(job, form, &super, y[0], n_tokens);
        scales += form.scale_bytes;
        super.quants += 8 * unit_lines(form.lines) * PACK_LINE;
        super.a.q += job->tile.q_step;
        super.a.d += n_tokens;
        super.a.n += PACK_SUPER / form.sub_items * n_tokens;
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        UNROLL
        for (int r = 0; r < QUARTERS; r++) {
            f[t][r] = vld1q_f32(y[t] + 4 * r);
        }
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

TEMPLATE void q256_panel(const struct matmul_job *job, struct q256_form form, const int n_tokens)
{
    struct q256_super super = {(const void *)job->scales, job->quants, q256_first_act(job, form)};
    form.lines.bytes = true;
    add_super(job, form, &super, job->y, n_tokens);
}

#define Q256_SLOT(NAME, TYPE, FORM)                                                                \
    Q256_UNPACK(NAME, FORM)                                                                        \
    FOR_TOKENS(Q256_PANEL, NAME, FORM)                                                             \
    MATMUL_SLOT(NAME, q256_pair_tile, FORM, .panel = {LIST_TOKENS(NAME##_panel_)},                 \
                .unpack = NAME##_unpack, .panel_min = KERN_TILE + 1)
Q256_K_TYPES(Q256_SLOT)
Q256_IQ4_XS(Q256_SLOT, 0)

void kern_fill_matmul_q256_i8mm(struct kern_table *t)
{
    Q256_K_TYPES(MATMUL_FILL)
    Q256_IQ4_XS(MATMUL_FILL, 0)
}
