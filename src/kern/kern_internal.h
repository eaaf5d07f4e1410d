/* kern_internal.h - what the files of kern/ share; nobody else includes it.
 *
 * How a set is built: kern.c copies the table of the next simpler set (ref <- avx2 <- avxvnni <-
 * avx512 <- amx, and ref <- neon <- i8mm) and runs the fill functions of its own files over it. A
 * fill function overwrites the slots that its file has and leaves the others, so a kernel that does
 * not exist yet falls back by itself. A new file adds its fill function here and to the list of its
 * set in kern.c. A set's table in numerics bf16 is its own one with one more fill function run over
 * it. */
#ifndef KERN_KERN_INTERNAL_H
#define KERN_KERN_INTERNAL_H

#include "base/fmath.h"
#include "kern/kern.h"
#include "kern/unroll.h"

typedef void kern_fill_fn(struct kern_table *t);

/* Portable C, the specification. */
kern_fill_fn kern_fill_ref, kern_fill_matmul_ref, kern_fill_matmul_bf16_ref;

/* x86-64 only. */
kern_fill_fn kern_fill_store_act_avx2, kern_fill_store_act_avx512;
kern_fill_fn kern_fill_float_avx2, kern_fill_attend_avx2, kern_fill_attend_f16_avx2;
kern_fill_fn kern_fill_float_avx512, kern_fill_attend_avx512, kern_fill_attend_f16_avx512;

kern_fill_fn kern_fill_matmul_q32_avx2, kern_fill_matmul_q256_avx2, kern_fill_matmul_dense_avx2;
kern_fill_fn kern_fill_matmul_q32_avx512, kern_fill_matmul_q256_avx512,
    kern_fill_matmul_dense_avx512, kern_fill_matmul_bf16_avx512;

kern_fill_fn kern_fill_matmul_q32_avxvnni, kern_fill_matmul_q256_avxvnni;

kern_fill_fn kern_fill_store_act_amx, kern_fill_matmul_q256_amx;

/* aarch64 only. */
kern_fill_fn kern_fill_store_act_neon, kern_fill_float_neon, kern_fill_attend_neon,
    kern_fill_attend_f16_neon;
kern_fill_fn kern_fill_matmul_q32_neon, kern_fill_matmul_q256_neon, kern_fill_matmul_dense_neon;
kern_fill_fn kern_fill_matmul_q32_i8mm, kern_fill_matmul_q256_i8mm;

/* CPU features that sets need, as bits. */
enum kern_cpu {
    KERN_CPU_FMA = 1 << 0,
    KERN_CPU_F16C = 1 << 1,
    KERN_CPU_AVX2 = 1 << 2,
    KERN_CPU_AVX512F = 1 << 3,
    KERN_CPU_AVX512BW = 1 << 4,
    KERN_CPU_AVX512VL = 1 << 5,
    KERN_CPU_AVX512DQ = 1 << 6,
    KERN_CPU_AVX512VNNI = 1 << 7,
    KERN_CPU_DOTPROD = 1 << 8,
    KERN_CPU_AVX512BF16 = 1 << 9,
    KERN_CPU_I8MM = 1 << 10,
    KERN_CPU_AVXVNNI = 1 << 11,
    KERN_CPU_AMX_TILE = 1 << 12,
    KERN_CPU_AMX_INT8 = 1 << 13
};

/* The first feature that `set` needs and `cpu` (bits above) lacks; NULL when it can run. */
const char *kern_cpu_missing(enum kern_set set, unsigned cpu);

/* Makes *t, a table of the next simpler set, that of `set`; the caller knows that the CPU runs it,
 * or (tests/check) that its instructions are emulated. */
void kern_fill(enum kern_set set, struct kern_table *t);

/* Whether such a CPU runs `set` in numerics bf16. */
bool kern_cpu_has_bf16(enum kern_set set, unsigned cpu);

/* First token of tile t and its width T. */
static inline uint32_t kern_tile_begin(uint32_t tile)
{
    return tile * KERN_TILE;
}

static inline uint32_t kern_tile_width(const struct kern_act *a, uint32_t tile)
{
    uint32_t left = a->n_tokens - kern_tile_begin(tile);
    return left < KERN_TILE ? left : KERN_TILE;
}

/* The sum of KERN_LANES partial sums by halves: 8, 4, 2, 1. */
static inline float kern_sum_lanes(float lanes[KERN_LANES])
{
    for (uint32_t half = KERN_LANES / 2; half > 0; half /= 2) {
        for (uint32_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

/* The scale d of a block whose largest |x| has these bits, and in *inverse what its items are
 * multiplied by to become quants of at most `max`; 0 when all are 0. Bits of |x| are ordered as the
 * values are, NaN above infinity. */
static inline float kern_block_scale(uint32_t max_bits, float max, float *inverse)
{
    float m;
    memcpy(&m, &max_bits, sizeof m);
    *inverse = 0.0f;
    if (max_bits >= 0x7F800000) {
        return NAN;
    }
    if (m < 0x1p-100f) {
        return 0.0f;
    }
    *inverse = max / m;
    return m / max;
}

/* The scalar part of a merge: the factors of both sides, and a's new maximum and sum. */
static inline void kern_merge_scalars(float *ma, float *la, float mb, float lb, float factors[2])
{
    float mn = (*ma > mb ? *ma : mb) + 0.0f;
    factors[0] = fmath_expf(*ma - mn);
    factors[1] = fmath_expf(mb - mn);
    *la = fmaf(lb, factors[1], *la * factors[0]);
    *ma = mn;
}

#endif
