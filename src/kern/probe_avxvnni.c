/* probe_avxvnni.c - the integer probe loop with dot products of bytes; the others are AVX2's. */
#include "kern/probe_internal.h"

#include <immintrin.h>

/* Enough sums in flight for two units of latency 5. */
enum { N_SUMS = 12 };

/* In assembly, because gcc 12 copies the sums of an intrinsic to and fro. */
static inline __m256i dot_bytes(__m256i sum, __m256i x, __m256i y)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(y));
    return sum;
}

static uint32_t int8_avxvnni(uint32_t n_rounds)
{
    __m256i x = _mm256_set1_epi8(PROBE_WEIGHT), y = _mm256_set1_epi8(PROBE_ACTIVATION);
    __m256i sums[N_SUMS];
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = _mm256_setzero_si256();
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = dot_bytes(sums[i], x, y);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    }
    uint32_t lanes[8], sum = 0;
    _mm256_storeu_si256((__m256i *)lanes, sums[0]);
    for (int i = 0; i < 8; i++) {
        sum += lanes[i];
    }
    return sum;
}

/* 32 products and 32 additions an instruction */
const struct probe_loops probe_loops_avxvnni = {
    probe_read_avx2, int8_avxvnni, probe_f32_avx2, N_SUMS * 64, PROBE_F32_OPS_AVX2, NULL, 0};
