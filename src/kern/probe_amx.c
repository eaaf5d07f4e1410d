/* probe_amx.c - the probe loop of tile registers; all others are those of 512-bit registers. */
#include "kern/probe_internal.h"
#include "kern/tiles_amx.h"

#include <string.h>

/* Enough sums in flight for products of 16 cycles that take 52. */
enum { N_SUMS = 6, TILE_WORDS = TILE_BYTES / sizeof(int32_t) };

static uint32_t int8_amx(uint32_t n_rounds)
{
    int8_t x[TILE_BYTES], y[TILE_BYTES];
    int32_t sums[N_SUMS * TILE_WORDS];
    memset(x, PROBE_WEIGHT, sizeof x);
    memset(y, PROBE_ACTIVATION, sizeof y);
    tiles_begin();
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    TILE_ZERO(4);
    TILE_ZERO(5);
    TILE_LOAD(6, x, TILE_LINE);
    TILE_LOAD(7, y, TILE_LINE);
    for (uint32_t round = 0; round < n_rounds; round++) {
        TILE_DOT(0, 6, 7);
        TILE_DOT(1, 6, 7);
        TILE_DOT(2, 6, 7);
        TILE_DOT(3, 6, 7);
        TILE_DOT(4, 6, 7);
        TILE_DOT(5, 6, 7);
    }
    TILE_STORE(0, sums + 0 * TILE_WORDS);
    TILE_STORE(1, sums + 1 * TILE_WORDS);
    TILE_STORE(2, sums + 2 * TILE_WORDS);
    TILE_STORE(3, sums + 3 * TILE_WORDS);
    TILE_STORE(4, sums + 4 * TILE_WORDS);
    TILE_STORE(5, sums + 5 * TILE_WORDS);
    tiles_end();
    uint32_t sum = 0;
    for (size_t i = 0; i < N_SUMS * TILE_WORDS; i++) {
        sum += (uint32_t)sums[i];
    }
    return sum;
}

const struct probe_loops probe_loops_amx = {
    probe_read_avx512,    int8_amx,
    probe_f32_avx512,     N_SUMS *TILE_LINES *TILE_LINES *TILE_LINE * 2,
    PROBE_F32_OPS_AVX512, probe_bf16_avx512,
    PROBE_BF16_OPS_AVX512};
