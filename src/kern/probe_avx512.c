/* probe_avx512.c - probe loops on 512-bit registers, integers with VNNI. */
#include "kern/probe_internal.h"

#include <immintrin.h>

/* Enough sums in flight for two units of latency 5. */
enum { N_SUMS = 12 };

static uint64_t read_avx512(const void *data, size_t n_lines)
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

/* In assembly, because gcc 12 copies the sums of the intrinsic to and fro and loses a third. */
static uint32_t int8_avx512(uint32_t n_rounds)
{
    __m512i x = _mm512_set1_epi8(PROBE_WEIGHT), y = _mm512_set1_epi8(PROBE_ACTIVATION);
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a, e = a, f = a;
    __m512i g = a, h = a, i = a, j = a, k = a, l = a;
    for (uint32_t round = 0; round < n_rounds; round++) {
        __asm__("vpdpbusd %[y], %[x], %[a]\n\tvpdpbusd %[y], %[x], %[b]\n\t"
                "vpdpbusd %[y], %[x], %[c]\n\tvpdpbusd %[y], %[x], %[d]\n\t"
                "vpdpbusd %[y], %[x], %[e]\n\tvpdpbusd %[y], %[x], %[f]\n\t"
                "vpdpbusd %[y], %[x], %[g]\n\tvpdpbusd %[y], %[x], %[h]\n\t"
                "vpdpbusd %[y], %[x], %[i]\n\tvpdpbusd %[y], %[x], %[j]\n\t"
                "vpdpbusd %[y], %[x], %[k]\n\tvpdpbusd %[y], %[x], %[l]"
                : [a] "+v"(a), [b] "+v"(b), [c] "+v"(c), [d] "+v"(d), [e] "+v"(e), [f] "+v"(f),
                  [g] "+v"(g), [h] "+v"(h), [i] "+v"(i), [j] "+v"(j), [k] "+v"(k), [l] "+v"(l)
                : [x] "v"(x), [y] "v"(y));
    }
    __m512i sums = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
    sums = _mm512_add_epi32(sums, _mm512_add_epi32(_mm512_add_epi32(e, f), _mm512_add_epi32(g, h)));
    sums = _mm512_add_epi32(sums, _mm512_add_epi32(_mm512_add_epi32(i, j), _mm512_add_epi32(k, l)));
    return (uint32_t)_mm512_reduce_add_epi32(sums);
}

static uint32_t f32_avx512(uint32_t n_rounds)
{
    __m512 sums[N_SUMS];
    __m512 x = _mm512_set1_ps(PROBE_FACTOR);
    for (int i = 0; i < N_SUMS; i++) {
        sums[i] = _mm512_setzero_ps();
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < N_SUMS; i++) {
            sums[i] = _mm512_fmadd_ps(x, x, sums[i]);
        }
    }
    for (int i = 1; i < N_SUMS; i++) {
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    }
    return (uint32_t)_mm512_reduce_add_ps(sums[0]);
}

/* 64 products and 64 additions, 16 fused multiply-adds an instruction */
const struct probe_loops probe_loops_avx512 = {read_avx512, int8_avx512, f32_avx512, N_SUMS * 128,
                                               N_SUMS * 32};
