/* probe_avx2.c - probe loops on 256-bit registers. Integers as AVX2 kernels multiply them: products
 * of bytes added in pairs to 16 bits, four such sums added, then widened to 32 bits. */
#include "kern/probe_internal.h"

#include <immintrin.h>

enum { N_SUMS = PROBE_F32_OPS_AVX2 / 16, N_PAIRS = 4 };

uint64_t probe_read_avx2(const void *data, size_t n_lines)
{
    const __m256i *p = data;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    size_t n = n_lines * 2, i = 0;
    for (; i + 4 <= n; i += 4) {
        a = _mm256_xor_si256(a, _mm256_load_si256(p + i));
        b = _mm256_xor_si256(b, _mm256_load_si256(p + i + 1));
        c = _mm256_xor_si256(c, _mm256_load_si256(p + i + 2));
        d = _mm256_xor_si256(d, _mm256_load_si256(p + i + 3));
    }
    for (; i < n; i++) {
        a = _mm256_xor_si256(a, _mm256_load_si256(p + i));
    }
    uint64_t words[4];
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    _mm256_storeu_si256((__m256i *)words, a);
    return (words[0] ^ words[1]) ^ (words[2] ^ words[3]);
}

static uint32_t int8_avx2(uint32_t n_rounds)
{
    __m256i x = _mm256_set1_epi8(PROBE_WEIGHT), y = _mm256_set1_epi8(PROBE_ACTIVATION);
    __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            __m256i pairs = _mm256_setzero_si256();
            UNROLL
            for (int k = 0; k < N_PAIRS; k++) {
                __asm__ volatile("" : "+x"(x)); /* else one product would serve for all */
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(x, y));
            }
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones));
        }
    }
    uint32_t lanes[8], sum = 0;
    _mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi32(sums[0], sums[1]));
    for (int i = 0; i < 8; i++) {
        sum += lanes[i];
    }
    return sum;
}

uint32_t probe_f32_avx2(uint32_t n_rounds)
{
    __m256 sums[N_SUMS];
    __m256 x = _mm256_set1_ps(PROBE_FACTOR);
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = _mm256_setzero_ps();
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = _mm256_fmadd_ps(x, x, sums[i]);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = _mm256_add_ps(sums[0], sums[i]);
    }
    float lanes[8], sum = 0;
    _mm256_storeu_ps(lanes, sums[0]);
    for (int i = 0; i < 8; i++) {
        sum += lanes[i];
    }
    return (uint32_t)sum;
}

const struct probe_loops probe_loops_avx2 = {
    probe_read_avx2, int8_avx2, probe_f32_avx2, 2 * N_PAIRS * 64, PROBE_F32_OPS_AVX2, NULL, 0};
