/* simd_avx512.h - what the float kernels of the avx512 set share: exp and sums of one register of
 * 16 floats, with the operations of base/fmath.h and kern_ref.c in the same order. */
#ifndef KERN_SIMD_AVX512_H
#define KERN_SIMD_AVX512_H

#include "kern/kern_internal.h"

#include <immintrin.h>

/* The lowest n of 16 lanes, n <= 16. */
static inline __mmask16 simd512_first(uint32_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* fmath_expf of 16 lanes. */
static inline __m512 simd512_exp(__m512 x)
{
    const __m512 round = _mm512_set1_ps(FMATH_EXPF_ROUND);
    __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(FMATH_EXPF_LOG2E), round);
    __m512 n = _mm512_sub_ps(shifted, round);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-FMATH_EXPF_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-FMATH_EXPF_LN2_LO), r);
    __m512 p = _mm512_set1_ps(FMATH_EXPF_C6);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(FMATH_EXPF_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(FMATH_EXPF_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(FMATH_EXPF_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(FMATH_EXPF_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    /* not below the lowest, which NaN is not either: else 0 */
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(FMATH_EXPF_LOWEST), _CMP_NLT_UQ);
    __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    __m512i bits = _mm512_maskz_add_epi32(normal, _mm512_castps_si512(p), exponent);
    /* above the highest: x times infinity is infinity, and NaN for NaN */
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(FMATH_EXPF_HIGHEST), _CMP_NLE_UQ);
    return _mm512_mask_mul_ps(_mm512_castsi512_ps(bits), above, x, _mm512_set1_ps(INFINITY));
}

/* kern_sum_lanes of one register. */
static inline float simd512_sum(__m512 x)
{
    __m256 high = _mm512_extractf32x8_ps(x, 1);
    __m256 sum8 = _mm256_add_ps(_mm512_castps512_ps256(x), high);
    __m128 sum4 = _mm_add_ps(_mm256_castps256_ps128(sum8), _mm256_extractf128_ps(sum8, 1));
    __m128 sum2 = _mm_add_ps(sum4, _mm_movehl_ps(sum4, sum4));
    return _mm_cvtss_f32(_mm_add_ss(sum2, _mm_movehdup_ps(sum2)));
}

#endif
