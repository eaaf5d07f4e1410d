/* simd_neon.h - what the float kernels of the neon set share: exp and sums of registers of 4
 * floats, with the operations of base/fmath.h and kern_ref.c in the same order. */
#ifndef KERN_SIMD_NEON_H
#define KERN_SIMD_NEON_H

#include "kern/kern_internal.h"

#include <arm_neon.h>

/* fmath_expf of 4 lanes. */
static inline float32x4_t simd128_exp(float32x4_t x)
{
    const float32x4_t round = vdupq_n_f32(FMATH_EXPF_ROUND), one = vdupq_n_f32(1.0f);
    float32x4_t shifted = vfmaq_f32(round, x, vdupq_n_f32(FMATH_EXPF_LOG2E));
    float32x4_t n = vsubq_f32(shifted, round);
    float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-FMATH_EXPF_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-FMATH_EXPF_LN2_LO));
    float32x4_t p = vdupq_n_f32(FMATH_EXPF_C6);
    p = vfmaq_f32(vdupq_n_f32(FMATH_EXPF_C5), p, r);
    p = vfmaq_f32(vdupq_n_f32(FMATH_EXPF_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(FMATH_EXPF_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(FMATH_EXPF_C2), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(shifted), 23);
    uint32x4_t y = vaddq_u32(vreinterpretq_u32_f32(p), exponent);
    /* below the lowest, which NaN is not: 0 */
    y = vbicq_u32(y, vcltq_f32(x, vdupq_n_f32(FMATH_EXPF_LOWEST)));
    /* above the highest: x times infinity is infinity, and NaN for NaN */
    uint32x4_t finite = vcleq_f32(x, vdupq_n_f32(FMATH_EXPF_HIGHEST));
    return vbslq_f32(finite, vreinterpretq_f32_u32(y), vmulq_f32(x, vdupq_n_f32(INFINITY)));
}

/* kern_sum_lanes of the 16 lanes of four registers. */
static inline float simd128_sum(const float32x4_t lanes[4])
{
    float32x4_t sum4 = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
    float32x2_t sum2 = vadd_f32(vget_low_f32(sum4), vget_high_f32(sum4));
    return vget_lane_f32(sum2, 0) + vget_lane_f32(sum2, 1);
}

/* 8 quants; all 0 when inverse is. */
static inline int16x8_t simd128_quants(const float *x, float inverse)
{
    uint32x4_t used = vdupq_n_u32(inverse != 0.0f ? UINT32_MAX : 0);
    int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    low = vandq_s32(low, vreinterpretq_s32_u32(used));
    high = vandq_s32(high, vreinterpretq_s32_u32(used));
    return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}

#endif
