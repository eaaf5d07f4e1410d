/* probe_avx512.c - probe loops on 512-bit registers, integers with VNNI. */
#include "base/half.h"
#include "kern/probe_internal.h"

#include <assert.h>
#include <immintrin.h>

/* Enough sums in flight for two units of latency 5. */
enum { N_SUMS = 12 };

uint64_t probe_read_avx512(const void *data, size_t n_lines)
{
    const __m512i *p = data;
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 4 <= n_lines; i += 4) {
        a = _mm512_xor_si512(a, _mm512_load_si512(p + i));
        b = _mm512_xor_si512(b, _mm512_load_si512(p + i + 1));
        c = _mm512_xor_si512(c, _mm512_load_si512(p + i + 2));
        d = _mm512_xor_si512(d, _mm512_load_si512(p + i + 3));
    }
    for (; i < n_lines; i++) {
        a = _mm512_xor_si512(a, _mm512_load_si512(p + i));
    }
    uint64_t words[8], all = 0;
    _mm512_storeu_si512(words, _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
    for (int k = 0; k < 8; k++) {
        all ^= words[k];
    }
    return all;
}

/* One instruction for each of the sums a to l. In assembly, because gcc 12 copies the sums of an
 * intrinsic to and fro and loses a third. */
#define ADD_TO_SUMS(OP)                                                                            \
    __asm__(OP " %[y], %[x], %[a]\n\t" OP " %[y], %[x], %[b]\n\t" OP " %[y], %[x], %[c]\n\t" OP    \
               " %[y], %[x], %[d]\n\t" OP " %[y], %[x], %[e]\n\t" OP " %[y], %[x], %[f]\n\t" OP    \
               " %[y], %[x], %[g]\n\t" OP " %[y], %[x], %[h]\n\t" OP " %[y], %[x], %[i]\n\t" OP    \
               " %[y], %[x], %[j]\n\t" OP " %[y], %[x], %[k]\n\t" OP " %[y], %[x], %[l]"           \
            : [a] "+v"(a), [b] "+v"(b), [c] "+v"(c), [d] "+v"(d), [e] "+v"(e), [f] "+v"(f),        \
              [g] "+v"(g), [h] "+v"(h), [i] "+v"(i), [j] "+v"(j), [k] "+v"(k), [l] "+v"(l)         \
            : [x] "v"(x), [y] "v"(y))

static uint32_t int8_avx512(uint32_t n_rounds)
{
    __m512i x = _mm512_set1_epi8(PROBE_WEIGHT), y = _mm512_set1_epi8(PROBE_ACTIVATION);
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a, e = a, f = a;
    __m512i g = a, h = a, i = a, j = a, k = a, l = a;
    for (uint32_t round = 0; round < n_rounds; round++) {
        ADD_TO_SUMS("vpdpbusd");
    }
    __m512i sums = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
    sums = _mm512_add_epi32(sums, _mm512_add_epi32(_mm512_add_epi32(e, f), _mm512_add_epi32(g, h)));
    sums = _mm512_add_epi32(sums, _mm512_add_epi32(_mm512_add_epi32(i, j), _mm512_add_epi32(k, l)));
    return (uint32_t)_mm512_reduce_add_epi32(sums);
}

/* Only on CPUs with AVX512_BF16. PROBE_FACTOR is a bf16, too. */
uint32_t probe_bf16_avx512(uint32_t n_rounds)
{
    uint32_t factor = half_to_bits(PROBE_FACTOR);
    __m512i x = _mm512_set1_epi32((int32_t)(factor | factor >> 16)), y = x;
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a, e = a, f = a;
    __m512 g = a, h = a, i = a, j = a, k = a, l = a;
    for (uint32_t round = 0; round < n_rounds; round++) {
        ADD_TO_SUMS("vdpbf16ps");
    }
    __m512 sums = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
    sums = _mm512_add_ps(sums, _mm512_add_ps(_mm512_add_ps(e, f), _mm512_add_ps(g, h)));
    sums = _mm512_add_ps(sums, _mm512_add_ps(_mm512_add_ps(i, j), _mm512_add_ps(k, l)));
    return (uint32_t)_mm512_reduce_add_ps(sums);
}

uint32_t probe_f32_avx512(uint32_t n_rounds)
{
    __m512 sums[N_SUMS];
    __m512 x = _mm512_set1_ps(PROBE_FACTOR);
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = _mm512_setzero_ps();
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        UNROLL
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = _mm512_fmadd_ps(x, x, sums[i]);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    }
    return (uint32_t)_mm512_reduce_add_ps(sums[0]);
}

/* 64 products and 64 additions an instruction */
const struct probe_loops probe_loops_avx512 = {
    probe_read_avx512,    int8_avx512,       probe_f32_avx512,     N_SUMS * 128,
    PROBE_F32_OPS_AVX512, probe_bf16_avx512, PROBE_BF16_OPS_AVX512};
static_assert(PROBE_F32_OPS_AVX512 == N_SUMS * 32 && PROBE_BF16_OPS_AVX512 == N_SUMS * 64, "");
