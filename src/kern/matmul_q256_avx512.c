/* matmul_q256_avx512.c - AVX-512 VNNI kernels of super-blocks: 256 items, integer sub-scales.
 *
 * The integer sum of a super-block is exact, so every kernel may find it its own way:
 *   - sub-blocks are summed by byte products and folded with vpmulld (Q5_K, Q6_K, IQ4_XS);
 *   - Q4_K folds in f32: a sub-block times its scale is at most 15 * 127 * 32 * 63 = 3.85e6, four of
 *     them 15.4e6 < 2^24, so a half of 128 items is an exact f32 integer, and the sum of the two
 *     halves rounds once, as the conversion of the int32 would. Two instructions instead of three.
 *   - Zeros and minima are sums of sub-scale * (sum of qa): 16-bit pair products. */
#include "kern/matmul_avx512.h"

/* How the sub-block sums become the sum of the super-block. */
enum fold { FOLD_INT, FOLD_FLOAT };

struct q256_form {
    struct line_form lines;
    enum quant_type type;
    int scale_bytes;
    int sub_items; /* 16 or 32 */
    enum fold fold;
    int zero_shift; /* zero = 1 << zero_shift; 0: the type has none */
    bool minimum;
};

/* Numbers of one super-block, ready for the products; line i is one number a row. */
struct q256_scales {
    __m512i sub[16]; /* sub-scales: int32, or f32 with FOLD_FLOAT */
    __m512i pair[8]; /* what is multiplied with n16 or n32: 16-bit pairs */
};

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
    if (form.type == QUANT_Q6_K) {
        sub = pairs = s + PACK_Q6_K_SUB;
    } else {
        unpack_sub(form.type, s, sub_bytes, minimum_bytes);
    }
    UNROLL
    for (int i = 0; i < n_sub; i++) {
        __m512i wide = is_signed ? widen_i8(sub + 16 * i) : widen_u8(sub + 16 * i);
        out->sub[i] =
            form.fold == FOLD_FLOAT ? _mm512_castps_si512(_mm512_cvtepi32_ps(wide)) : wide;
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

/* (float)isum of a super-block for every token. */
TEMPLATE void super_sums_int(struct q256_form form, const struct matmul_job *job,
                             const uint8_t *unit, const int8_t *q, const struct q256_scales *scales,
                             __m512i *isum, const int n_tokens)
{
    const int sub_lines = form.sub_items / 4, n_sub = 8 / sub_lines;
    const int n_lines = form.lines.low_bits + form.lines.high_bits;
    for (int u = 0; u < 8; u++) {
        matmul_prefetch(job, unit, n_lines, n_tokens);
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
                    acc[t] = dot_bytes(acc[t], w, q + (i * n_tokens + t) * 4);
                }
            }
            __m512i scale = scales->sub[u * n_sub + h];
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(acc[t], scale));
            }
        }
        unit += n_lines * PACK_LINE;
        q += 32 * n_tokens;
    }
}

/* The same in f32, sub-blocks of 32. */
TEMPLATE void super_sums_float(struct q256_form form, const struct matmul_job *job,
                               const uint8_t *unit, const int8_t *q,
                               const struct q256_scales *scales, __m512 *sum, const int n_tokens)
{
    const int n_lines = form.lines.low_bits + form.lines.high_bits;
    for (int half = 0; half < 2; half++) {
        __m512 g[KERN_TILE];
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            g[t] = _mm512_setzero_ps();
        }
        for (int u = 4 * half; u < 4 * half + 4; u++) {
            matmul_prefetch(job, unit, n_lines, n_tokens);
            __m512i acc[KERN_TILE];
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                acc[t] = _mm512_setzero_si512();
            }
            UNROLL
            for (int i = 0; i < 8; i++) {
                __m512i w = unit_line(form.lines, unit, i);
                UNROLL
                for (int t = 0; t < n_tokens; t++) {
                    acc[t] = dot_bytes(acc[t], w, q + (i * n_tokens + t) * 4);
                }
            }
            __m512 scale = _mm512_castsi512_ps(scales->sub[u]);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                g[t] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(acc[t]), g[t]);
            }
            unit += n_lines * PACK_LINE;
            q += 32 * n_tokens;
        }
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            sum[t] = _mm512_add_ps(sum[t], g[t]);
        }
    }
}

TEMPLATE void q256_tile(const struct matmul_job *job, struct q256_form form, const int n_groups,
                        const int n_tokens)
{
    const uint8_t *scales = job->scales, *quants = job->quants;
    const int8_t *q = job->tile.q;
    const float *d = job->tile.d;
    const int16_t *n = form.sub_items == 16 ? job->tile.n16 : job->tile.n32;
    __m512 f[KERN_TILE];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t] = _mm512_setzero_ps();
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        struct q256_scales numbers;
        __m512 sum[KERN_TILE];
        read_scales(form, scales, &numbers);
        if (form.fold == FOLD_FLOAT) {
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                sum[t] = _mm512_setzero_ps();
            }
            super_sums_float(form, job, quants, q, &numbers, sum, n_tokens);
        } else {
            __m512i isum[KERN_TILE];
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                isum[t] =
                    form.zero_shift > 0
                        ? shift_left_32(pair_sum(form, &numbers, n, t, n_tokens), form.zero_shift)
                        : _mm512_setzero_si512();
            }
            super_sums_int(form, job, quants, q, &numbers, isum, n_tokens);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                sum[t] = _mm512_cvtepi32_ps(isum[t]);
            }
        }
        __m512 dw = load_halves(scales + PACK_D);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            f[t] = _mm512_fmadd_ps(_mm512_mul_ps(dw, _mm512_set1_ps(d[t])), sum[t], f[t]);
        }
        if (form.minimum) {
            /* (dminw * da) * -msum has the bits of -(dminw * da) * msum: f is never -0 here, as
             * products of a multiple of 2^-149 and an integer do not underflow */
            __m512 mw = load_halves(scales + PACK_M);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                __m512 msum = _mm512_cvtepi32_ps(pair_sum(form, &numbers, n, t, n_tokens));
                f[t] = _mm512_fmadd_ps(_mm512_mul_ps(mw, _mm512_set1_ps(d[t])), msum, f[t]);
            }
        }
        scales += form.scale_bytes;
        quants += 8 * (form.lines.low_bits + form.lines.high_bits) * PACK_LINE;
        q += PACK_SUPER * n_tokens;
        d += n_tokens;
        n += PACK_SUPER / form.sub_items * n_tokens;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

#define Q256_FORM(TYPE, SCALE_BYTES, LOW, HIGH, TABLE, SUB_ITEMS, FOLD, ZERO_SHIFT, MINIMUM)       \
    ((struct q256_form){                                                                           \
        {LOW, HIGH, TABLE}, TYPE, SCALE_BYTES, SUB_ITEMS, FOLD, ZERO_SHIFT, MINIMUM})

MATMUL_SLOT(q2_k, q256_tile, Q256_FORM(QUANT_Q2_K, 320, 2, 0, false, 16, FOLD_INT, 0, true), NULL)
MATMUL_SLOT(q3_k, q256_tile, Q256_FORM(QUANT_Q3_K, 224, 2, 1, false, 16, FOLD_INT, 2, false), NULL)
MATMUL_SLOT(q4_k, q256_tile, Q256_FORM(QUANT_Q4_K, 256, 4, 0, false, 32, FOLD_FLOAT, 0, true), NULL)
MATMUL_SLOT(q5_k, q256_tile, Q256_FORM(QUANT_Q5_K, 256, 4, 1, false, 32, FOLD_INT, 0, true), NULL)
MATMUL_SLOT(q6_k, q256_tile, Q256_FORM(QUANT_Q6_K, 288, 4, 2, false, 16, FOLD_INT, 5, false), NULL)
MATMUL_SLOT(iq4_xs, q256_tile, Q256_FORM(QUANT_IQ4_XS, 128, 4, 0, true, 32, FOLD_INT, 7, false),
            NULL)

void kern_fill_matmul_q256_avx512(struct kern_table *t)
{
    t->matmul[QUANT_Q2_K] = matmul_q2_k;
    t->matmul[QUANT_Q3_K] = matmul_q3_k;
    t->matmul[QUANT_Q4_K] = matmul_q4_k;
    t->matmul[QUANT_Q5_K] = matmul_q5_k;
    t->matmul[QUANT_Q6_K] = matmul_q6_k;
    t->matmul[QUANT_IQ4_XS] = matmul_iq4_xs;
}
