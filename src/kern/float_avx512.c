/* float_avx512.c - rmsnorm, rope, silu and add of 16 floats at a time. The last, partial
 * register of a row is a masked one, so no kernel has a second loop. */
#include "kern/simd_avx512.h"

static void rmsnorm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    __m512 lanes = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = n - i < 16 ? simd512_first(n - i) : 0xFFFF;
        __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        lanes = _mm512_mask3_fmadd_ps(v, v, lanes, mask);
    }
    __m512 scale = _mm512_set1_ps(1.0f / sqrtf(simd512_sum(lanes) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = n - i < 16 ? simd512_first(n - i) : 0xFFFF;
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, w + i)));
    }
}

/* 8 pairs (a, b) times 8 pairs (c, s); even lanes a c - b s, odd lanes a s + b c. */
static __m512 rotate(__m512 x, __m512 cos_sin)
{
    __m512 sin_cos = _mm512_permute_ps(cos_sin, 0xB1);
    __m512 rounded = _mm512_mul_ps(_mm512_movehdup_ps(x), sin_cos);
    return _mm512_fmaddsub_ps(_mm512_moveldup_ps(x), cos_sin, rounded);
}

static void rope(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot,
                 const float *cos_sin)
{
    for (uint32_t h = 0; h < n_heads; h++) {
        float *head = x + (size_t)h * head_dim;
        for (uint32_t i = 0; i < n_rot; i += 16) {
            __mmask16 mask = n_rot - i < 16 ? simd512_first(n_rot - i) : 0xFFFF;
            __m512 table = _mm512_maskz_loadu_ps(mask, cos_sin + i);
            __m512 pairs = _mm512_maskz_loadu_ps(mask, head + i);
            _mm512_mask_storeu_ps(head + i, mask, rotate(pairs, table));
        }
    }
}

static void silu_mul(float *y, const float *gate, const float *up, uint32_t n)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 sign = _mm512_set1_ps(-0.0f);
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = n - i < 16 ? simd512_first(n - i) : 0xFFFF;
        __m512 g = _mm512_maskz_loadu_ps(mask, gate + i);
        __m512 below = _mm512_add_ps(one, simd512_exp(_mm512_xor_ps(g, sign)));
        __m512 u = _mm512_maskz_loadu_ps(mask, up + i);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(_mm512_div_ps(g, below), u));
    }
}

static void add(float *y, const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = n - i < 16 ? simd512_first(n - i) : 0xFFFF;
        __m512 sum =
            _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y + i), _mm512_maskz_loadu_ps(mask, x + i));
        _mm512_mask_storeu_ps(y + i, mask, sum);
    }
}

void kern_fill_float_avx512(struct kern_table *t)
{
    t->rmsnorm = rmsnorm;
    t->rope = rope;
    t->silu_mul = silu_mul;
    t->add = add;
}
