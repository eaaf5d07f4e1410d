/* probe_internal.h - the inner loops of probe.c, one set an instruction set. What they return
 * proves that they did their work (tests/unit/test_probe.c), and keeps the compiler from leaving it
 * out. */
#ifndef KERN_PROBE_INTERNAL_H
#define KERN_PROBE_INTERNAL_H

#include "kern/unroll.h"

#include <stddef.h>
#include <stdint.h>

/* Reads n_lines lines of 64 bytes, 64-byte aligned; returns the exclusive or of 8-byte words. */
typedef uint64_t probe_read_fn(const void *data, size_t n_lines);

/* Does n_rounds rounds of multiply-adds on registers; returns the sum of all products, modulo 2^32.
 * Each product is PROBE_PRODUCT (integers) or PROBE_FACTOR squared (floats, bf16; the sum is
 * cut). */
typedef uint32_t probe_compute_fn(uint32_t n_rounds);

enum { PROBE_WEIGHT = 3, PROBE_ACTIVATION = 5, PROBE_PRODUCT = 15 };
#define PROBE_FACTOR 0x1p-10f

struct probe_loops {
    probe_read_fn *read;
    probe_compute_fn *int8, *f32;
    uint32_t int8_ops, f32_ops; /* of a round: twice the products */
    probe_compute_fn *bf16;     /* NULL where no instruction of the set multiplies bf16 */
    uint32_t bf16_ops;
};

extern const struct probe_loops probe_loops_ref;

/* Reads the lines as four streams, a quarter of them each: a core follows one stream only so far
 * ahead, so there are some (a Zen 3: a quarter more) that read faster that way. */
probe_read_fn probe_read_apart;

/* Does n_rounds rounds of PROBE_ADDITIONS additions of 1, in 8 chains: more than a core adds at a
 * time; returns their sum, modulo 2^32. */
probe_compute_fn probe_additions_ref;
enum { PROBE_ADDITIONS = 32 };
/* x86-64 only */
extern const struct probe_loops probe_loops_avx2, probe_loops_avxvnni, probe_loops_avx512,
    probe_loops_amx;
probe_read_fn probe_read_avx2, probe_read_avx512;
probe_compute_fn probe_f32_avx2, probe_f32_avx512, probe_bf16_avx512;
enum {
    PROBE_F32_OPS_AVX2 = 10 * 16,
    PROBE_F32_OPS_AVX512 = 12 * 32, /* 16 fused multiply-adds an instruction, 32 of bf16 */
    PROBE_BF16_OPS_AVX512 = 12 * 64
};
/* aarch64 only */
extern const struct probe_loops probe_loops_neon, probe_loops_i8mm;
probe_read_fn probe_read_neon;
probe_compute_fn probe_f32_neon;

#endif
