/* matmul_q256_avx512.h - what the AVX-512 kernels of super-blocks share with those that multiply by
 * tiles: a super-block's numbers unpacked, and its product added. Private to kern/. */
#ifndef KERN_MATMUL_Q256_AVX512_H
#define KERN_MATMUL_Q256_AVX512_H

#include "kern/matmul_avx512.h"
#include "kern/matmul_q256.h"

/* Numbers of one super-block, ready for the products; line i is one number a row. */
struct q256_scales {
    __m512i sub[16]; /* sub-scales, int32; of a form with pairs: [8], with a minimum, else none */
    __m512i pair[8]; /* what is multiplied with n16 or n32: 16-bit pairs */
    __m512 d, m;
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

/* Words 0, 2, .. of 16 bytes, words 1, 3, .. of the 16 behind them. */
TEMPLATE __m512i pair_of(const uint8_t *p, bool is_signed)
{
    __m512i even = is_signed ? widen_i8(p) : widen_u8(p);
    __m512i odd = is_signed ? widen_i8(p + 16) : widen_u8(p + 16);
    return _mm512_mask_blend_epi16(0xAAAAAAAA, even, shift_left_32(odd, 16));
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
    for (int i = 0; i < n_sub / 2; i++) {
        out->pair[i] = pair_of(pairs + 32 * i, is_signed);
    }
    if (form.pairs && form.minimum) {
        UNROLL
        for (int i = 0; i < n_sub / 2; i++) {
            out->sub[i] = pair_of(sub + 32 * i, is_signed);
        }
    } else if (!form.pairs) {
        UNROLL
        for (int i = 0; i < n_sub; i++) {
            out->sub[i] = is_signed ? widen_i8(sub + 16 * i) : widen_u8(sub + 16 * i);
        }
    }
}

/* Sub-scales 2i and 2i + 1 as a pair, of a form with pairs: without a minimum they are what zeros
 * are multiplied with. */
TEMPLATE __m512i sub_pair(struct q256_form form, const struct q256_scales *scales, int i)
{
    return form.minimum ? scales->sub[i] : scales->pair[i];
}

/* Sub-scale i as int32. */
TEMPLATE __m512i sub_scale(struct q256_form form, const struct q256_scales *scales, int i)
{
    if (!form.pairs) {
        return scales->sub[i];
    }
    __m512i pair = sub_pair(form, scales, i / 2);
    return _mm512_srai_epi32(i % 2 == 0 ? shift_left_32(pair, 16) : pair, 16);
}

/* sum of pair * n of every token: minus the minima's or the zeros' sum over the super-block. */
TEMPLATE void pair_sums(struct q256_form form, const struct q256_scales *scales, const int16_t *n,
                        __m512i *sum, const int n_tokens)
{
    const int n_pairs = form.sub_items == 16 ? 8 : 4;
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        sum[t] = _mm512_setzero_si512();
    }
    UNROLL
    for (int i = 0; i < n_pairs; i++) { /* a token's sums would wait for each other */
        __m512i pair = scales->pair[i];
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            sum[t] = dot_words(sum[t], pair, n + (i * n_tokens + t) * 2);
        }
    }
}

/* f plus the product of a super-block: of one token, whose scale is da. */
TEMPLATE __m512 add_super(struct q256_form form, const struct q256_scales *scales, float da,
                          __m512 f, __m512 sum, __m512i msum)
{
    __m512 a = _mm512_set1_ps(da);
    f = _mm512_fmadd_ps(_mm512_mul_ps(scales->d, a), sum, f);
    /* (dminw * da) * -msum has the bits of -(dminw * da) * msum: f is never -0 here, as products of
     * a multiple of 2^-149 and an integer do not underflow */
    return form.minimum ? _mm512_fmadd_ps(_mm512_mul_ps(scales->m, a), _mm512_cvtepi32_ps(msum), f)
                        : f;
}

#endif
