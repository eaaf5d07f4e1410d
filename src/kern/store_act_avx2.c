/* store_act_avx2.c - stores activations: values transposed four tokens at a time, quants as
 * store_act.h says. */
#include "kern/simd_avx2.h"
#include "kern/store_act.h"

/* The first n of four lanes, n 1 to 4. */
static inline void store_first(void *dst, __m128i x, uint32_t n)
{
    if (n == 4) {
        _mm_storeu_si128(dst, x);
    } else {
        _mm_maskstore_epi32(dst, _mm256_castsi256_si128(simd256_first((int)n)), x);
    }
}

/* Four registers of 4 x 4 bytes a 16-byte lane become, lane by lane, their transpose. */
static inline void transpose(__m256i x[4])
{
    __m256i ab_low = _mm256_unpacklo_epi32(x[0], x[1]), ab_high = _mm256_unpackhi_epi32(x[0], x[1]);
    __m256i cd_low = _mm256_unpacklo_epi32(x[2], x[3]), cd_high = _mm256_unpackhi_epi32(x[2], x[3]);
    x[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
    x[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
    x[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
    x[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}

/* --- values */

/* Tokens t .. t + n - 1 of a tile of `width`: f the tile's values, x token t's. */
static void store_tokens_f32(float *f, const float *x, size_t x_stride, uint32_t cols, size_t width,
                             size_t t, uint32_t n)
{
    uint32_t k = 0;
    for (; k + 8 <= cols; k += 8) {
        __m256i v[4];
        for (uint32_t i = 0; i < 4; i++) {
            v[i] = i < n ? _mm256_loadu_si256((const void *)(x + i * x_stride + k))
                         : _mm256_setzero_si256();
        }
        transpose(v); /* lane 0 of v[i]: column k + i; lane 1: column k + 4 + i */
        for (uint32_t i = 0; i < 4; i++) {
            store_first(f + (k + i) * width + t, _mm256_castsi256_si128(v[i]), n);
            store_first(f + (k + 4 + i) * width + t, _mm256_extracti128_si256(v[i], 1), n);
        }
    }
    for (; k < cols; k++) {
        for (uint32_t i = 0; i < n; i++) {
            f[k * width + t + i] = x[i * x_stride + k];
        }
    }
}

static void store_act_f32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        uint32_t width = kern_tile_width(a, tile);
        size_t first = kern_tile_begin(tile);
        float *f = a->f + first * a->cols;
        if (width == 1) {
            memcpy(f, x + first * x_stride, a->cols * sizeof *f);
            continue;
        }
        for (uint32_t t = 0; t < width; t += 4) {
            uint32_t n = width - t < 4 ? width - t : 4;
            store_tokens_f32(f, x + (first + t) * x_stride, x_stride, a->cols, width, t, n);
        }
    }
}

/* --- quants */

/* Lane i: the reduction of the 8 lanes of a[i]. */
static inline __m128i max_of_four(const __m256i a[4])
{
    __m256i t[4] = {a[0], a[1], a[2], a[3]};
    transpose(t);
    __m256i all = _mm256_max_epu32(_mm256_max_epu32(t[0], t[1]), _mm256_max_epu32(t[2], t[3]));
    return _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

static inline __m128i sum_of_four(const __m256i a[4])
{
    __m256i ab = _mm256_hadd_epi32(a[0], a[1]), cd = _mm256_hadd_epi32(a[2], a[3]);
    __m256i all = _mm256_hadd_epi32(ab, cd);
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

static inline __m256i magnitude(const float *x)
{
    __m256i bits = _mm256_loadu_si256((const void *)x);
    return _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
}

/* What the maxima of four blocks say; `used` is all or nothing: nothing makes every quant 0. */
struct scales {
    __m128 d;
    float inverse[4];
    float used[4];
};

static inline void find_scales(struct scales *s, __m128i max_bits)
{
    __m128 m = _mm_castsi128_ps(max_bits);
    const __m128 full = _mm_set1_ps(127.0f);
    __m128 finite = _mm_castsi128_ps(_mm_cmplt_epi32(max_bits, _mm_set1_epi32(0x7F800000)));
    __m128 used = _mm_and_ps(finite, _mm_cmp_ps(m, _mm_set1_ps(0x1p-100f), _CMP_GE_OQ));
    __m128 unused_d = _mm_andnot_ps(finite, _mm_set1_ps(NAN));
    s->d = _mm_blendv_ps(unused_d, _mm_div_ps(m, full), used);
    _mm_storeu_ps(s->inverse, _mm_div_ps(full, m));
    _mm_storeu_ps(s->used, used);
}

static inline __m256i quantise(const float *x, const struct scales *s, int block)
{
    __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(s->inverse[block]));
    return _mm256_cvtps_epi32(_mm256_and_ps(scaled, _mm256_set1_ps(s->used[block])));
}

/* 32 quants of each of four blocks as bytes, 16-byte lane j of bytes[i]: items 4j.., 8 + 4j..,
 * 16 + 4j.., 24 + 4j.. of block i. low, high: sums of items 0-15 and 16-31; most: the larger one of
 * their sums of |q|. */
struct quants {
    __m256i bytes[4];
    __m128i low, high, most;
};

/* Items k .. k + 31 of the four blocks. */
static inline void quantise_four(const float *const x[4], int k, const struct scales *s,
                                 struct quants *q)
{
    __m256i low[4], high[4], low_magnitudes[4], high_magnitudes[4];
    for (int i = 0; i < 4; i++) {
        __m256i v[4];
        for (int j = 0; j < 4; j++) {
            v[j] = quantise(x[i] + k + j * 8, s, i);
        }
        low[i] = _mm256_add_epi32(v[0], v[1]);
        high[i] = _mm256_add_epi32(v[2], v[3]);
        low_magnitudes[i] = _mm256_add_epi32(_mm256_abs_epi32(v[0]), _mm256_abs_epi32(v[1]));
        high_magnitudes[i] = _mm256_add_epi32(_mm256_abs_epi32(v[2]), _mm256_abs_epi32(v[3]));
        q->bytes[i] =
            _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    }
    q->low = sum_of_four(low);
    q->high = sum_of_four(high);
    q->most = _mm_max_epu32(sum_of_four(low_magnitudes), sum_of_four(high_magnitudes));
}

/* Lane 0 and lane 1 of 4 x 4 bytes by turns. */
static inline __m256i interleave_lanes(__m256i x)
{
    return _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Four tokens: 4 rows of 4 x 8 bytes, `stride` bytes apart; of each the first n. */
static inline void store_tokens(int8_t *dst, size_t stride, const struct quants *q, uint32_t n)
{
    __m256i rows[4] = {q->bytes[0], q->bytes[1], q->bytes[2], q->bytes[3]};
    transpose(rows); /* lane 0 of rows[i]: k / 4 = 2i; lane 1: 2i + 1 */
    for (int i = 0; i < 4; i++, dst += stride) {
        __m256i row = interleave_lanes(rows[i]);
        if (n == 4) {
            _mm256_storeu_si256((__m256i *)(void *)dst, row);
        } else { /* in few tiles */
            int8_t bytes[32];
            _mm256_storeu_si256((__m256i *)(void *)bytes, row);
            memcpy(dst, bytes, (size_t)n * 8);
        }
    }
}

/* Four blocks of one token: 32 bytes each, `stride` bytes apart; only the first n. */
static inline void store_blocks(int8_t *dst, size_t stride, const struct quants *q, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        _mm256_storeu_si256((__m256i *)(void *)(dst + i * stride), interleave_lanes(q->bytes[i]));
    }
}

/* The maxima of n_items items of each of four blocks. */
static inline __m128i find_max(const float *const x[4], int n_items)
{
    __m256i max[4];
    for (int i = 0; i < 4; i++) {
        max[i] = magnitude(x[i]);
        for (int k = 8; k < n_items; k += 8) {
            max[i] = _mm256_max_epu32(max[i], magnitude(x[i] + k));
        }
    }
    return max_of_four(max);
}

static void store_four_q32(const struct kern_act *a, const struct store_place *p)
{
    struct scales s;
    struct quants q;
    find_scales(&s, find_max(p->x, 32));
    quantise_four(p->x, 0, &s, &q);
    int8_t *bytes = store_quants_q32(a, p);
    if (p->width > 1) {
        store_tokens(bytes, p->width * 8, &q, p->n);
    } else {
        store_blocks(bytes, 32, &q, p->n);
    }
    size_t at = store_scale_index(p, a->cols / 32);
    __m128i sums = _mm_add_epi32(q.low, q.high);
    __m128 scaled = _mm_mul_ps(s.d, _mm_cvtepi32_ps(sums));
    store_first(a->d + at, _mm_castps_si128(s.d), p->n);
    store_first(a->s + at, _mm_castps_si128(scaled), p->n);
    store_first(a->n + at, _mm_sub_epi32(_mm_setzero_si128(), sums), p->n);
}

/* Pairs (-a, -b) of 16-bit numbers. */
static inline __m128i negative_pairs(__m128i a, __m128i b)
{
    __m128i zero = _mm_setzero_si128();
    return _mm_blend_epi16(_mm_sub_epi32(zero, a), _mm_slli_epi32(_mm_sub_epi32(zero, b), 16),
                           0xAA);
}

/* Four pairs of 16-bit numbers: side by side for tokens, `block_pairs` pairs apart for blocks. */
static inline void store_pairs(int16_t *dst, __m128i pairs, size_t block_pairs,
                               const struct store_place *p)
{
    if (p->width > 1) {
        store_first(dst, pairs, p->n);
        return;
    }
    uint32_t each[4];
    _mm_storeu_si128((__m128i *)(void *)each, pairs);
    for (uint32_t i = 0; i < p->n; i++) {
        memcpy(dst + i * block_pairs * 2, &each[i], sizeof each[i]);
    }
}

static void store_four_q256(const struct kern_act *a, const struct store_place *p)
{
    struct scales s;
    find_scales(&s, find_max(p->x, 256));
    store_first(a->d + store_scale_index(p, a->cols / 256), _mm_castps_si128(s.d), p->n);
    int8_t *bytes = store_quants_q256(a, p);
    int16_t *n16 = store_pairs_at(a, p, a->n16, 8), *n32 = store_pairs_at(a, p, a->n32, 4);
    __m128i most = _mm_setzero_si128();
    __m128i even = _mm_setzero_si128(); /* sums of the even block of 32 */
    for (int block = 0; block < 8; block++, bytes += 32 * p->width, n16 += 2 * p->width) {
        struct quants q;
        quantise_four(p->x, block * 32, &s, &q);
        most = _mm_max_epu32(most, q.most);
        if (p->width > 1) {
            store_tokens(bytes, p->width * 8, &q, p->n);
        } else {
            store_blocks(bytes, a->q_step, &q, p->n);
        }
        store_pairs(n16, negative_pairs(q.low, q.high), 8, p);
        __m128i both = _mm_add_epi32(q.low, q.high);
        if (block % 2) {
            store_pairs(n32, negative_pairs(even, both), 4, p);
            n32 += 2 * p->width;
        }
        even = both;
    }
    int64_t words = _mm_cvtsi128_si64(_mm_packus_epi32(most, most));
    memcpy(a->most16 + store_scale_index(p, a->cols / 256), &words, p->n * sizeof *a->most16);
}

static void store_act_q32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    store_act_tiles(a, x, x_stride, tile_begin, tile_end, 32, store_four_q32);
}

static void store_act_q256(const struct kern_act *a, const float *x, size_t x_stride,
                           uint32_t tile_begin, uint32_t tile_end)
{
    store_act_tiles(a, x, x_stride, tile_begin, tile_end, 256, store_four_q256);
}

void kern_fill_store_act_avx2(struct kern_table *t)
{
    t->store_act[PACK_ACT_F32] = store_act_f32;
    t->store_act[PACK_ACT_Q32] = store_act_q32;
    t->store_act[PACK_ACT_Q256] = store_act_q256;
}
