/* float_avx2.c - rmsnorm, rope, silu, add, to_q8 and to_q16 of 8 floats at a time. Whole registers
 * first, then one step with masked loads and stores. */
#include "base/half.h"
#include "kern/simd_avx2.h"

/* Lanes 0..7 and 8..15 of the sum of squares are two registers. */
static float sum_of_squares(const float *x, uint32_t n)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    if (i < n) { /* lanes behind the end add 0 to sums that are no -0: nothing */
        uint32_t left = n - i;
        __m256 a = _mm256_maskload_ps(x + i, simd256_first((int)left));
        low = _mm256_fmadd_ps(a, a, low);
        if (left > 8) {
            __m256 b = _mm256_maskload_ps(x + i + 8, simd256_first((int)left - 8));
            high = _mm256_fmadd_ps(b, b, high);
        }
    }
    return simd256_sum(low, high);
}

static void rmsnorm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    __m256 scale = _mm256_set1_ps(1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps));
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    if (i < n) {
        __m256i mask = simd256_first((int)(n - i));
        __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), scale);
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(v, _mm256_maskload_ps(w + i, mask)));
    }
}

/* 4 pairs (a, b) times 4 pairs (c, s); even lanes a c - b s, odd lanes a s + b c. */
static __m256 rotate(__m256 x, __m256 cos_sin)
{
    __m256 sin_cos = _mm256_permute_ps(cos_sin, 0xB1);
    __m256 rounded = _mm256_mul_ps(_mm256_movehdup_ps(x), sin_cos);
    return _mm256_fmaddsub_ps(_mm256_moveldup_ps(x), cos_sin, rounded);
}

static void rope(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot,
                 const float *cos_sin)
{
    __m256i mask = simd256_first((int)(n_rot % 8));
    for (uint32_t h = 0; h < n_heads; h++) {
        float *head = x + (size_t)h * head_dim;
        uint32_t i = 0;
        for (; i + 8 <= n_rot; i += 8) {
            __m256 pairs = _mm256_loadu_ps(head + i);
            _mm256_storeu_ps(head + i, rotate(pairs, _mm256_loadu_ps(cos_sin + i)));
        }
        if (i < n_rot) {
            __m256 pairs = _mm256_maskload_ps(head + i, mask);
            __m256 table = _mm256_maskload_ps(cos_sin + i, mask);
            _mm256_maskstore_ps(head + i, mask, rotate(pairs, table));
        }
    }
}

static __m256 silu(__m256 g)
{
    __m256 e = simd256_exp(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

static void silu_mul(float *y, const float *gate, const float *up, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = silu(_mm256_loadu_ps(gate + i));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(g, _mm256_loadu_ps(up + i)));
    }
    if (i < n) {
        __m256i mask = simd256_first((int)(n - i));
        __m256 g = silu(_mm256_maskload_ps(gate + i, mask));
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(g, _mm256_maskload_ps(up + i, mask)));
    }
}

static void add(float *y, const float *x, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    }
    if (i < n) {
        __m256i mask = simd256_first((int)(n - i));
        __m256 sum =
            _mm256_add_ps(_mm256_maskload_ps(y + i, mask), _mm256_maskload_ps(x + i, mask));
        _mm256_maskstore_ps(y + i, mask, sum);
    }
}

/* The largest |x| of n items, as bits. */
static uint32_t max_bits_of(const float *x, uint32_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i max = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n; i += 8) {
        __m256i bits = _mm256_loadu_si256((const void *)(x + i));
        max = _mm256_max_epu32(max, _mm256_and_si256(bits, magnitude));
    }
    return simd256_max_bits(max);
}

static float to_q8(int8_t *dst, const float *src, uint32_t n)
{
    float inverse, d = kern_block_scale(max_bits_of(src, n), 127.0f, &inverse);
    for (uint32_t i = 0; i < n; i += 16) {
        __m256i words = simd256_quants(src + i, inverse);
        __m128i high = _mm256_extracti128_si256(words, 1);
        _mm_storeu_si128((void *)(dst + i), _mm_packs_epi16(_mm256_castsi256_si128(words), high));
    }
    return d;
}

static float to_q16(int16_t *dst, const float *src, uint32_t n, uint32_t max)
{
    float inverse, d = kern_block_scale(max_bits_of(src, n), (float)max, &inverse);
    for (uint32_t i = 0; i < n; i += 16) {
        _mm256_storeu_si256((void *)(dst + i), simd256_quants(src + i, inverse));
    }
    return d;
}

void kern_fill_float_avx2(struct kern_table *t)
{
    t->rmsnorm = rmsnorm;
    t->rope = rope;
    t->silu_mul = silu_mul;
    t->add = add;
    t->to_q8 = to_q8;
    t->to_q16 = to_q16;
}
