/* matmul_q256_avx512.c - AVX-512 VNNI kernels of super-blocks: 256 items, integer sub-scales.
 *
 * The integer sum of a super-block is exact, so a kernel may find it its own way: sub-blocks are
 * summed by byte products and folded with vpmulld; zeros and minima are sums of sub-scale * (sum of
 * qa), 16-bit pair products. Prompts go through panels (matmul.h). */
#include "kern/matmul_avx512.h"
#include "kern/matmul_q256.h"

/* Numbers of one super-block, ready for the products; line i is one number a row. */
struct q256_scales {
    __m512i sub[16]; /* sub-scales, int32 */
    __m512i pair[8]; /* what is multiplied with n16 or n32: 16-bit pairs */
    __m512 d, m;
};
static_assert(sizeof(struct q256_scales) <= sizeof((struct matmul_panel){0}.scales), "");

/* 16 unsigned or signed bytes as int32. */
TEMPLATE __m512i widen_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}

TEMPLATE __m512i widen_i8(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}

/* low & 15 | (high shifted by `shift`: right, or left when negative) & 48 */
TEMPLATE __m512i six_bits(__m512i low, int low_shift, __m512i high, int high_shift)
{
    __m512i q = _mm512_and_si512(shift_right_16(low, low_shift), _mm512_set1_epi8(15));
    return _mm512_ternarylogic_epi32(shift_right_16(high, high_shift), _mm512_set1_epi8(48), q,
                                     0xEA);
}

/* Bytes of sub-scales and of minima, [n][16], from the packed scales of a super-block. */
TEMPLATE void unpack_sub(enum quant_type type, const uint8_t *s, uint8_t sub[256],
                         uint8_t minimum[256])
{
    const __m512i nibble = _mm512_set1_epi8(15), bias = _mm512_set1_epi8(32);
    if (type == QUANT_Q2_K) {
        UNROLL
        for (int i = 0; i < 4; i++) {
            __m512i both = load_line(s + PACK_Q2_K_SUB + 64 * i);
            _mm512_storeu_si512(sub + 64 * i, _mm512_and_si512(both, nibble));
            _mm512_storeu_si512(minimum + 64 * i,
                                _mm512_and_si512(shift_right_16(both, 4), nibble));
        }
    } else if (type == QUANT_Q3_K) {
        __m512i high = load_line(s + PACK_Q3_K_HIGH);
        UNROLL
        for (int i = 0; i < 4; i++) {
            __m512i low = load_line(s + PACK_Q3_K_LOW + 64 * (i % 2));
            __m512i six = six_bits(low, 4 * (i / 2), high, 2 * i - 4);
            _mm512_storeu_si512(sub + 64 * i, _mm512_sub_epi8(six, bias));
        }
    } else if (type == QUANT_Q4_K || type == QUANT_Q5_K) {
        __m512i high = load_line(s + PACK_Q45_K_HIGH);
        UNROLL
        for (int i = 0; i < 2; i++) {
            __m512i low = load_line(s + PACK_Q45_K_LOW + 64 * i);
            _mm512_storeu_si512(sub + 64 * i, six_bits(low, 0, high, 4 * i - 4));
            _mm512_storeu_si512(minimum + 64 * i, six_bits(low, 4, high, 4 * i - 2));
        }
    } else { /* IQ4_XS: halves of `high` are lines i and i + 1, shifted on by 2 for each further */
        __m512i low = load_line(s + PACK_IQ4_XS_LOW);
        __m512i high =
            _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(s + PACK_IQ4_XS_HIGH)));
        high = _mm512_mask_blend_epi64(0xF0, high, shift_right_16(high, 2));
        UNROLL
        for (int i = 0; i < 2; i++) {
            __m512i six = six_bits(low, 4 * i, high, 4 * i - 4);
            _mm512_storeu_si512(sub + 64 * i, _mm512_sub_epi8(six, bias));
        }
    }
}

TEMPLATE void read_scales(struct q256_form form, const uint8_t *s, struct q256_scales *out)
{
    uint8_t sub_bytes[256], minimum_bytes[256];
    const uint8_t *sub = sub_bytes, *pairs = form.minimum ? minimum_bytes : sub_bytes;
    const int n_sub = form.sub_items == 16 ? 16 : 8;
    bool is_signed = !form.minimum;
    out->d = load_halves(s + PACK_D);
    if (form.minimum) {
        out->m = load_halves(s + PACK_M);
    }
    if (form.type == QUANT_Q6_K) {
        sub = pairs = s + PACK_Q6_K_SUB;
    } else {
        unpack_sub(form.type, s, sub_bytes, minimum_bytes);
    }
    UNROLL
    for (int i = 0; i < n_sub; i++) {
        out->sub[i] = is_signed ? widen_i8(sub + 16 * i) : widen_u8(sub + 16 * i);
    }
    UNROLL
    for (int i = 0; i < n_sub / 2; i++) {
        __m512i even = is_signed ? widen_i8(pairs + 32 * i) : widen_u8(pairs + 32 * i);
        __m512i odd = is_signed ? widen_i8(pairs + 32 * i + 16) : widen_u8(pairs + 32 * i + 16);
        /* words 0, 2, .. of even, words 1, 3, .. from odd */
        out->pair[i] = _mm512_mask_blend_epi16(0xAAAAAAAA, even, shift_left_32(odd, 16));
    }
}

/* sum of pair * n per token: minus the minima's or the zeros' sum over the super-block. */
TEMPLATE __m512i pair_sum(struct q256_form form, const struct q256_scales *scales, const int16_t *n,
                          int t, const int n_tokens)
{
    const int n_pairs = form.sub_items == 16 ? 8 : 4;
    __m512i sum = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < n_pairs; i++) {
        sum = dot_words(sum, scales->pair[i], n + (i * n_tokens + t) * 2);
    }
    return sum;
}

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

/* Asks for the activations of a unit of the next tile of a panel. */
TEMPLATE void prefetch_next_tile(const struct matmul_job *job, const int8_t *q, const int n_tokens)
{
    if (job->next_act == 0) {
        return;
    }
    UNROLL
    for (int i = 0; i < n_tokens / 2; i++) {
        __builtin_prefetch(q + job->next_act + i * PACK_LINE, 0, 3);
    }
}

/* (float)isum of a super-block for every token. */
TEMPLATE void super_sums(const struct matmul_job *job, struct q256_form form,
                         const struct q256_scales *scales, const uint8_t *unit,
                         const struct q256_act *a, __m512 *sum, const int n_tokens)
{
    const int n_lines = unit_lines(form.lines);
    const int sub_lines = form.sub_items / 4, n_sub = 8 / sub_lines;
    const int8_t *q = a->q;
    __m512i isum[KERN_TILE];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        isum[t] = form.zero_shift > 0
                      ? shift_left_32(pair_sum(form, scales, a->n, t, n_tokens), form.zero_shift)
                      : _mm512_setzero_si512();
    }
    for (int u = 0; u < 8; u++) {
        matmul_prefetch(job, unit, n_lines, 0, n_tokens);
        prefetch_next_tile(job, q, n_tokens);
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
            __m512i scale = scales->sub[u * n_sub + h];
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

/* f plus the product of a super-block, of token t. */
TEMPLATE __m512 add_super(struct q256_form form, const struct q256_scales *scales,
                          const struct q256_act *a, __m512 f, __m512 sum, int t, const int n_tokens)
{
    __m512 da = _mm512_set1_ps(a->d[t]);
    f = _mm512_fmadd_ps(_mm512_mul_ps(scales->d, da), sum, f);
    if (form.minimum) {
        /* (dminw * da) * -msum has the bits of -(dminw * da) * msum: f is never -0 here, as
         * products of a multiple of 2^-149 and an integer do not underflow */
        __m512 msum = _mm512_cvtepi32_ps(pair_sum(form, scales, a->n, t, n_tokens));
        f = _mm512_fmadd_ps(_mm512_mul_ps(scales->m, da), msum, f);
    }
    return f;
}

TEMPLATE void q256_tile(const struct matmul_job *job, struct q256_form form, const int n_groups,
                        const int n_tokens)
{
    const uint8_t *scales = job->scales, *quants = job->quants;
    struct q256_act a = q256_first_act(job, form);
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
        super_sums(job, form, now, quants, &a, sum, n_tokens);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            f[t] = add_super(form, now, &a, f[t], sum[t], t, n_tokens);
        }
        scales += form.scale_bytes;
        quants += 8 * unit_lines(form.lines) * PACK_LINE;
        a.q += PACK_SUPER * n_tokens;
        a.d += n_tokens;
        a.n += PACK_SUPER / form.sub_items * n_tokens;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

/* ---- panels ---- */

TEMPLATE void q256_unpack(const struct matmul_job *job, struct q256_form form,
                          struct matmul_panel *out)
{
    const int n_lines = unit_lines(form.lines);
    const uint8_t *unit = job->quants;
    uint8_t *line = out->quants;
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
    struct q256_act a = q256_first_act(job, form);
    const struct q256_scales *scales = (const void *)job->scales;
    __m512 sum[KERN_TILE];
    super_sums(job, form, scales, job->quants, &a, sum, n_tokens);
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        float *y = job->y + t * PACK_ROWS;
        _mm512_store_ps(y, add_super(form, scales, &a, _mm512_load_ps(y), sum[t], t, n_tokens));
    }
}

#define Q256_SLOT(NAME, TYPE, FORM)                                                                \
    Q256_UNPACK(NAME, FORM)                                                                        \
    FOR_TOKENS(Q256_PANEL, NAME, FORM)                                                             \
    MATMUL_SLOT(NAME, q256_tile, FORM, .panel = {LIST_TOKENS(NAME##_panel_)},                      \
                .unpack = NAME##_unpack, .panel_min = MATMUL_PANEL_MIN)
Q256_K_TYPES(Q256_SLOT)
/* Unpacking is two instructions a line; panels gained nothing. */
#define IQ4_XS_SLOT(NAME, TYPE, FORM) MATMUL_SLOT(NAME, q256_tile, FORM, .wide = {NULL})
Q256_IQ4_XS(IQ4_XS_SLOT, 7)

void kern_fill_matmul_q256_avx512(struct kern_table *t)
{
    Q256_K_TYPES(MATMUL_FILL)
    Q256_IQ4_XS(MATMUL_FILL, 7)
}
