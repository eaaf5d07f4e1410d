/* simd_avx2.h - what kernels of the avx2 set share: exp and sums of registers of 8 floats and masks
 * of their lanes, with the operations of base/fmath.h and kern_ref.c in the same order. */
#ifndef KERN_SIMD_AVX2_H
#define KERN_SIMD_AVX2_H

#include "kern/kern_internal.h"

#include <immintrin.h>

/* All bits set in the lowest n of 8 lanes (none when n < 0, all when n > 8), for maskload and
 * maskstore. */
static inline __m256i simd256_first(int n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

/* fmath_expf of 8 lanes. */
static inline __m256 simd256_exp(__m256 x)
{
    const __m256 round = _mm256_set1_ps(FMATH_EXPF_ROUND);
    __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(FMATH_EXPF_LOG2E), round);
    __m256 n = _mm256_sub_ps(shifted, round);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-FMATH_EXPF_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-FMATH_EXPF_LN2_LO), r);
    __m256 p = _mm256_set1_ps(FMATH_EXPF_C6);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(FMATH_EXPF_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(FMATH_EXPF_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(FMATH_EXPF_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(FMATH_EXPF_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    __m256 y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
    /* not below the lowest, which NaN is not either: else 0 */
    y = _mm256_and_ps(y, _mm256_cmp_ps(x, _mm256_set1_ps(FMATH_EXPF_LOWEST), _CMP_NLT_UQ));
    /* above the highest: x times infinity is infinity, and NaN for NaN */
    __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(FMATH_EXPF_HIGHEST), _CMP_NLE_UQ);
    return _mm256_blendv_ps(y, _mm256_mul_ps(x, _mm256_set1_ps(INFINITY)), above);
}

/* kern_sum_lanes of the 16 lanes of two registers. */
static inline float simd256_sum(__m256 low, __m256 high)
{
    __m256 sum8 = _mm256_add_ps(low, high);
    __m128 sum4 = _mm_add_ps(_mm256_castps256_ps128(sum8), _mm256_extractf128_ps(sum8, 1));
    __m128 sum2 = _mm_add_ps(sum4, _mm_movehl_ps(sum4, sum4));
    return _mm_cvtss_f32(_mm_add_ss(sum2, _mm_movehdup_ps(sum2)));
}

/* The largest of 8 lanes, none NaN. */
static inline float simd256_max(__m256 x)
{
    __m128 max4 = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    max4 = _mm_max_ps(max4, _mm_movehl_ps(max4, max4));
    return _mm_cvtss_f32(_mm_max_ss(max4, _mm_movehdup_ps(max4)));
}

/* The largest of 8 lanes. */
static inline uint32_t simd256_max_bits(__m256i bits)
{
    __m128i max4 = _mm_max_epu32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    max4 = _mm_max_epu32(max4, _mm_shuffle_epi32(max4, 0x4E));
    max4 = _mm_max_epu32(max4, _mm_shuffle_epi32(max4, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(max4);
}

/* 16 quants, in order; all 0 when inverse is. */
static inline __m256i simd256_quants(const float *x, float inverse)
{
    __m256 factor = _mm256_set1_ps(inverse);
    __m256 used = _mm256_cmp_ps(factor, _mm256_setzero_ps(), _CMP_NEQ_OQ);
    __m256 low = _mm256_and_ps(_mm256_mul_ps(_mm256_loadu_ps(x), factor), used);
    __m256 high = _mm256_and_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8), factor), used);
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
    return _mm256_permute4x64_epi64(words, 0xD8);
}

#endif
