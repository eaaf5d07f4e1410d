/* matmul_q256_avx512.c - AVX-512 VNNI kernels of super-blocks: 256 items, integer sub-scales.
 *
 * The integer sum of a super-block is exact, so a kernel may find it its own way. Sub-blocks are
 * summed by byte products. All multiplications share two of Zen 4's pipes, so that each one less
 * counts: where two sums are sure to have 16 bits, they lie in one register and are folded by a
 * product of 16-bit pairs, else each by a vpmulld. Zeros go into sums before they are folded, or
 * are, as minima are, sums of sub-scale * (sum of qa). Prompts go through panels (matmul.h). */
#include "kern/matmul_q256_avx512.h"

/* isum + acc * scale; acc is used up. With a fold every four lines gcc 12 would compute the folds
 * of a unit together, for which it lacks registers: then in assembly, which stays in its place. */
TEMPLATE __m512i fold(__m512i isum, __m512i acc, __m512i scale, int sub_items)
{
    if (sub_items == 32) {
        return _mm512_add_epi32(isum, _mm512_mullo_epi32(acc, scale));
    }
    __asm__ volatile("vpmulld %2, %0, %0\n\tvpaddd %0, %1, %1"
                     : "+v"(acc), "+v"(isum)
                     : "v"(scale));
    return isum;
}

/* Asks for the activations of a unit of the tile's next super-block, which lies behind other tiles.
 * A panel reads tiles as they lie: there the CPU's own prefetchers are enough, and the instructions
 * cost 1 to 2 %. */
TEMPLATE void prefetch_act(const struct matmul_job *job, struct q256_form form, const int8_t *q,
                           const int n_tokens)
{
    if (form.lines.bytes || job->next_act == 0) {
        return;
    }
    UNROLL
    for (int i = 0; i < n_tokens / 2; i++) {
        __builtin_prefetch(q + job->next_act + i * PACK_LINE, 0, 3);
    }
}

/* --- sums of 16 bits ---
 *
 * One register takes the products of two sub-blocks, the odd one's first: shifted up by 16 bits,
 * they make room for the even one's. BIAS keeps what is added from borrowing of the upper half, and
 * one xor takes it off again. Where a type has a zero, sums begin with -zero * (sum of qa). */

enum { BIAS = 0x8000 };

/* The largest sum of |qa| over 16 items with which the sum of a sub-block has 16 bits: no bound for
 * 16 items of 2 and 3 bits, 15 * 2 * 1092 for 32 of Q4_K, 32 * 1023 for 16 of Q6_K. 0: the type's
 * sums seldom fit. */
TEMPLATE int small_enough(enum quant_type type)
{
    return type == QUANT_Q2_K || type == QUANT_Q3_K ? 16 * 127
           : type == QUANT_Q4_K                     ? 1092
           : type == QUANT_Q6_K                     ? 1023
                                                    : 0;
}

TEMPLATE bool is_small(struct q256_form form, const uint16_t *most16, const int n_tokens)
{
    if (small_enough(form.type) == 16 * 127) {
        return true;
    }
    __m256i most = _mm256_maskz_loadu_epi16((__mmask16)((1u << n_tokens) - 1), most16);
    return _mm256_cmpgt_epu16_mask(most, _mm256_set1_epi16((short)small_enough(form.type))) == 0;
}

/* What the sums of pairs of sub-blocks begin with, [pair][token]; of `odd` the upper halves are
 * anything, as they are shifted out. */
struct q256_zeros {
    _Alignas(PACK_LINE) int32_t odd[8 * KERN_TILE], even[8 * KERN_TILE];
};

TEMPLATE void find_zeros(struct q256_form form, const int16_t *n16, struct q256_zeros *out,
                         const int n_tokens)
{
    const __m512i low_half = _mm512_set1_epi32(0xFFFF), bias = _mm512_set1_epi32(BIAS);
    UNROLL
    for (int i = 0; i < 8 * n_tokens; i += 16) {
        __mmask16 there = 8 * n_tokens - i < 16 ? 0xFF : 0xFFFF;
        __m512i pairs = _mm512_maskz_loadu_epi32(there, n16 + 2 * i);
        __m512i even = _mm512_and_si512(shift_left_32(pairs, form.zero_shift), low_half);
        __m512i odd = shift_left_32(_mm512_srai_epi32(pairs, 16), form.zero_shift);
        _mm512_mask_storeu_epi32(out->even + i, there, _mm512_xor_si512(even, bias));
        _mm512_mask_storeu_epi32(out->odd + i, there, odd);
    }
}

/* Products of an odd sub-block make room for those of an even one. */
TEMPLATE __m512i make_room(__m512i acc, const int32_t *even)
{
    __asm__ volatile("vpslld $16, %0, %0\n\tvpaddd %1%{1to16%}, %0, %0"
                     : "+v"(acc)
                     : "m"(*(const matmul_word *)even));
    return acc;
}

/* isum + acc's halves * scales. */
TEMPLATE __m512i fold_pair(__m512i isum, __m512i acc, __m512i bias, __m512i scales)
{
    __asm__ volatile("vpxord %2, %0, %0\n\tvpdpwssd %3, %0, %1"
                     : "+&v"(acc), "+v"(isum)
                     : "v"(bias), "v"(scales));
    return isum;
}

/* acc + the products of one sub-block, which begins at the unit or in its middle. */
TEMPLATE void add_products(struct q256_form form, const uint8_t *unit, const int8_t *q, int first,
                           __m512i *acc, const int n_tokens)
{
    UNROLL
    for (int i = first; i < first + form.sub_items / 4; i++) {
        __m512i w = unit_line(form.lines, unit, i);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            acc[t] = dot_bytes(acc[t], w, q + matmul_act_at(i, t, n_tokens));
        }
    }
}

/* (float)isum of a super-block for every token, where is_small(). */
TEMPLATE void small_sums(const struct matmul_job *job, struct q256_form form,
                         const struct q256_scales *scales, const uint8_t *unit,
                         const struct q256_act *a, __m512 *sum, const int n_tokens)
{
    const bool has_zero = form.zero_shift > 0;
    const int pair_units = form.sub_items / 16, n_pairs = 8 / pair_units;
    const size_t unit_bytes = (size_t)unit_lines(form.lines) * PACK_LINE;
    const int8_t *q = a->q;
    const int32_t bias_word = BIAS;
    __m512i isum[KERN_TILE], bias = _mm512_set1_epi32(BIAS);
    struct q256_zeros zeros;
    if (has_zero) {
        find_zeros(form, a->n, &zeros, n_tokens);
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        isum[t] = _mm512_setzero_si512();
    }
    for (int pair = 0; pair < n_pairs; pair++) {
        const uint8_t *last = unit + (pair_units - 1) * unit_bytes;
        const int8_t *last_q = q + (pair_units - 1) * 32 * n_tokens;
        __m512i acc[KERN_TILE];
        matmul_prefetch(job, unit, unit_lines(form.lines), 0, n_tokens);
        prefetch_act(job, form, q, n_tokens);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            acc[t] = has_zero ? _mm512_set1_epi32(zeros.odd[pair * n_tokens + t])
                              : _mm512_setzero_si512();
        }
        add_products(form, last, last_q, form.sub_items == 16 ? 4 : 0, acc, n_tokens);
        if (pair_units > 1) {
            matmul_prefetch(job, last, unit_lines(form.lines), 0, n_tokens);
            prefetch_act(job, form, last_q, n_tokens);
        }
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            acc[t] = make_room(acc[t], has_zero ? &zeros.even[pair * n_tokens + t] : &bias_word);
        }
        add_products(form, unit, q, 0, acc, n_tokens);
        __m512i scale = sub_pair(form, scales, pair);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            isum[t] = fold_pair(isum[t], acc[t], bias, scale);
        }
        unit = last + unit_bytes;
        q = last_q + 32 * n_tokens;
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        sum[t] = _mm512_cvtepi32_ps(isum[t]);
    }
}

/* --- sums of any size --- */

/* (float)isum of a super-block for every token. */
TEMPLATE void any_sums(const struct matmul_job *job, struct q256_form form,
                       const struct q256_scales *scales, const uint8_t *unit,
                       const struct q256_act *a, __m512 *sum, const int n_tokens)
{
    const int n_lines = unit_lines(form.lines);
    const int sub_lines = form.sub_items / 4, n_sub = 8 / sub_lines;
    const int8_t *q = a->q;
    __m512i isum[KERN_TILE];
    if (form.zero_shift > 0) {
        pair_sums(form, scales, a->n, isum, n_tokens);
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        isum[t] =
            form.zero_shift > 0 ? shift_left_32(isum[t], form.zero_shift) : _mm512_setzero_si512();
    }
    for (int u = 0; u < 8; u++) {
        matmul_prefetch(job, unit, n_lines, 0, n_tokens);
        prefetch_act(job, form, q, n_tokens);
        UNROLL
        for (int h = 0; h < n_sub; h++) {
            __m512i acc[KERN_TILE];
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                acc[t] = _mm512_setzero_si512();
            }
            UNROLL
            for (int i = h * sub_lines; i < (h + 1) * sub_lines; i++) {
                __m512i w = unit_line(form.lines, unit, i);
                UNROLL
                for (int t = 0; t < n_tokens; t++) {
                    acc[t] = dot_bytes(acc[t], w, q + matmul_act_at(i, t, n_tokens));
                }
            }
            __m512i scale = sub_scale(form, scales, u * n_sub + h);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                isum[t] = fold(isum[t], acc[t], scale, form.sub_items);
            }
        }
        unit += n_lines * PACK_LINE;
        q += 32 * n_tokens;
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        sum[t] = _mm512_cvtepi32_ps(isum[t]);
    }
}

TEMPLATE void super_sums(const struct matmul_job *job, struct q256_form form,
                         const struct q256_scales *scales, const uint8_t *unit,
                         const struct q256_act *a, __m512 *sum, const int n_tokens)
{
    if (form.pairs && is_small(form, a->most16, n_tokens)) {
        small_sums(job, form, scales, unit, a, sum, n_tokens);
    } else {
        any_sums(job, form, scales, unit, a, sum, n_tokens);
    }
}

/* sum of sub-minimum * -(sum of qa) of every token; 0 without minima. */
TEMPLATE void minimum_sums(struct q256_form form, const struct q256_scales *scales,
                           const struct q256_act *a, __m512i *sum, const int n_tokens)
{
    if (form.minimum) {
        pair_sums(form, scales, a->n, sum, n_tokens);
        return;
    }
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        sum[t] = _mm512_setzero_si512();
    }
}

TEMPLATE void q256_tile(const struct matmul_job *job, struct q256_form form, const int n_groups,
                        const int n_tokens)
{
    const uint8_t *scales = job->scales, *quants = job->quants;
    struct q256_act a = q256_first_act(job, form);
    /* few tokens wait for memory or for unpacking */
    form.pairs = small_enough(form.type) > 0 && n_tokens > 4;
    __m512 f[KERN_TILE];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t] = _mm512_setzero_ps();
    }
    /* Beside many tokens the numbers of the next super-block are unpacked before the products of
     * this one, which then do not wait for them: 2 %. Of few they stay in registers. */
    const bool is_ahead = form.sub_items == 32 && n_tokens > 4;
    struct q256_scales numbers[2];
    if (is_ahead) {
        read_scales(form, scales, &numbers[0]);
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        const struct q256_scales *now = &numbers[is_ahead ? b % 2 : 0];
        matmul_prefetch_scales(job, scales, form.scale_bytes,
                               (form.scale_bytes + PACK_LINE - 1) / PACK_LINE);
        if (!is_ahead) {
            read_scales(form, scales, &numbers[0]);
        } else if (b + 1 < job->n_blocks) {
            read_scales(form, scales + form.scale_bytes, &numbers[(b + 1) % 2]);
        }
        __m512 sum[KERN_TILE];
        __m512i msum[KERN_TILE];
        super_sums(job, form, now, quants, &a, sum, n_tokens);
        minimum_sums(form, now, &a, msum, n_tokens);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            f[t] = add_super(form, now, a.d[t], f[t], sum[t], msum[t]);
        }
        scales += form.scale_bytes;
        quants += 8 * unit_lines(form.lines) * PACK_LINE;
        a.q += job->tile.q_step;
        a.d += n_tokens;
        a.most16 += n_tokens;
        a.n += PACK_SUPER / form.sub_items * n_tokens;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

/* ---- panels ---- */

static_assert(sizeof(struct q256_scales) <= sizeof((struct matmul_panel){0}.scales), "");

TEMPLATE void q256_unpack(const struct matmul_job *job, struct q256_form form,
                          struct matmul_panel *out)
{
    const int n_lines = unit_lines(form.lines);
    const uint8_t *unit = job->quants;
    uint8_t *line = out->quants;
    form.pairs = small_enough(form.type) > 0;
    read_scales(form, job->scales, (struct q256_scales *)(void *)out->scales);
    for (int u = 0; u < 8; u++) {
        UNROLL
        for (int i = 0; i < 8; i++, line += PACK_LINE) {
            _mm512_store_si512(line, unit_line(form.lines, unit, i));
        }
        unit += n_lines * PACK_LINE;
    }
}

TEMPLATE void q256_panel(const struct matmul_job *job, struct q256_form form, const int n_tokens)
{
    form.lines.bytes = true;
    form.pairs = small_enough(form.type) > 0;
    struct q256_act a = q256_first_act(job, form);
    const struct q256_scales *scales = (const void *)job->scales;
    __m512 sum[KERN_TILE];
    __m512i msum[KERN_TILE];
    super_sums(job, form, scales, job->quants, &a, sum, n_tokens);
    minimum_sums(form, scales, &a, msum, n_tokens);
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        float *y = job->y + t * PACK_ROWS;
        _mm512_store_ps(y, add_super(form, scales, a.d[t], _mm512_load_ps(y), sum[t], msum[t]));
    }
}

/* Tokens from which on panels pay: more than 3 tiles. */
enum { PANEL_MIN = 3 * KERN_TILE + 1 };

/* A panel is in the cache: `cold` is a constant here, so that no code for fetching is left. */
#define Q256_PANEL_RUN(NAME, FORM, T)                                                              \
    static void NAME##_panel_##T(const struct matmul_job *job)                                     \
    {                                                                                              \
        struct matmul_job tile = *job;                                                             \
        tile.cold = false;                                                                         \
        for (uint32_t i = 0; i < job->n_tiles; i++) {                                              \
            q256_panel(&tile, FORM, T);                                                            \
            tile.tile = matmul_tile_next(tile.tile);                                               \
            tile.y += T * PACK_ROWS;                                                               \
        }                                                                                          \
    }
#define Q256_SLOT(NAME, TYPE, FORM)                                                                \
    Q256_UNPACK(NAME, FORM)                                                                        \
    FOR_TOKENS(Q256_PANEL_RUN, NAME, FORM)                                                         \
    MATMUL_SLOT(NAME, q256_tile, FORM, .panel = {LIST_TOKENS(NAME##_panel_)},                      \
                .unpack = NAME##_unpack, .panel_min = PANEL_MIN, .panel_runs = true)
Q256_K_TYPES(Q256_SLOT)
/* Unpacking is two instructions a line; panels gained nothing. */
#define IQ4_XS_SLOT(NAME, TYPE, FORM) MATMUL_SLOT(NAME, q256_tile, FORM, .wide = {NULL})
Q256_IQ4_XS(IQ4_XS_SLOT, 7)

void kern_fill_matmul_q256_avx512(struct kern_table *t)
{
    Q256_K_TYPES(MATMUL_FILL)
    Q256_IQ4_XS(MATMUL_FILL, 7)
}
