/* probe_i8mm.c - the integer probe loop with matrix products of bytes; the others are NEON's. */
#include "kern/probe_internal.h"

#include <arm_neon.h>

/* As in probe_neon.c. */
enum { N_SUMS = 16 };

static uint32_t int8_i8mm(uint32_t n_rounds)
{
    int8x16_t x = vdupq_n_s8(PROBE_WEIGHT), y = vdupq_n_s8(PROBE_ACTIVATION);
    int32x4_t sums[N_SUMS];
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = vdupq_n_s32(0);
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = vmmlaq_s32(sums[i], x, y);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = vaddq_s32(sums[0], sums[i]);
    }
    return (uint32_t)vaddvq_s32(sums[0]);
}

/* 32 products and 32 additions an instruction */
const struct probe_loops probe_loops_i8mm = {
    probe_read_neon, int8_i8mm, probe_f32_neon, N_SUMS * 64, N_SUMS * 8, NULL, 0};
