/* probe_neon.c - probe loops on 128-bit registers, integers with the dot product of bytes. */
#include "kern/probe_internal.h"

#include <arm_neon.h>

/* Enough sums in flight for four units of latency 4. */
enum { N_SUMS = 16 };

uint64_t probe_read_neon(const void *data, size_t n_lines)
{
    const uint64_t *p = data;
    uint64x2_t a = vdupq_n_u64(0), b = a, c = a, d = a;
    for (size_t i = 0; i < n_lines; i++, p += 8) {
        a = veorq_u64(a, vld1q_u64(p));
        b = veorq_u64(b, vld1q_u64(p + 2));
        c = veorq_u64(c, vld1q_u64(p + 4));
        d = veorq_u64(d, vld1q_u64(p + 6));
    }
    a = veorq_u64(veorq_u64(a, b), veorq_u64(c, d));
    return vgetq_lane_u64(a, 0) ^ vgetq_lane_u64(a, 1);
}

static uint32_t int8_neon(uint32_t n_rounds)
{
    int8x16_t x = vdupq_n_s8(PROBE_WEIGHT), y = vdupq_n_s8(PROBE_ACTIVATION);
    int32x4_t sums[N_SUMS];
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = vdupq_n_s32(0);
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = vdotq_s32(sums[i], x, y);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = vaddq_s32(sums[0], sums[i]);
    }
    return (uint32_t)vaddvq_s32(sums[0]);
}

uint32_t probe_f32_neon(uint32_t n_rounds)
{
    float32x4_t x = vdupq_n_f32(PROBE_FACTOR), sums[N_SUMS];
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = vdupq_n_f32(0.0f);
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = vfmaq_f32(sums[i], x, x);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = vaddq_f32(sums[0], sums[i]);
    }
    return (uint32_t)vaddvq_f32(sums[0]);
}

/* 16 products and 16 additions, 4 fused multiply-adds an instruction */
const struct probe_loops probe_loops_neon = {
    probe_read_neon, int8_neon, probe_f32_neon, N_SUMS * 32, N_SUMS * 8, NULL, 0};
